package store

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"snitch/monitor/event"
)

// TestNovelty tells what is new about one program, step by step.
func TestNovelty(t *testing.T) {
	s := open(t, t.TempDir())
	with := func(change func(*event.Connection, *event.Process)) event.Connection {
		p := *process(1)
		c := connection(1, base, 0, 0)
		c.Process = &p
		change(&c, &p)
		return c
	}
	id := uint64(0)
	for _, step := range []struct {
		name   string
		change func(*event.Connection, *event.Process)
		want   []string
	}{
		{"first", func(*event.Connection, *event.Process) {}, []string{"program"}},
		{"again", func(*event.Connection, *event.Process) {}, nil},
		{"other peer", func(c *event.Connection, _ *event.Process) { c.Name.Domain = "b.example" }, []string{"destination"}},
		{"other peer again", func(c *event.Connection, _ *event.Process) { c.Name.Domain = "b.example" }, nil},
		{"a known name at another address", func(c *event.Connection, _ *event.Process) {
			c.Name.Domain, c.Remote = "b.example", netip.MustParseAddrPort("198.51.100.9:443")
		}, nil},
		{"an address without a name", func(c *event.Connection, _ *event.Process) { c.Name = event.Name{} }, []string{"destination"}},
		{"a label is no name", func(c *event.Connection, _ *event.Process) {
			c.Name = event.Name{Domain: "label.example", Source: event.NameReverse}
		}, nil},
		{"its first digest", func(_ *event.Connection, p *event.Process) { p.Executable.SHA256 = event.Digest{1} }, nil},
		{"changed", func(_ *event.Connection, p *event.Process) { p.Executable.SHA256 = event.Digest{2} }, []string{"hash"}},
		{"changed back", func(_ *event.Connection, p *event.Process) { p.Executable.SHA256 = event.Digest{1} }, nil},
		{"other parent", func(_ *event.Connection, p *event.Process) { p.Parent = process(2) }, []string{"parent"}},
		{"all at once", func(c *event.Connection, p *event.Process) {
			c.Name.Domain, p.Executable.SHA256 = "c.example", event.Digest{3}
			p.Parent = &event.Process{Executable: event.Executable{Path: "/x"}}
		}, []string{"hash", "parent", "destination"}},
		{"listens", func(c *event.Connection, _ *event.Process) { c.Direction = event.Listen }, []string{"listener"}},
		{"listens on IPv6 too", func(c *event.Connection, _ *event.Process) { c.Direction, c.Family = event.Listen, event.AFInet6 }, nil},
		{"a peer connects", func(c *event.Connection, _ *event.Process) {
			c.Direction, c.Remote, c.Name = event.In, netip.MustParseAddrPort("203.0.113.1:5"), event.Name{}
		}, nil},
		{"the same path in a container", func(_ *event.Connection, p *event.Process) { p.Executable.View = "container:ab" }, []string{"program"}},
		{"a new program that listens", func(c *event.Connection, p *event.Process) {
			c.Direction, p.Executable.Path = event.Listen, "/new"
		}, []string{"program", "listener"}},
		{"nobody knows who", func(c *event.Connection, _ *event.Process) { c.Process = nil }, nil},
		{"nobody knows what", func(_ *event.Connection, p *event.Process) { p.Executable.Path = "" }, nil},
	} {
		c := with(step.change)
		id++
		c.ID = id
		for range 2 { // it remembers nothing
			if got := s.Foresee(&c); !slices.Equal(got, step.want) {
				t.Errorf("%s: foresees %q, want %q", step.name, got, step.want)
			}
		}
		if got := s.Novelty(&c); !slices.Equal(got, step.want) {
			t.Errorf("%s: %q, want %q", step.name, got, step.want)
		}
	}
}

