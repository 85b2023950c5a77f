package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"strconv"
	"sync"
	"time"

	"snitch/enforce"
	"snitch/monitor/event"
	"snitch/monitor/process"
	"snitch/policy/rule"
)

// How long enforcing waits at first for digests that the rules ask for, and how
// often it looks whether processes ended unseen.
const (
	knowWithin = 3 * time.Second
	lookAgain  = 30 * time.Second
)

// denier is the backend as the daemon has it: as long as it denies, it is told
// who lives, and decisions are made in mode enforce.
type denier struct {
	enforce.Backend
	subjects *subjects
	follow   func(on bool)         // tell of processes and refused attempts, or do not
	mode     func(event.Mode)      // of decisions
	prepare  func() error          // before it denies
	settled  func()                // after the first change that held
	remember func(enforce.Desired) // after each change that held
	on       bool                  // the backend denies; Set and Close are never called at a time
}

// Set tells the backend of everybody who lives before it denies anything.
func (d *denier) Set(ctx context.Context, want enforce.Desired) error {
	begins := want.Mode == event.ModeEnforce && !d.on
	if begins {
		if err := d.prepare(); err != nil {
			return err
		}
		d.follow(true)
		d.subjects.begin(ctx, readsDigests(want.Policy.Set))
		d.mode(event.ModeEnforce)
	}
	err := d.Backend.Set(ctx, want)
	if err == nil {
		d.on = want.Mode == event.ModeEnforce
		if d.settled != nil {
			d.settled()
			d.settled = nil
		}
		if d.remember != nil {
			d.remember(want)
		}
	}
	if !d.on {
		d.mode(event.ModeAudit)
		d.follow(false)
	}
	return err
}

// readsDigests reports whether rules ask for what is read from files.
func readsDigests(set *rule.Set) bool {
	r := set.Reads()
	for _, s := range []rule.SubjectReads{r.Process, r.Parent, r.Ancestors} {
		if s.SHA256 || s.ScriptSHA256 || s.Package || s.Reputation {
			return true
		}
	}
	return false
}

// Beat is enforce.Beater's.
func (d *denier) Beat() error {
	if b, ok := d.Backend.(enforce.Beater); ok {
		return b.Beat()
	}
	return nil
}

// subjects tells a backend what the process table knows. Safe for concurrent
// use: what it tells of one process is never older than what it told before.
type subjects struct {
	table *process.Table

	mu   sync.Mutex
	to   enforce.Subjects // nil: nobody listens
	told map[event.ProcessID]struct{}
}

func newSubjects(to *denier, table *process.Table) *subjects {
	var listens enforce.Subjects
	if to != nil {
		listens, _ = to.Backend.(enforce.Subjects)
	}
	return &subjects{table: table, to: listens, told: map[event.ProcessID]struct{}{}}
}

// Process is monitor.Subjects'.
func (s *subjects) Process(id event.ProcessID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.to == nil {
		return
	}
	p, lives := s.table.Running(id)
	if !lives {
		s.goneLocked(id)
		return
	}
	s.told[id] = struct{}{}
	s.to.Process(p)
}

// Gone is monitor.Subjects'.
func (s *subjects) Gone(id event.ProcessID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.goneLocked(id)
}

func (s *subjects) goneLocked(id event.ProcessID) {
	if _, ok := s.told[id]; ok {
		delete(s.told, id)
		s.to.Gone(id)
	}
}

// begin tells of all that live; with digests once they are there: not one that
// is slow to read holds it up for longer than knowWithin.
func (s *subjects) begin(ctx context.Context, digests bool) {
	for deadline := time.Now().Add(knowWithin); s.all() && digests && ctx.Err() == nil && time.Now().Before(deadline); {
		time.Sleep(20 * time.Millisecond)
	}
}

// all tells of all that live, and of the end of all that do not. It reports
// whether facts are still being read.
func (s *subjects) all() (waits bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.to == nil {
		return false
	}
	living := map[event.ProcessID]struct{}{}
	for _, p := range s.table.Living() {
		living[p.ID] = struct{}{}
		s.told[p.ID] = struct{}{}
		s.to.Process(p)
		waits = waits || p.Waits()
	}
	for id := range s.told {
		if _, ok := living[id]; !ok {
			s.goneLocked(id)
		}
	}
	return waits
}

// tend notices every so often who ended without a word: the kernel's record of
// it was lost.
func (s *subjects) tend(ctx context.Context) {
	tick := time.NewTicker(lookAgain)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			s.prune()
		}
	}
}

func (s *subjects) prune() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id := range s.told {
		if _, err := os.Lstat("/proc/" + strconv.FormatUint(uint64(id.PID), 10)); errors.Is(err, fs.ErrNotExist) {
			s.goneLocked(id)
		}
	}
}
