package sheet_test

import (
	"bytes"
	"encoding/csv"
	"strings"
	"testing"
	"time"
	"unicode"

	"pgregory.net/rapid"

	"snitch/cmd/internal/sheet"
	"snitch/monitor/event"
	"snitch/monitor/store/query"
)

func written(t testing.TB, r *event.Record) (header, line []string) {
	t.Helper()
	var b bytes.Buffer
	s, err := sheet.NewRecords(&b)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Write(r); err != nil {
		t.Fatal(err)
	}
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	if strings.Count(b.String(), "\r\n") != 2 || strings.Count(b.String(), "\n") != 2 {
		t.Fatalf("lines do not end in CRLF, or there are more than two: %q", b.String())
	}
	rows, err := csv.NewReader(&b).ReadAll()
	if err != nil || len(rows) != 2 {
		t.Fatalf("%d rows (%v)", len(rows), err)
	}
	return rows[0], rows[1]
}

func TestRecords(t *testing.T) {
	r := event.Record{Time: time.Date(2026, 7, 1, 8, 0, 0, 5, time.UTC), Ancestor: event.Ancestor{Exe: "/usr/bin/curl", Cmdline: `curl "a,b"`},
		Parent: &event.Ancestor{Name: "-bash"}, RPort: 443, Sent: 1 << 62, Matches: []string{"r1", "r2"}, Domain: "=cmd|' /C calc'!A0"}
	header, line := written(t, &r)
	got := map[string]string{}
	for i := range header {
		got[header[i]] = line[i]
	}
	for name, want := range map[string]string{"time": "2026-07-01T08:00:00.000000005Z", "last": "", "exe": "/usr/bin/curl", "cmdline": `curl "a,b"`, "parent_name": "'-bash",
		"grandparent_exe": "", "rport": "443", "sent": "4611686018427387904", "matches": "r1 r2", "domain": "'=cmd|' /C calc'!A0"} {
		if got[name] != want {
			t.Errorf("%s is %q, want %q", name, got[name], want)
		}
	}
}

// TestHarmless: whatever a process calls itself, a cell begins no formula and
// has nothing that is not printable, and the columns stay where they are.
func TestHarmless(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s := rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"=1+1", "+1", "-1", "@x", "\t=1", "\r\n=1", "\x00", "\"", "'", ",", "\x1b[31m", "\u202e", "|x", "%0A"})).Draw(rt, "text")
		_, line := written(t, &event.Record{Ancestor: event.Ancestor{Exe: s, Name: s, Cmdline: s}, Domain: s, Rule: s, Matches: []string{s}})
		for _, c := range line {
			if c != "" && strings.ContainsRune("=+-@\t\r", rune(c[0])) {
				rt.Fatalf("%q begins a formula", c)
			}
			if strings.ContainsFunc(c, func(r rune) bool { return !unicode.IsPrint(r) }) {
				rt.Fatalf("%q has what is not printable", c)
			}
		}
	})
}

func TestGroups(t *testing.T) {
	var b bytes.Buffer
	g := query.Groups{By: []string{"exe", "country"}, Rows: []query.GroupRow{{Keys: []string{"@evil", ""}, Connections: 3, Sent: 1, Received: 2, Denied: 1, Last: time.Unix(0, 0).UTC()}}}
	if err := sheet.Groups(&b, &g); err != nil {
		t.Fatal(err)
	}
	want := "exe,country,connections,sent,received,denied,would_deny,first,last\r\n'@evil,,3,1,2,1,0,,1970-01-01T00:00:00Z\r\n"
	if b.String() != want {
		t.Errorf("got %q, want %q", b.String(), want)
	}
}
