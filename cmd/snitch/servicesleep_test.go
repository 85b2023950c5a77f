package main

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"
)

// TestTellSleeps: a suspend is told once, with its length; what the two clocks
// differ by before it and after it is none. The guest of packaging really sleeps.
func TestTellSleeps(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var out bytes.Buffer
	look, done := make(chan time.Time), make(chan struct{})
	readings := []time.Duration{time.Hour, time.Hour, time.Hour + 90*time.Second, time.Hour + 90*time.Second + time.Millisecond}
	go func() {
		defer close(done)
		tellSleeps(ctx, slog.New(slog.NewTextHandler(&out, nil)), look, func() time.Duration {
			next := readings[0]
			readings = readings[1:]
			return next
		})
	}()
	for range 3 {
		look <- time.Time{}
	}
	cancel()
	<-done
	if got := out.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, `msg="the machine slept" for=1m30s`) {
		t.Errorf("logged %q", got)
	}
}
