package query_test

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"snitch/monitor/event"
	"snitch/monitor/store"
	"snitch/monitor/store/query"
	"snitch/monitor/store/schema"
)

// hostile are strings that break careless code, among few that filters name.
var hostile = []string{"", "curl", "/usr/bin/curl", "a*b", `a\b`, "a,b", "\x00", "a\x00b", "\xff\xfe", "ü", "'; DROP TABLE run; --", "%",
	"github.com", "api.github.com", ".github.com", "xgithub.com", "\x1b[31m", "a\nb", "\u202e", "*", `\*`, "snitch.service"}

func genString() *rapid.Generator[string] {
	return rapid.OneOf(rapid.SampledFrom(hostile),
		rapid.Map(rapid.SliceOfN(rapid.SampledFrom([]byte("ab*\\,.\x00\xff")), 0, 6), func(b []byte) string { return string(b) }),
		rapid.Map(rapid.SliceOfN(rapid.Byte(), 0, 40), func(b []byte) string { return string(b) }))
}

func genDigest() *rapid.Generator[event.Digest] {
	return rapid.Map(rapid.SampledFrom([]byte{0, 0, 0xa1, 0xa2, 0xff}), func(b byte) (d event.Digest) {
		if b != 0 {
			d = event.Digest{b, 0xbc, 31: 1}
		}
		return d
	})
}

func genTime() *rapid.Generator[time.Time] {
	day := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	return rapid.OneOf(rapid.Just(time.Time{}), rapid.Just(day),
		rapid.Map(rapid.Int64Range(-1e18, 1e18), func(ns int64) time.Time { return day.Add(time.Duration(ns)) }))
}

func genAddrPort() *rapid.Generator[netip.AddrPort] {
	return rapid.Custom(func(t *rapid.T) netip.AddrPort {
		text := rapid.SampledFrom([]string{"", "10.1.2.3", "10.255.255.255", "192.0.2.1", "::1", "::ffff:10.1.2.3", "2001:db8::1", "fe80::1%eth0", "fe80::1", "0.0.0.0", "::"}).Draw(t, "address")
		addr, _ := netip.ParseAddr(text)
		return netip.AddrPortFrom(addr, rapid.SampledFrom([]uint16{0, 22, 53, 443, 8000, 8099, 65535}).Draw(t, "port"))
	})
}

func genProcess(depth int) *rapid.Generator[*event.Process] {
	if depth == 0 {
		return rapid.Just[*event.Process](nil)
	}
	return rapid.Custom(func(t *rapid.T) *event.Process {
		if rapid.IntRange(0, 5).Draw(t, "end") == 0 {
			return nil
		}
		p := &event.Process{ID: event.ProcessID{PID: rapid.SampledFrom([]uint32{1, 77, 1<<32 - 1}).Draw(t, "pid")},
			Executable: event.Executable{Path: genString().Draw(t, "path"), View: rapid.SampledFrom([]string{"", "container:ab", "mnt:1"}).Draw(t, "view"),
				Kind: event.ExecutableKind(rapid.IntRange(0, 6).Draw(t, "kind")), SHA256: genDigest().Draw(t, "sha256"),
				Reason: event.HashReason(rapid.IntRange(0, 11).Draw(t, "reason")), Package: rapid.SampledFrom([]string{"", "none", "curl", "modified:curl"}).Draw(t, "package")},
			UID: rapid.SampledFrom([]uint32{0, 1000, 33}).Draw(t, "uid"), User: rapid.SampledFrom([]string{"", "alice", "www-data"}).Draw(t, "user"),
			Cgroup: event.Cgroup{Path: genString().Draw(t, "cgroup"), Unit: genString().Draw(t, "unit")},
			Name:   genString().Draw(t, "name"), Args: rapid.SliceOfN(genString(), 0, 3).Draw(t, "args")}
		if rapid.Bool().Draw(t, "has script") {
			p.Script = &event.Script{Path: genString().Draw(t, "script"), View: rapid.SampledFrom([]string{"", "mnt:1"}).Draw(t, "view"), SHA256: genDigest().Draw(t, "script sha256"), Reason: event.HashKnown}
		}
		p.Parent = genProcess(depth-1).Draw(t, "parent")
		return p
	})
}

