package process

import (
	"os"
	"testing"
	"time"

	"pgregory.net/rapid"

	"snitch/monitor/event"
)

// story drives a table through a random history.
type story struct {
	*world
	table  *Table
	hasher *paper
	ring   []func() // records on their way
	lossy  bool
	// forgetful: ended images are dropped at once, also before all their records came.
	forgetful bool
	deaf      map[lifetime]bool // a record of it was lost
}

func (s *story) send(t *rapid.T, id event.ProcessID, deliver func()) {
	if s.lossy && rapid.IntRange(0, 9).Draw(t, "lost") == 0 {
		s.lose(id)
		return
	}
	s.ring = append(s.ring, deliver)
}

// lose marks every image of the process and of its descendants, present and
// future, as one of which something is missing.
func (s *story) lose(id event.ProcessID) {
	s.deaf[life(id)] = true
}

// deafness brings the marks up to date.
func (s *story) deafness() {
	for id, now := range s.truth {
		for _, l := range s.forefathers(id) {
			now.lost = now.lost || s.deaf[l]
		}
	}
}

func (s *story) step(t *rapid.T) {
	who := func() *subject { return s.living[rapid.IntRange(0, len(s.living)-1).Draw(t, "who")] }
	switch rapid.IntRange(0, 9).Draw(t, "what") {
	case 0, 1:
		if len(s.living) < 10 {
			child, f := s.fork(who())
			s.send(t, child.id, func() { s.table.Fork(f); s.tell(f.Child) })
		}
	case 2, 3:
		x := who()
		if x != s.living[0] {
			e := s.exec(x)
			s.send(t, x.id, func() { s.table.Exec(e) })
		}
	case 4:
		x := who()
		if x != s.living[0] {
			e := s.exit(x)
			s.send(t, x.id, func() { s.table.Exit(e) })
		}
	case 5, 6:
		for n := rapid.IntRange(0, 6).Draw(t, "records"); n > 0 && len(s.ring) > 0; n-- {
			s.ring[0]()
			s.ring = s.ring[1:]
		}
	case 7:
		s.hasher.answer()
		for _, p := range s.table.Changed() {
			s.settled(p.ID, p)
		}
	case 8:
		s.table.Expire(bootNow())
	default:
		id := s.all[rapid.IntRange(0, len(s.all)-1).Draw(t, "image")]
		s.settled(id, s.table.Lookup(id))
	}
	if n := s.table.Len(); n > 256 {
		t.Fatalf("%d images", n)
	}
}

// tell notes that the table was told who forked id.
func (s *story) tell(id event.ProcessID) {
	if s.forgetful {
		return
	}
	for other, now := range s.truth {
		if life(other) == life(id) {
			now.told = true
		}
	}
}

// settled checks a snapshot. While exec records are on their way, /proc is
// ahead of them: what it shows may be a later image.
func (s *story) settled(id event.ProcessID, p *event.Process) {
	s.deafness()
	for _, now := range s.truth {
		now.lost = now.lost || len(s.ring) > 0
	}
	s.check(id, p)
	for id, now := range s.truth {
		now.lost = false
		for _, l := range s.forefathers(id) {
			now.lost = now.lost || s.deaf[l]
		}
	}
}

func history(t *rapid.T, lossy bool) {
	dir, err := os.MkdirTemp("", "process-*")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	s := &story{world: newWorld(t, dir), lossy: lossy, deaf: map[lifetime]bool{}}
	s.forgetful = lossy && rapid.Bool().Draw(t, "forgetful")
	s.hasher = &paper{w: s.world}
	grace := 10_000 * time.Hour
	if s.forgetful {
		grace = time.Nanosecond // what was forgotten is one more thing not to mistake
	}
	if s.table, err = New(Config{Proc: s.proc, MaxProcesses: 256, Grace: grace}, Deps{Hasher: s.hasher}); err != nil {
		t.Fatal(err)
	}
	defer s.table.Close()
	s.table.guard.wait, s.table.guard.budget = time.Minute, time.Hour // a busy machine is not the matter here
	first, _ := s.fork(nil)
	s.tell(first.id)
	e := s.exec(first)
	s.table.Exec(e)
	for range rapid.IntRange(1, 80).Draw(t, "steps") {
		s.step(t)
	}
	for _, deliver := range s.ring {
		deliver()
	}
	s.ring = nil
	s.hasher.answer()
	for _, id := range s.all {
		s.settled(id, s.table.Lookup(id))
	}
	if lossy {
		return
	}
	// Nothing was lost: all is known but the image of which no record tells.
	for _, id := range s.all[1:] {
		p := s.table.Lookup(id)
		if p.Executable.Kind != event.ExecutableFile || p.Executable.Reason != event.HashKnown {
			t.Fatalf("nothing was lost, but %v is %+v", id, p.Executable)
		}
	}
}

// Whatever happens in whatever order, no image gets facts of a stranger; when
// no record is lost, each gets its own.
func TestHistory(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) { history(t, false) })
}

// The same while records are lost.
func TestHistoryWithLoss(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) { history(t, true) })
}
