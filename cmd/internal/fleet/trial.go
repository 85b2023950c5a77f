package fleet

import (
	"context"
	"fmt"
	"time"
)

// How health is sampled. A trial is compared with what was usual in the hour
// before it.
const (
	sampleEvery = 5 * time.Second
	usualFor    = time.Hour
	usualTimes  = 3 // what a jump is, beside the bound of the configuration
)

// failedLooks is how many looks for rules have to fail after a change, and none
// before, for the change to be the reason.
const failedLooks = 3

// cutLooks is within how many intervals after a return the source has to be
// reached again for the change to have been the reason.
const cutLooks = 5

type sample struct {
	at time.Time
	Health
}

// begin begins a trial: what came before is what is usual.
func (s *Source) begin() {
	if s.cfg.Trial == 0 {
		return
	}
	now := sample{s.deps.Now(), s.deps.Health()}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.samples = append(s.samples, now)
	s.state.failed = 0
}

// watchHealth samples until ctx ends.
func (s *Source) watchHealth(ctx context.Context) {
	tick := time.NewTicker(sampleEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			s.sample()
		}
	}
}

// sample looks at a trial, or learns what is usual.
func (s *Source) sample() {
	if s.cfg.Trial == 0 {
		return
	}
	s.turn.Lock()
	defer s.turn.Unlock()
	now := sample{s.deps.Now(), s.deps.Health()}
	k := s.stored()
	if !k.Trial {
		s.learn(now)
		return
	}
	if reason, cut := s.jumped(k, now); reason != "" {
		s.giveBack(reason, cut)
		s.forget(now)
		return
	}
	if now.at.Sub(k.Changed) < s.cfg.Trial {
		return
	}
	k.Trial = false
	if err := s.store(k); err != nil {
		s.deps.Log.Error("the state of the fleet is not kept", "error", err)
	}
	s.forget(now)
	s.deps.Log.Info("published rules have passed their trial", "revision", k.Current.Revision)
}

func (s *Source) learn(now sample) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.samples = append(s.samples, now)
	for len(s.samples) > 2 && now.at.Sub(s.samples[1].at) > usualFor {
		s.samples = s.samples[1:]
	}
}

// forget begins to learn anew.
func (s *Source) forget(now sample) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.samples = []sample{now}
}

// jumped says what there is more of than usual since the change, "" for nothing,
// and whether it is that the source is out of reach.
func (s *Source) jumped(k kept, now sample) (reason string, cut bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state.failed >= failedLooks && s.state.Checked.Before(k.Changed.Add(s.cfg.Interval/2)) {
		return "since the change the source of rules is out of reach: " + s.state.Error, true
	}
	// The last sample is of the change; a daemon that was started since has none,
	// and counts from 0.
	start, first := sample{at: k.Changed}, sample{at: k.Changed}
	if n := len(s.samples); n > 0 {
		start, first = s.samples[n-1], s.samples[0]
	}
	learned, elapsed := start.at.Sub(first.at), now.at.Sub(start.at)
	if what := jump("alerts", first.Alerts, start.Alerts, now.Alerts, s.cfg.Alerts, learned, elapsed); what != "" {
		return what, false
	}
	return jump("errors", first.Errors, start.Errors, now.Errors, s.cfg.Errors, learned, elapsed), false
}

// jump compares the growth since the change with the usual one.
func jump(what string, first, start, now uint64, bound int, learned, elapsed time.Duration) string {
	usual := 0.0
	if learned > 0 {
		usual = float64(start-first) / learned.Seconds() * elapsed.Seconds()
	}
	grown := float64(now - start)
	if grown <= float64(bound)+usualTimes*usual {
		return ""
	}
	return fmt.Sprintf("%.0f %s in %s since the change, %.0f would be usual", grown, what, elapsed.Round(time.Second), usual)
}
