package store

import (
	"context"
	"database/sql/driver"
	"fmt"

	"snitch/monitor/event"
	"snitch/monitor/store/schema"
)

// alertsKept bounds the alerts that wait, and the rules that have counts.
const alertsKept = 16384

// extras are what waits beside the rows. Alerts of one key are merged, and so
// are counts of one rule.
type extras struct {
	alerts  []event.Alert
	byKey   map[event.AlertKey]int
	rules   map[string]event.RuleCount
	known   []knownRow
	sets    []*ruleSet
	dropped uint64
}

func (x *extras) empty() bool {
	return len(x.alerts)+len(x.rules)+len(x.known)+len(x.sets) == 0
}

func (x *extras) add(alerts []event.Alert, rules []event.RuleCount, known []knownRow) {
	for i := range alerts {
		x.addAlert(&alerts[i])
	}
	for _, r := range rules {
		x.addRule(r)
	}
	x.known = append(x.known, known...)
}

func (x *extras) addAlert(a *event.Alert) {
	key := a.Key()
	if i, ok := x.byKey[key]; ok {
		mergeAlert(&x.alerts[i], a)
		return
	}
	if len(x.alerts) >= alertsKept {
		x.dropped += max(1, a.Count)
		return
	}
	if x.byKey == nil {
		x.byKey = make(map[event.AlertKey]int)
	}
	x.byKey[key] = len(x.alerts)
	x.alerts = append(x.alerts, *a)
	have := &x.alerts[len(x.alerts)-1]
	have.Count = max(1, have.Count)
	if have.First.IsZero() {
		have.First = have.Last
	}
}

// mergeAlert adds b to a, which is older: its example stays.
func mergeAlert(a, b *event.Alert) {
	a.Count += max(1, b.Count)
	if b.First.Before(a.First) && !b.First.IsZero() {
		a.First = b.First
	}
	if b.Last.After(a.Last) {
		a.Last = b.Last
	}
}

func (x *extras) addRule(r event.RuleCount) {
	have, ok := x.rules[r.Rule]
	if !ok && len(x.rules) >= alertsKept {
		x.dropped += r.Hits
		return
	}
	if x.rules == nil {
		x.rules = make(map[string]event.RuleCount)
	}
	have.Rule = r.Rule
	have.Add(r)
	x.rules[r.Rule] = have
}

// shed returns how much found no room since the last call.
func (x *extras) shed() (n uint64) {
	n, x.dropped = x.dropped, 0
	return n
}

// followed merges what came later.
func (x extras) followed(later extras) extras {
	for i := range later.alerts {
		x.addAlert(&later.alerts[i])
	}
	for _, r := range later.rules {
		x.addRule(r)
	}
	x.known = append(x.known, later.known...)
	x.sets = append(x.sets, later.sets...)
	x.dropped += later.dropped
	return x
}

// putExtras writes them.
func (t *txn) putExtras() error {
	x := &t.work.extras
	for _, s := range x.sets {
		if err := t.putRuleSet(s); err != nil {
			return fmt.Errorf("write rule set: %w", err)
		}
	}
	for i := range x.alerts {
		if err := t.putAlert(&x.alerts[i]); err != nil {
			return fmt.Errorf("write alert: %w", err)
		}
	}
	for _, r := range x.rules {
		if err := t.putRule(r); err != nil {
			return fmt.Errorf("write counts of rule: %w", err)
		}
	}
	for _, k := range x.known {
		if err := t.putKnown(k); err != nil {
			return fmt.Errorf("write what is known: %w", err)
		}
	}
	return nil
}

func (t *txn) putRule(r event.RuleCount) error {
	_, err := t.w.c.exec(`INSERT INTO rule_count (rule, hits, wins, would_deny, would_alert, denied, last) VALUES (?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (rule) DO UPDATE SET hits = hits + excluded.hits, wins = wins + excluded.wins, would_deny = would_deny + excluded.would_deny,
		would_alert = would_alert + excluded.would_alert, denied = denied + excluded.denied, last = max(last, excluded.last)`,
		r.Rule, schema.FromCount(r.Hits), schema.FromCount(r.Wins), schema.FromCount(r.WouldDeny), schema.FromCount(r.WouldAlert),
		schema.FromCount(r.Denied), schema.FromTime(r.Last))
	return err
}

// putAlert adds an alert or counts it in the row that there is. The example
// is that of the first occurrence, or of the one that made it new again.
func (t *txn) putAlert(a *event.Alert) error {
	key := a.Key()
	var id int64
	var state event.AlertState
	err := t.w.c.rows(context.Background(), "SELECT id, state FROM alert WHERE rule = ? AND program = ? AND parent = ? AND kind = ?",
		func(row []driver.Value) error {
			id, _ = row[0].(int64)
			n, _ := row[1].(int64)
			state = event.AlertState(n)
			return nil
		}, key.Rule, key.Program, key.Parent, int64(key.Kind))
	if err != nil {
		return err
	}
	if id != 0 && state != event.AlertResolved {
		_, err := t.w.c.exec("UPDATE alert SET count = count + ?, last = max(last, ?), first = min(first, ?) WHERE id = ?",
			schema.FromCount(a.Count), schema.FromTime(a.Last), schema.FromTime(a.First), id)
		return err
	}
	args := []any{int64(event.AlertNew), a.Action, cut(a.Reason, reasonBytes), schema.FromTime(a.Last), a.Exe, a.ExeView, a.SHA256, cut(a.Cmdline, cmdlineBytes),
		a.ParentExe, a.ParentView, a.ParentSHA256, int64(a.PID), int64(a.UID), a.User, a.Direction, a.Proto, a.Peer, a.Domain, schema.FromTime(a.Opened)}
	if id != 0 {
		_, err := t.w.c.exec(`UPDATE alert SET state = ?, action = ?, reason = ?, last = ?, exe = ?, exe_view = ?, sha256 = ?, cmdline = ?,
			parent_exe = ?, parent_view = ?, parent_sha256 = ?, pid = ?, uid = ?, user = ?, direction = ?, proto = ?, peer = ?, domain = ?, opened = ?,
			count = count + ? WHERE id = ?`, append(args, schema.FromCount(a.Count), id)...)
		return t.raise(a, id, err)
	}
	res, err := t.w.c.exec(`INSERT INTO alert (state, action, reason, last, exe, exe_view, sha256, cmdline, parent_exe, parent_view, parent_sha256,
		pid, uid, user, direction, proto, peer, domain, opened, first, count, rule, program, parent, kind)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		append(args, schema.FromTime(a.First), schema.FromCount(a.Count), key.Rule, key.Program, key.Parent, int64(key.Kind))...)
	if err != nil {
		return err
	}
	id, err = res.LastInsertId()
	return t.raise(a, id, err)
}

// cmdlineBytes bounds the command line of an alert's example.
const cmdlineBytes = 4096

// raise notes that an alert became new.
func (t *txn) raise(a *event.Alert, id int64, err error) error {
	if err != nil {
		return err
	}
	n := *a
	n.ID, n.State, n.Muted = id, event.AlertNew, false
	t.raised = append(t.raised, n)
	return nil
}
