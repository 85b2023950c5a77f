package query

import (
	"bytes"
	"compress/gzip"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"snitch/monitor/event"
	"snitch/monitor/store/schema"
)

// AlertQuery selects alerts. The zero value selects all.
type AlertQuery struct {
	ID     int64            // this one; 0: any
	State  event.AlertState // in this state; invalid: any
	Kind   event.AlertKind  // of this kind; invalid: any
	Rule   string           // of this rule; "": any
	Exe    string           // of a program with this path; "": any
	Text   string           // that stands, whatever its case, in rule, reason, program, command line, user, peer or domain
	Since  time.Time        // that happened at this time or later; zero: no bound
	Until  time.Time        // that happened last before this; zero: no bound
	Limit  int              // at most so many, those that happened last; 0: all
	Offset int              // of the first
}

const selectAlert = `SELECT id, kind, rule, state, action, reason, first, last, count, exe, exe_view, sha256, cmdline,
parent_exe, parent_view, parent_sha256, pid, uid, user, direction, proto, peer, domain, opened FROM alert
WHERE (?1 = 0 OR id = ?1) AND (?2 = 0 OR state = ?2) AND last >= ?3 AND last < ?4 AND (?5 = 0 OR kind = ?5)
AND (?6 = '' OR rule = ?6) AND (?7 = '' OR exe = ?7) AND (?8 = '' OR instr(lower(rule || char(10) || reason || char(10) || exe || char(10)
|| cmdline || char(10) || user || char(10) || peer || char(10) || domain), lower(?8)))
ORDER BY last DESC, id DESC LIMIT ?9 OFFSET ?10`

// Alerts lists alerts, those that happened last first.
func (db *DB) Alerts(ctx context.Context, q AlertQuery) (out []event.Alert, err error) {
	since, until, limit := int64(math.MinInt64), int64(math.MaxInt64), int64(math.MaxInt64)
	if !q.Since.IsZero() {
		since = schema.FromTime(q.Since)
	}
	if !q.Until.IsZero() {
		until = schema.FromTime(q.Until)
	}
	if q.Limit > 0 {
		limit = int64(q.Limit)
	}
	args := []any{q.ID, int64(q.State), since, until, int64(q.Kind), q.Rule, q.Exe, q.Text, limit, int64(max(0, q.Offset))}
	err = db.each(ctx, selectAlert, args, func(rows *sql.Rows) error {
		var a event.Alert
		var first, last, opened int64
		err := rows.Scan(&a.ID, &a.Kind, &a.Rule, &a.State, &a.Action, &a.Reason, &first, &last, &a.Count, &a.Exe, &a.ExeView, &a.SHA256, &a.Cmdline,
			&a.ParentExe, &a.ParentView, &a.ParentSHA256, &a.PID, &a.UID, &a.User, &a.Direction, &a.Proto, &a.Peer, &a.Domain, &opened)
		a.Muted = a.State == event.AlertSeen
		a.First, a.Last, a.Opened = schema.ToTime(first), schema.ToTime(last), schema.ToTime(opened)
		out = append(out, a)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read alerts: %w", err)
	}
	return out, nil
}

// RuleCounts lists what each rule did since the record began, by rule id.
func (db *DB) RuleCounts(ctx context.Context) (out []event.RuleCount, err error) {
	err = db.each(ctx, "SELECT rule, hits, wins, would_deny, would_alert, denied, last FROM rule_count ORDER BY rule", nil, func(rows *sql.Rows) error {
		var r event.RuleCount
		var last int64
		err := rows.Scan(&r.Rule, &r.Hits, &r.Wins, &r.WouldDeny, &r.WouldAlert, &r.Denied, &last)
		r.Last = schema.ToTime(last)
		out = append(out, r)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read counts of rules: %w", err)
	}
	return out, nil
}

// RuleSet names a rule set that the record keeps.
type RuleSet struct {
	ID       int64
	Revision string
	First    time.Time // loaded
	Last     time.Time
}

// RuleFile is a file of a rule set.
type RuleFile struct {
	Path string
	Data []byte
}

// maxRuleFile bounds what a file is unpacked to: the writer keeps none larger.
const maxRuleFile = 256 << 20

// ErrNoRuleSet says that the record does not keep a rule set.
var ErrNoRuleSet = errors.New("the record does not keep these rules")

// RuleSets lists the rule sets, that loaded last first. A revision has more
// than one when its name is no digest and the files under it changed.
func (db *DB) RuleSets(ctx context.Context) (out []RuleSet, err error) {
	err = db.each(ctx, "SELECT id, revision, first, last FROM ruleset ORDER BY last DESC, id DESC", nil, func(rows *sql.Rows) error {
		var s RuleSet
		var first, last int64
		err := rows.Scan(&s.ID, &s.Revision, &first, &last)
		s.First, s.Last = schema.ToTime(first), schema.ToTime(last)
		out = append(out, s)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read rule sets: %w", err)
	}
	return out, nil
}

// RuleFiles returns the files of a rule set, by path.
func (db *DB) RuleFiles(ctx context.Context, set int64) (out []RuleFile, err error) {
	const text = `SELECT s.path, f.size, f.data FROM ruleset_file s JOIN rulefile f ON f.id = s.rulefile WHERE s.ruleset = ? ORDER BY s.path`
	err = db.each(ctx, text, []any{set}, func(rows *sql.Rows) error {
		var f RuleFile
		var size int64
		var packed []byte
		if err := rows.Scan(&f.Path, &size, &packed); err != nil {
			return err
		}
		if f.Data, err = unpack(packed, size); err != nil {
			return fmt.Errorf("unpack %q: %w", f.Path, err)
		}
		out = append(out, f)
		return nil
	})
	if err == nil && len(out) == 0 {
		err = ErrNoRuleSet
	}
	if err != nil {
		return nil, fmt.Errorf("read rule set %d: %w", set, err)
	}
	return out, nil
}

// unpack trusts neither the stored size nor the stream.
func unpack(packed []byte, size int64) ([]byte, error) {
	if size < 0 || size > maxRuleFile {
		return nil, fmt.Errorf("it has %d bytes", size)
	}
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(z, size+1))
	if err == nil && int64(len(data)) != size {
		err = fmt.Errorf("it has %d bytes, not %d", len(data), size)
	}
	return data, err
}