func genConnection(id uint64) *rapid.Generator[event.Connection] {
	return rapid.Custom(func(t *rapid.T) event.Connection {
		list := rapid.OneOf(rapid.Just([]string(nil)), rapid.SliceOfN(genString(), 0, 3))
		family := rapid.SampledFrom([]uint16{2, 10, 17, 40, 44, 1, 65535})
		return event.Connection{ID: id, Host: rapid.SampledFrom([]string{"", "web-1", "db"}).Draw(t, "host"), Process: genProcess(19).Draw(t, "process"), Opened: genTime().Draw(t, "opened"), Last: genTime().Draw(t, "last"),
			Direction: event.Direction(rapid.IntRange(0, 4).Draw(t, "direction")), Family: family.Draw(t, "family"),
			Proto: rapid.SampledFrom([]uint16{1, 6, 17, 58, 255, 262, 99}).Draw(t, "proto"),
			Local: genAddrPort().Draw(t, "local"), Remote: genAddrPort().Draw(t, "remote"),
			Name: event.Name{Domain: genString().Draw(t, "domain"), Source: event.NameSource(rapid.IntRange(0, 7).Draw(t, "source")),
				At: genTime().Draw(t, "at"), SNI: genString().Draw(t, "sni")},
			Country: rapid.SampledFrom([]string{"", "DE", "US", "\xff"}).Draw(t, "country"),
			Sent:    rapid.Uint64Range(0, 1<<63-1).Draw(t, "sent"), Received: rapid.Uint64Range(0, 1<<63-1).Draw(t, "received"),
			Packets: rapid.Uint64Range(0, 1<<63-1).Draw(t, "packets"), Result: event.Result(rapid.IntRange(0, 13).Draw(t, "result")),
			Closed: rapid.Bool().Draw(t, "closed"), Existing: rapid.Bool().Draw(t, "existing"),
			NetNS: rapid.SampledFrom([]uint32{0, 4026531840, 1<<32 - 1}).Draw(t, "netns"), UID: rapid.SampledFrom([]uint32{0, 1000, 1<<32 - 1}).Draw(t, "uid"),
			Cgroup:  event.Cgroup{Path: genString().Draw(t, "cgroup"), Unit: genString().Draw(t, "unit"), Container: genString().Draw(t, "container")},
			Novelty: list.Draw(t, "novelty"), User: rapid.SampledFrom([]string{"", "alice", "bob"}).Draw(t, "user"),
			Names:    rapid.SliceOfN(genName(), 0, 3).Draw(t, "names"),
			Decision: genDecision(1).Draw(t, "decision")}
	})
}

func genName() *rapid.Generator[event.Name] {
	return rapid.Custom(func(t *rapid.T) event.Name {
		return event.Name{Domain: genString().Draw(t, "domain"), Source: event.NameSource(rapid.IntRange(0, 7).Draw(t, "source")), Trusted: rapid.Bool().Draw(t, "trusted")}
	})
}

func genDecision(earlier int) *rapid.Generator[event.Decision] {
	return rapid.Custom(func(t *rapid.T) event.Decision {
		list := rapid.OneOf(rapid.Just([]string(nil)), rapid.SliceOfN(genString(), 0, 3))
		d := event.Decision{Action: event.Action(rapid.IntRange(0, 5).Draw(t, "action")), Would: event.Action(rapid.IntRange(0, 5).Draw(t, "would")),
			Mode: event.Mode(rapid.IntRange(0, 3).Draw(t, "mode")), Rule: genString().Draw(t, "rule"), Matches: list.Draw(t, "matches"),
			Revision: genString().Draw(t, "revision"), Reason: genString().Draw(t, "reason"), Pos: genString().Draw(t, "pos"),
			Capped: rapid.Bool().Draw(t, "capped"), Provisional: rapid.Bool().Draw(t, "provisional"), Error: rapid.SampledFrom([]string{"", "evaluator_error"}).Draw(t, "error"),
			At: genTime().Draw(t, "at"), Input: rapid.Uint64().Draw(t, "input")}
		if earlier > 0 && rapid.Bool().Draw(t, "has previous") {
			before := genDecision(earlier-1).Draw(t, "previous")
			d.Previous = &before
		}
		return d
	})
}

// users is the user database of the tests.
func users(uid uint32) string {
	switch uid {
	case 0:
		return "root"
	case 1000:
		return "bob"
	}
	return ""
}

// written stores connections of one run in a new database and opens it.
func written(t testing.TB, dir string, conns []event.Connection) *query.DB {
	t.Helper()
	return writtenBy(t, dir, conns, func(*store.Store) error { return nil })
}

// inBlocks is written, and then the rows that are old enough are in blocks of
// two.
func inBlocks(t testing.TB, dir string, conns []event.Connection) *query.DB {
	t.Helper()
	return writtenBy(t, dir, conns, func(s *store.Store) error { return s.Maintain(context.Background()) })
}

func writtenBy(t testing.TB, dir string, conns []event.Connection, then func(*store.Store) error) *query.DB {
	t.Helper()
	s, err := store.Open(context.Background(), store.Config{Dir: dir, Group: -1, BlockRows: 2})
	if err != nil {
		t.Fatal(err)
	}
	s.Append(store.Batch{Time: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), Connections: conns})
	if err := then(s); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return openDB(t, dir)
}

func openDB(t testing.TB, dir string) *query.DB {
	t.Helper()
	db, err := query.Open(context.Background(), filepath.Join(dir, schema.FileName), users)
	if err != nil {
		t.Fatal(err)
	}
	return db
}

// records are what NewRecord makes of the connections, in the order of Connections.
func records(conns []event.Connection) []event.Record {
	sorted := slices.Clone(conns)
	slices.SortStableFunc(sorted, func(a, b event.Connection) int {
		return cmp.Or(cmp.Compare(schema.FromTime(a.Opened), schema.FromTime(b.Opened)), cmp.Compare(a.ID, b.ID))
	})
	out := make([]event.Record, len(sorted))
	for i := range sorted {
		out[i] = event.NewRecord(&sorted[i], users)
	}
	return out
}

func selected(t testing.TB, db *query.DB, q query.Query) []event.Record {
	t.Helper()
	out := []event.Record{}
	err := db.Connections(context.Background(), q, func(r event.Record) error {
		out = append(out, r)
		return nil
	})
	if err != nil {
		t.Fatal(fmt.Errorf("%v: %w", q.Filters, err))
	}
	return out
}
