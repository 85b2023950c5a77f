package store

import (
	"slices"

	"snitch/monitor/event"
	"snitch/monitor/store/schema"
)

// Bounds of texts that others write.
const (
	reasonBytes = 1024
	errorBytes  = 128
)

// decide interns d unless it is the same as the last one, as it mostly is.
func (t *txn) decide(d *event.Decision) (r decisionRefs, err error) {
	if t.decision.decision != 0 && sameDecision(&t.decided, d) {
		return t.decision, nil
	}
	r.decision, r.rule, err = t.w.intern.decision(d, 1)
	if err == nil {
		t.decided, t.decision = *d, r
	}
	return r, err
}

// sameDecision compares what table decision keeps.
func sameDecision(a, b *event.Decision) bool {
	return a.Action == b.Action && a.Would == b.Would && a.Mode == b.Mode && a.Rule == b.Rule && a.Revision == b.Revision &&
		a.Reason == b.Reason && a.Pos == b.Pos && a.Capped == b.Capped && a.Provisional == b.Provisional && a.Error == b.Error &&
		a.Previous == b.Previous && slices.Equal(a.Matches, b.Matches)
}

// decision interns d, and of the one before it as many as earlier says.
func (in *interner) decision(d *event.Decision, earlier int) (id, rule int64, err error) {
	if rule, err = in.text(d.Rule); err != nil {
		return 0, 0, err
	}
	matches, err := in.list(d.Matches)
	if err != nil {
		return 0, 0, err
	}
	revision, err := in.text(d.Revision)
	if err != nil {
		return 0, 0, err
	}
	n := [12]int64{int64(d.Action), int64(d.Would), int64(d.Mode), rule, matches, revision}
	n[10], n[11] = flag(d.Capped), flag(d.Provisional)
	for i, s := range [...]string{cut(d.Reason, reasonBytes), cut(d.Pos, reasonBytes), cut(d.Error, errorBytes)} {
		if n[6+i], err = in.optional(s); err != nil {
			return 0, 0, err
		}
	}
	if d.Previous != nil && earlier > 0 {
		if n[9], _, err = in.decision(d.Previous, earlier-1); err != nil {
			return 0, 0, err
		}
	}
	args := make([]any, len(n))
	for i := range n {
		args[i] = n[i]
	}
	id, err = in.numbers(tuple{tableDecision, n},
		`SELECT id FROM decision WHERE action = ? AND would = ? AND mode = ? AND rule = ? AND matches = ? AND revision = ?
			AND ifnull(reason, 0) = ? AND ifnull(position, 0) = ? AND ifnull(error, 0) = ? AND ifnull(previous, 0) = ? AND capped = ? AND provisional = ?`,
		`INSERT INTO decision (action, would, mode, rule, matches, revision, reason, position, error, previous, capped, provisional)
			VALUES (?, ?, ?, ?, ?, ?, nullif(?, 0), nullif(?, 0), nullif(?, 0), nullif(?, 0), ?, ?)`, args...)
	return id, rule, err
}

func cut(s string, n int) string { return s[:min(len(s), n)] }

// undecided is what one connection brought into the sums of one minute under
// "undecided".
type undecided struct {
	totals
	minute  int64
	rule    int64 // key of DimRule
	counted bool  // the connection itself was counted in that minute
}

// settleWithin is for how many minutes sums are put right: until then no
// resolution of theirs was removed.
const settleWithin = 60

// settle notes what a connection without a decision added to the sums, and
// once there is one moves the last minute of it under the decision. What came
// in earlier minutes stays under "undecided": it was, for that long.
func (t *txn) settle(c *event.Connection, r *refs, minute int64, delta totals, u *undecided, fresh bool) *undecided {
	if c.Decision.Action == event.ActionUndecided {
		now := &undecided{totals: delta, minute: minute, rule: r.rule, counted: fresh}
		if u != nil && u.minute == minute {
			now.sent, now.received, now.counted = now.sent+u.sent, now.received+u.received, u.counted
		}
		return now
	}
	if u != nil && minute-u.minute <= settleWithin {
		n := sum{sent: schema.FromCount(u.sent), received: schema.FromCount(u.received), connections: flag(u.counted)}
		bucket := u.minute * schema.Minute.Seconds()
		t.sums.put(sumKey{schema.DimRule, bucket, u.rule}, n.negative())
		t.sums.put(sumKey{schema.DimAction, bucket, int64(event.ActionUndecided)}, n.negative())
		t.sums.put(sumKey{schema.DimRule, bucket, r.rule}, n)
		t.sums.put(sumKey{schema.DimAction, bucket, int64(c.Decision.Action)}, n)
	}
	return nil
}