// TestNoveltyOfSnapshots: later snapshots of a connection keep the novelty of
// the earlier ones, and a digest that comes late adds to it.
func TestNoveltyOfSnapshots(t *testing.T) {
	s := open(t, t.TempDir())
	first := connection(1, base, 0, 0)
	known := *process(1)
	known.Executable.SHA256 = event.Digest{1}
	first.Process = &known
	s.Novelty(&first)
	c := connection(2, base, 0, 0)
	c.Name.Domain = "new.example"
	for i, want := range [][]string{{"destination"}, {"destination"}, {"destination", "hash"}, {"destination", "hash"}} {
		if i == 2 {
			p := *process(1)
			p.Executable.SHA256 = event.Digest{9}
			c.Process = &p
		}
		if got := s.Novelty(&c); !slices.Equal(got, want) {
			t.Errorf("snapshot %d: %q, want %q", i, got, want)
		}
	}
}

// TestNoveltyIsWrittenWithItsRow: what was told of a row that never reached
// the file is told again; what reached it is known for ever.
func TestNoveltyIsWrittenWithItsRow(t *testing.T) {
	dir := t.TempDir()
	for run, want := range [][]string{{"program"}, {"program"}, nil} {
		s := open(t, dir)
		c := connection(1, base, 0, 0)
		got := s.Novelty(&c)
		if !slices.Equal(got, want) {
			t.Errorf("run %d: %q, want %q", run, got, want)
		}
		if run == 0 {
			flush(t, s) // the batch of the row was not appended
		} else {
			c.Novelty = got
			s.Append(batch(base, c))
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestNoveltyIsBounded: a program that talks to everybody has no new
// destinations in the end, and one that changes all the time is told each time.
func TestNoveltyIsBounded(t *testing.T) {
	s := open(t, t.TempDir())
	ask := func(i int, change func(*event.Connection, *event.Process)) []string {
		p := *process(1)
		c := connection(uint64(i+1), base, 0, 0)
		c.Process = &p
		change(&c, &p)
		return s.Novelty(&c)
	}
	for i := range maxDestinations {
		ask(i, func(c *event.Connection, _ *event.Process) { c.Name.Domain = fmt.Sprint("d", i) })
	}
	for i := range maxFewer {
		ask(i, func(_ *event.Connection, p *event.Process) {
			p.Executable.SHA256 = event.Digest{1, byte(i), byte(i >> 8)}
		})
	}
	// the destinations and digests that are asked for last are known or told
	if got := ask(1<<20, func(c *event.Connection, _ *event.Process) { c.Name.Domain = "one.more" }); got != nil {
		t.Errorf("one more destination: %q", got)
	}
	if got := ask(1<<21, func(_ *event.Connection, p *event.Process) { p.Executable.SHA256 = event.Digest{2} }); !slices.Equal(got, []string{"hash"}) {
		t.Errorf("one more digest: %q", got)
	}
	if got := s.Stats().Known; got.Programs != 1 || got.Facts != maxDestinations+maxFewer+1 || got.Overflow < 2 {
		t.Errorf("stats: %+v", got)
	}
	s.Append(Batch{Time: base})
	flush(t, s)
	if n := number(t, s, "SELECT count(*) FROM known"); n != maxDestinations+maxFewer+2 {
		t.Errorf("%d rows of what is known", n)
	}
}

// TestNoveltyForgetsIdlePrograms: with no room left, programs of earlier runs
// make room for those of this one, in the file too.
func TestNoveltyForgetsIdlePrograms(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	see := func(s *Store, i int) []string {
		c := connection(uint64(i+1), base, 0, 0)
		c.Process = &event.Process{Executable: event.Executable{Path: fmt.Sprint("/p", i)}}
		c.Direction = event.In
		return s.Novelty(&c)
	}
	for i := range maxPrograms {
		see(s, i)
	}
	s.Append(Batch{Time: base})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir)
	if got := see(s, 7); got != nil {
		t.Errorf("a known program: %q", got)
	}
	if got := see(s, maxPrograms); !slices.Equal(got, []string{"program"}) {
		t.Errorf("one program too many: %q", got)
	}
	if got := see(s, 7); got != nil {
		t.Errorf("a program of this run was forgotten: %q", got)
	}
	s.Append(Batch{Time: base})
	flush(t, s)
	want := int64(maxPrograms - maxPrograms/4 + 1)
	if n := number(t, s, "SELECT count(*) FROM known"); n != want || s.Stats().Known.Programs != uint64(want) {
		t.Errorf("%d programs in the file and %d in memory, want %d", n, s.Stats().Known.Programs, want)
	}
}
