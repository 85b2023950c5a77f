package query

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"snitch/monitor/event"
	"snitch/monitor/store"
	"snitch/monitor/store/schema"
)

// TestPlans: the big tables are never read from end to end where a range or a
// key is asked for.
func TestPlans(t *testing.T) {
	dir := t.TempDir()
	s, err := store.Open(t.Context(), store.Config{Dir: dir, Group: -1})
	if err != nil {
		t.Fatal(err)
	}
	s.Append(store.Batch{Time: time.Unix(1000, 0), Connections: []event.Connection{{ID: 1, Opened: time.Unix(1000, 0)}}})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	db, err := Open(t.Context(), filepath.Join(dir, schema.FileName), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	filters, err := Parse([]string{"parent.exe=/usr/bin/bash", "domain=.example.org", "raddr=10.0.0.0/8", "user=bob", "action=deny"})
	if err != nil {
		t.Fatal(err)
	}
	rows := func(q Query, long, ended bool) func(*builder) string {
		return func(b *builder) string {
			for _, p := range q.parts() {
				if p.long == long {
					p.ended = ended
					return p.statementOf("c.sent", b, key{p.from, 0, 0}, historyRows)
				}
			}
			return ""
		}
	}
	recent := Query{Since: time.Unix(5000, 0), Until: time.Unix(9000, 0), Filters: filters}
	for name, tc := range map[string]struct {
		text func(*builder) string
		want []string
	}{
		"sums": {func(b *builder) string { b.args = []any{2, 1, 0, 9}; return selectSums }, []string{"SEARCH rollup USING PRIMARY KEY (dim=? AND res=? AND bucket>? AND bucket<?)"}},
		"sums of some keys": {func(b *builder) string {
			return seekText(b, schema.DimDomain, segment{schema.Hour, 0, 9}, []int64{1, 2})
		},
			[]string{"SEARCH t USING PRIMARY KEY (dim=? AND res=? AND bucket>? AND bucket<?)", "SEARCH r USING PRIMARY KEY (dim=? AND res=? AND bucket=? AND key=?)"}},
		"rows": {rows(recent, false, false), []string{"SEARCH c USING PRIMARY KEY ((opened,run,id)>(?,?,?) AND opened<?)"}},
		"rows of some moments": {func(b *builder) string {
			p := recent.parts()[1]
			p.moments = []int64{1, 2, 3}
			return p.statementOf("c.sent", b, key{p.from, 0, 0}, historyRows)
		}, []string{"SEARCH c USING PRIMARY KEY (opened=?)"}},
		"ended": {rows(recent, true, true), []string{"SEARCH c USING INDEX connection_ended (<expr>>?)"}},
		"few ended": {func(b *builder) string { b.args = []any{1, 2}; return countEnded },
			[]string{"SEARCH connection USING INDEX connection_ended (<expr>>?)"}},
		"long": {rows(recent, true, false), []string{"SEARCH c USING INDEX connection_long ((opened,run,id)>(?,?,?) AND opened<?)"}},
		"alerts": {func(b *builder) string {
			b.args = make([]any, 10)
			return selectAlert
		}, []string{"SEARCH alert USING INDEX alert_last (last>? AND last<?)"}},
		"processes": {func(b *builder) string { b.arg(1); return "SELECT id FROM process WHERE executable = ?1" }, []string{"SEARCH process USING COVERING INDEX process_executable"}},
	} {
		t.Run(name, func(t *testing.T) {
			var b builder
			text := tc.text(&b)
			var plan []string
			err := db.read(t.Context(), func(r *reader) error {
				rows, err := r.tx.QueryContext(t.Context(), "EXPLAIN QUERY PLAN "+text, b.args...)
				if err != nil {
					return err
				}
				defer rows.Close()
				for rows.Next() {
					var id, parent, unused int
					var line string
					if err := rows.Scan(&id, &parent, &unused, &line); err != nil {
						return err
					}
					plan = append(plan, line)
				}
				return rows.Err()
			})
			if err != nil {
				t.Fatal(err)
			}
			whole := strings.Join(plan, "\n")
			for _, w := range tc.want {
				if !strings.Contains(whole, w) {
					t.Errorf("no %q in the plan:\n%s", w, whole)
				}
			}
			for _, big := range []string{"SCAN c", "SCAN rollup", "SCAN r", "SCAN t"} {
				for _, line := range plan {
					if line == big {
						t.Errorf("%s in the plan:\n%s", big, whole)
					}
				}
			}
		})
	}
}
