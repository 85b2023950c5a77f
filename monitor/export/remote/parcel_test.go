package remote

import (
	"bytes"
	"compress/gzip"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"snitch/monitor/event"
	"snitch/monitor/store"
)

// TestClean: whatever a process said becomes text that every server takes.
func TestClean(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := string(rapid.SliceOfN(rapid.Byte(), 0, 3*nameBytes).Draw(t, "in"))
		out := name(in)
		if !utf8.ValidString(out) || strings.ContainsRune(out, 0) || len(out) > nameBytes {
			t.Fatalf("%q became %q", in, out)
		}
		if utf8.ValidString(in) && !strings.ContainsRune(in, 0) && len(in) <= nameBytes && in != out {
			t.Fatalf("%q needed no change and became %q", in, out)
		}
		if p := plain(out); len(p) != utf8.RuneCountInString(p) || strings.Trim(p, "?") == "" && strings.ContainsAny(out, "abc") {
			t.Fatalf("plain %q is %q", out, p)
		}
	})
}

// TestColumns: each table has the columns of its row, each of a kind that every
// server has, and no name twice.
func TestColumns(t *testing.T) {
	for _, table := range tables() {
		seen := map[string]bool{}
		for _, c := range append(append([]column(nil), headColumns...), table.columns...) {
			for _, d := range []*dialect{postgres(), mariadb()} {
				if d.kinds[c.kind] == "" {
					t.Errorf("%s.%s is of kind %q, which %s lacks", table.name, c.name, c.kind, d.name)
				}
			}
			if c.name == "" || seen[c.name] {
				t.Errorf("%s.%s is there twice, or has no name", table.name, c.name)
			}
			seen[c.name] = true
		}
		row := table.blank()
		if got := len(table.values(row)); got != len(table.columns) || got < 5 {
			t.Errorf("%s: %d values for %d columns", table.name, got, len(table.columns))
		}
	}
}

// TestPackRoundTrip: what was packed comes out, and no parcel is too large for
// those who read it.
func TestPackRoundTrip(t *testing.T) {
	g := testGrowth(400)
	all := parcels(t, g)
	var rows []any
	for _, p := range all {
		if len(p.rows) > parcelRows || p.head.Host != "host-1" || !p.head.Written.Equal(when(base)) {
			t.Errorf("parcel of %d rows, %+v", len(p.rows), p.head)
		}
		for _, l := range p.rows {
			rows = append(rows, l.row)
		}
	}
	if len(all) < 3 || len(rows) != 400+1+3 {
		t.Fatalf("%d parcels with %d rows", len(all), len(rows))
	}
	first, ok := rows[0].(*connection)
	want := (&packer{actors: map[*event.Process]actor{}}).connection(7, &g.Connections[0])
	if !ok || !reflect.DeepEqual(first, want) {
		t.Errorf("got  %+v\nwant %+v", first, want)
	}
	if keys := map[string]bool{all[0].Key: true, all[1].Key: true, all[2].Key: true}; len(keys) != 3 || len(all[0].Key) != 32 {
		t.Errorf("keys %v", keys)
	}
	if got := NewPacker("h")(&store.Growth{Time: base}); len(got) != 0 {
		t.Errorf("nothing made %d parcels", len(got))
	}
}

// TestUnpackRefuses: a damaged parcel is an error, never a row too few.
func TestUnpackRefuses(t *testing.T) {
	good := NewPacker("h")(testGrowth(3))[0]
	if _, err := unpack(good.Key, good.Data[:len(good.Data)-9]); err == nil {
		t.Error("a parcel that was cut short was read")
	}
	for name, lines := range map[string]string{
		"empty": "", "another form": `{"form":2,"host":"h","written":"2026-01-01T00:00:00Z"}`, "no host": `{"form":1,"host":"","written":"2026-01-01T00:00:00Z"}`,
		"unknown table": head + "x{}\n", "unknown column": head + `c{"nope":1}` + "\n", "two values": head + "c{} {}\n", "too much": head + strings.Repeat("c{}\n", parcelRows+1), "too large": head + "c{}" + strings.Repeat(" ", maxUnpacked),
		"long line": head + `c{"exe":"` + strings.Repeat("x", maxLine) + "\"}\n",
	} {
		if _, err := unpack(good.Key, gzipped(t, lines)); err == nil {
			t.Errorf("%s: was read", name)
		}
	}
}

const head = `{"form":1,"host":"h","written":"2026-01-01T00:00:00Z"}` + "\n"

func gzipped(t testing.TB, s string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write([]byte(s)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func FuzzUnpack(f *testing.F) {
	f.Add([]byte(head + "c{}\ne{}\nl{}\na{}\n"))
	f.Add([]byte(head + `c{"opened":"2026-01-01T00:00:00Z","uid":4294967295}`))
	f.Fuzz(func(t *testing.T, lines []byte) {
		p, err := unpack([keyBytes]byte{}, gzipped(t, string(lines)))
		if err != nil {
			return
		}
		for _, l := range p.rows {
			if got := len(l.table.values(l.row)); got != len(l.table.columns) {
				t.Fatalf("%d values for %d columns", got, len(l.table.columns))
			}
		}
	})
}

func FuzzReadFrame(f *testing.F) {
	f.Add([]byte("p\x00\x00\x00\x02ab"))
	f.Add([]byte("r\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, b []byte) {
		kind, payload, err := readFrame(bytes.NewReader(b))
		if err != nil {
			return
		}
		var again bytes.Buffer
		if err := writeFrame(&again, kind, payload); err != nil || !bytes.HasPrefix(b, again.Bytes()) {
			t.Fatalf("%q was read as %q %q and written as %q (%v)", b, kind, payload, again.Bytes(), err)
		}
	})
}
