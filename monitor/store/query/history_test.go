package query_test

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"snitch/monitor/event"
	"snitch/monitor/store/query"
	"snitch/policy"
	"snitch/policy/rule"
)

// TestHistoryKeepsFacts: whatever is recorded, the facts that rules read come
// back as they were, and the decision with them.
func TestHistoryKeepsFacts(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.IntRange(1, 4).Draw(rt, "connections")
		conns := map[uint64]event.Connection{}
		var all []event.Connection
		for i := range n {
			c := genConnection(uint64(i+1)).Draw(rt, "connection")
			c.Opened = time.Date(2026, 3, 1, 0, 0, i, 0, time.UTC) // tells them apart
			c.Decision.At = rapid.SampledFrom([]time.Time{{}, c.Opened, c.Opened.Add(time.Hour)}).Draw(rt, "at")
			conns[uint64(c.Opened.UnixNano())] = c
			all = append(all, c)
		}
		db := written(t, openDir(t), all)
		defer db.Close()
		keys := map[query.FactsKey]rule.Facts{}
		rows := 0
		err := db.History(t.Context(), query.Query{}, true, func(w *query.DecidedRow) error {
			rows++
			want := conns[uint64(w.Opened)]
			got, complete, err := w.Connection()
			if err != nil {
				return err
			}
			if !complete {
				rt.Errorf("a row of this schema is not complete")
			}
			facts := policy.Facts(&got)
			if diff := cmp.Diff(policy.Facts(&want), facts, cmpopts.EquateComparable(facts.From.Addr)); diff != "" {
				rt.Errorf("facts (-recorded +read):\n%s", diff)
			}
			if before, ok := keys[w.Key]; ok && !cmp.Equal(before, facts, cmpopts.EquateComparable(facts.From.Addr)) {
				rt.Errorf("one key has two facts: %+v and %+v", before, facts)
			}
			keys[w.Key] = facts
			d, err := w.Decision()
			if err != nil {
				return err
			}
			if p := want.Decision.Previous; p != nil { // kept without these
				before := *p
				before.At, before.Input, before.Previous = time.Time{}, 0, nil
				want.Decision.Previous = &before
			}
			if diff := cmp.Diff(want.Decision, d, cmpopts.EquateEmpty()); diff != "" {
				rt.Errorf("decision (-recorded +read):\n%s", diff)
			}
			if w.Sent != want.Sent || w.Received != want.Received {
				rt.Errorf("%d and %d bytes, want %d and %d", w.Sent, w.Received, want.Sent, want.Received)
			}
			return nil
		})
		if err != nil || rows != n {
			rt.Fatalf("%d rows, want %d (%v)", rows, n, err)
		}
	})
}

// TestHistoryPorts: without ports connections that differ in nothing but the
// port of the end that began have one key, with ports they do not.
func TestHistoryPorts(t *testing.T) {
	first, second := conn(1, time.Unix(1000, 0)), conn(2, time.Unix(1001, 0))
	second.Local = netip.AddrPortFrom(first.Local.Addr(), first.Local.Port()+1)
	db := written(t, openDir(t), []event.Connection{first, second})
	defer db.Close()
	for _, ports := range []bool{false, true} {
		keys := map[query.FactsKey]bool{}
		err := db.History(t.Context(), query.Query{}, ports, func(w *query.DecidedRow) error {
			keys[w.Key] = true
			return nil
		})
		want := 1
		if ports {
			want = 2
		}
		if err != nil || len(keys) != want {
			t.Errorf("ports %v: %d keys, want %d (%v)", ports, len(keys), want, err)
		}
	}
	stop := errors.New("stop")
	if err := db.History(t.Context(), query.Query{}, false, func(*query.DecidedRow) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("an error of the caller: %v", err)
	}
}
