package query_test

import (
	"fmt"
	"os"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"snitch/monitor/event"
	"snitch/monitor/store/query"
)

// TestRoundTrip: a record that comes back from the database is the one that
// the live feed showed, whatever bytes are in it.
func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		conns := genConnections(rt, 4)
		db := written(t, tempDir(t, rt), conns)
		defer closeDB(t, db)
		if diff := gocmp.Diff(selected(t, db, query.Query{}), records(conns)); diff != "" {
			rt.Fatalf("read (-) is not what was recorded (+):\n%s", diff)
		}
	})
}

// TestFiltersAgree: every filter selects in SQL what it matches in memory.
func TestFiltersAgree(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		conns := genConnections(rt, 6)
		db := written(t, tempDir(t, rt), conns)
		defer closeDB(t, db)
		all := records(conns)
		for range 12 {
			text := rapid.SliceOfN(genFilter(), 1, 3).Draw(rt, "filters")
			fs, err := query.Parse(text)
			if err != nil {
				continue
			}
			want := []event.Record{}
			for i := range all {
				if fs.Match(&all[i]) {
					want = append(want, all[i])
				}
			}
			if diff := gocmp.Diff(selected(t, db, query.Query{Filters: fs}), want); diff != "" {
				rt.Fatalf("%q: SQL (-) and Match (+) differ:\n%s", text, diff)
			}
		}
	})
}

func genConnections(rt *rapid.T, most int) []event.Connection {
	conns := make([]event.Connection, rapid.IntRange(1, most).Draw(rt, "n"))
	for i := range conns {
		conns[i] = genConnection(uint64(i+1)).Draw(rt, fmt.Sprint("connection ", i))
	}
	return conns
}

// genFilter makes filters that have a chance to match, and some that do not
// parse.
func genFilter() *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		var names []string
		for _, f := range query.Fields() {
			names = append(names, f.Name)
		}
		f := rapid.SampledFrom([]string{"", "", "!"}).Draw(t, "not") + rapid.SampledFrom(names).Draw(t, "field") +
			rapid.SampledFrom([]string{"=", "=", "!=", "~", "!~"}).Draw(t, "operator")
		values := append([]string{"tcp", "udp", "icmpv6", "packet", "af-1", "ip-99", "ip-6", "out", "in", "listen", "closed", "denied", "deny", "audit", "dns", "yes", "no",
			"ipv4", "ipv6", "0", "443", "0-1000", "8000-8099", "4026531840", "a1bc", "A", "10.0.0.0/8", "10.1.2.3", "::ffff:10.1.2.3", "fe80::/10", "::/0",
			"10.0.0.0-10.2.0.0", "*.github.com", "*", "a*", "*b", "*\x00*", "bob", "root", "de", "container:*", `\*`, `a\*b`, `a\\b`, `a\,b`}, hostile...)
		f += rapid.SampledFrom(values).Draw(t, "value")
		if rapid.Bool().Draw(t, "or") {
			f += "," + rapid.SampledFrom(values).Draw(t, "other value")
		}
		return f
	})
}

// tempDir is removed at the end of one check, not of the whole test.
func tempDir(t *testing.T, rt *rapid.T) string {
	dir, err := os.MkdirTemp(t.TempDir(), "")
	if err != nil {
		rt.Fatal(err)
	}
	rt.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func closeDB(t testing.TB, db *query.DB) {
	if err := db.Close(); err != nil {
		t.Error(err)
	}
}
