package main

import (
	"context"
	"log/slog"
	"time"

	"golang.org/x/sys/unix"

	"snitch/cmd/internal/text"
)

// sleepEvery is how often it is looked whether the machine slept, and sleepLeast
// what is worth a line.
const (
	sleepEvery = 5 * time.Second
	sleepLeast = time.Second
)

// sleeps tells of them as long as the daemon runs.
func (s *service) sleeps(ctx context.Context) {
	look := time.NewTicker(sleepEvery)
	defer look.Stop()
	tellSleeps(ctx, s.log, look.C, slept)
}

// tellSleeps says in the log for how long the machine was suspended, until ctx
// ends: a gap in the record in which nothing ran.
func tellSleeps(ctx context.Context, log *slog.Logger, look <-chan time.Time, slept func() time.Duration) {
	before := slept()
	for {
		select {
		case <-ctx.Done():
			return
		case <-look:
		}
		now := slept()
		if now-before >= sleepLeast {
			log.Info("the machine slept", "for", text.Duration(now-before))
		}
		before = now
	}
}

// slept is for how long this machine was suspended since it booted: what the
// boot clock has counted and the monotonic one has not. Whoever is preempted
// between the two reads too little, so the most of three counts.
func slept() (most time.Duration) {
	for range 3 {
		var boot, running unix.Timespec
		if unix.ClockGettime(unix.CLOCK_BOOTTIME, &boot) != nil || unix.ClockGettime(unix.CLOCK_MONOTONIC, &running) != nil {
			return 0 // no kernel with BPF ring buffers lacks them
		}
		most = max(most, time.Duration(boot.Nano()-running.Nano()))
	}
	return most
}
