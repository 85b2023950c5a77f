package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"snitch/cmd/internal/config"
	"snitch/cmd/internal/control"
	"snitch/cmd/internal/text"
	"snitch/enforce"
	"snitch/monitor/event"
	"snitch/monitor/store/query"
	"snitch/monitor/store/schema"
	"snitch/policy"
	"snitch/policy/bundle"
	"snitch/policy/history"
	reports "snitch/policy/report"
	"snitch/policy/rule"
	"snitch/policy/suite"
)

// switchedOff is the file in a recorded rule set that lists, a line each, the
// alert rules that the machine's configuration had switched off. Rules are not
// read from hidden directories.
const switchedOff = ".snitch/switched-off"

// HistoryOptions are the flags of the commands that read recorded connections.
type HistoryOptions struct {
	State   string
	History string
	Since   string
	Until   string
}

func (o *HistoryOptions) flags(cmd *cobra.Command) {
	dirFlag(cmd, &o.State, "state", config.DefaultState, "state directory of the daemon")
	f := cmd.Flags()
	f.StringVar(&o.History, "history", "", "a database file, instead of --state")
	f.StringVar(&o.Since, "since", "", "only what was active since: 10m, 7d, 2026-07-01, \"2026-07-01 08:00\"")
	f.StringVar(&o.Until, "until", "", "only what began before: as --since")
	for _, flag := range []string{"since", "until"} {
		complete(cmd, flag, cobra.FixedCompletions([]string{"1h", "1d", "7d", "30d"}, cobra.ShellCompDirectiveNoFileComp))
	}
	complete(cmd, "history", cobra.FixedCompletions([]string{"db"}, cobra.ShellCompDirectiveFilterFileExt))
}

// open opens the database and makes the query. What the daemon has not written
// yet belongs to the answer.
func (o *HistoryOptions) open(ctx context.Context, filters []string) (*recordedRows, error) {
	log := LogOptions{rangeOptions: rangeOptions{Since: o.Since, Until: o.Until}}
	q, err := log.question(time.Now(), filters)
	if err != nil {
		return nil, err
	}
	path := o.History
	if path == "" {
		path = filepath.Join(o.State, schema.FileName)
		_ = control.NewClient(o.State).Flush(ctx) // without a daemon the database is all there is
	}
	db, err := query.Open(ctx, path, nil)
	if err != nil {
		return nil, databaseError(err)
	}
	return &recordedRows{db: db, query: q, said: verdictsBeside(path)}, nil
}

// recordedRows is a database as the source of history.
type recordedRows struct {
	db    *query.DB
	query query.Query
	said  func(event.Digest) event.Reputation // of a file; nil: nothing
}

// Rows implements history.Source.
func (s *recordedRows) Rows(ctx context.Context, ports bool, f func(*history.Row) error) error {
	lazy := recordedRow{said: s.said}
	row := history.Row{Lazy: &lazy}
	return s.db.History(ctx, s.query, ports, func(w *query.DecidedRow) error {
		lazy.row = w
		row.Key, row.Opened, row.Last, row.At, row.Input = history.Key(w.Key), w.Opened, w.Last, w.At, w.Input
		row.Sent, row.Received, row.Decided = w.Sent, w.Received, w.DecisionID()
		return f(&row)
	})
}

type recordedRow struct {
	row  *query.DecidedRow
	said func(event.Digest) event.Reputation
}

func (r *recordedRow) Decision() (event.Decision, error) { return r.row.Decision() }

func (r *recordedRow) Facts() (rule.Facts, bool, error) {
	c, complete, err := r.row.Connection()
	f := policy.Facts(&c)
	judged(&f, r.said)
	return f, complete, err
}

// rules loads the rule sets that the record keeps. Those that do not load are
// told by what they decided.
func (s *recordedRows) rules(ctx context.Context) (*history.Rules, error) {
	sets, err := s.db.RuleSets(ctx)
	if err != nil {
		return nil, err
	}
	out := &history.Rules{Sets: make(map[string][]*history.Policy), Broken: make(map[string]error)}
	for _, kept := range sets {
		set, err := s.ruleSet(ctx, kept)
		switch {
		case errors.Is(err, context.Canceled):
			return nil, err
		case err != nil:
			out.Broken[kept.Revision] = err
			continue
		}
		out.Sets[kept.Revision] = append(out.Sets[kept.Revision], history.NewPolicy(set, &lazyOPA{set: set}))
	}
	return out, nil
}

func (s *recordedRows) ruleSet(ctx context.Context, kept query.RuleSet) (*rule.Set, error) {
	files, err := s.db.RuleFiles(ctx, kept.ID)
	if err != nil {
		return nil, err
	}
	return ruleSetOf(files, kept.Revision)
}

// ruleSetOf makes the rule set of files as the daemon did.
func ruleSetOf(files []query.RuleFile, revision string) (_ *rule.Set, err error) {
	var snapshot bundle.Snapshot
	var off []string
	var protected *enforce.Protected // nil: nothing was added
	for _, f := range files {
		switch f.Path {
		case switchedOff:
			off = strings.Fields(string(f.Data))
			continue
		case enforce.ProtectedFile:
			if protected, err = enforce.ParseProtected(f.Data); err != nil {
				return nil, err
			}
			continue
		}
		snapshot.Files = append(snapshot.Files, bundle.File{Path: f.Path, Data: f.Data})
	}
	fsys, err := snapshot.FS()
	if err != nil {
		return nil, err
	}
	loaded, err := rule.Load(fsys, rule.Options{Revision: revision})
	if err != nil {
		return nil, err
	}
	set := policy.WithoutAlerts(loaded.Set, off)
	if protected != nil {
		if set, err = protected.Merge(set); err != nil {
			return nil, err
		}
	}
	if revision != "" {
		set.Revision = revision // which says already what it lacks
	}
	return set, nil
}

// lazyOPA decides by OPA and compiles when it is first asked: a record may keep
// many sets that decided nothing in the window.
type lazyOPA struct {
	set *rule.Set
	opa *suite.OPA
	err error
}

// Decide implements history.Decider.
func (l *lazyOPA) Decide(ctx context.Context, f *rule.Facts, now time.Time) rule.Decision {
	if l.opa == nil && l.err == nil {
		l.opa, l.err = suite.NewOPA(ctx, l.set)
	}
	if l.err != nil {
		return rule.Decision{Action: event.ActionAlert, Error: l.err.Error()}
	}
	votes, err := l.opa.Votes(ctx, f, now)
	if err != nil {
		return rule.Decision{Action: event.ActionAlert, Error: err.Error()}
	}
	return l.set.Combine(votes, now)
}

// candidate loads the rules of a directory or file to decide history by, and
// compiles them, so that mistakes show before anything is read.
func candidate(ctx context.Context, io stdio, dir string) (*rule.Set, *history.Policy, error) {
	p, err := loadPolicy([]string{dir})
	if err != nil {
		return nil, nil, loadFailure(io, "pretty", p, err)
	}
	opa, err := suite.NewOPA(ctx, p.Set)
	if err != nil {
		return nil, nil, loadFailure(io, "pretty", p, err)
	}
	return p.Set, history.NewPolicy(p.Set, &lazyOPA{set: p.Set, opa: opa}), nil
}

// progress shows on a terminal how far the reading has come.
func (s *recordedRows) progress(ctx context.Context, out io.Writer) (history.Progress, func()) {
	if !isTerminal(out) {
		return nil, func() {}
	}
	_, _, total, err := s.db.Span(ctx)
	if err != nil {
		total = 0
	}
	began := time.Now()
	show := func(rows uint64) {
		fmt.Fprintf(out, "\r%d of %d connections, %s\x1b[K", rows, max(rows, total), text.Duration(time.Since(began)))
	}
	return show, func() { fmt.Fprint(out, "\r\x1b[K") }
}

// maxGroups bounds what people are shown of each part; --format json has all.
const maxGroups = 20

// differences writes a report for people.
func differences(style reports.Style, r *history.Report) string {
	var b strings.Builder
	for _, part := range []struct {
		title, colour string
		groups        []history.Group
	}{{"newly denied", reports.Red, r.Denied}, {"newly alerting", reports.Yellow, r.Alerting}, {"newly allowed", reports.Green, r.Allowed},
		{"by another rule", reports.Dim, r.Otherwise}} {
		if len(part.groups) == 0 {
			continue
		}
		sums := history.Total(part.groups)
		fmt.Fprintf(&b, "%s: %s\n", style.Paint(part.colour, part.title), amounts(&sums))
		for i := range part.groups[:min(len(part.groups), maxGroups)] {
			g := &part.groups[i]
			fmt.Fprintf(&b, "  %s → %s: %s %s (%s → %s)\n", text.Clean(g.Program), text.Clean(g.Destination), amounts(&g.Sums),
				style.Paint(reports.Dim, g.Before+" → "+g.After), by(g.RuleBefore), by(g.RuleAfter))
		}
		if more := len(part.groups) - maxGroups; more > 0 {
			fmt.Fprintf(&b, "  and %d more: see --format json\n", more)
		}
	}
	fmt.Fprintf(&b, "unchanged: %s\n", amounts(&r.Same))
	for i := range r.Undecidable {
		u := &r.Undecidable[i]
		fmt.Fprintf(&b, "undecidable, %s: %s\n", u.Cause, amounts(&u.Sums))
	}
	return b.String()
}

func amounts(s *history.Sums) string {
	return fmt.Sprintf("%s, %s up, %s down", text.Plural(s.Connections, "connection"), text.Bytes(s.Sent), text.Bytes(s.Received))
}

func by(id string) string {
	if id == "" {
		return "no rule"
	}
	return text.Clean(id)
}

// failed tells whether a report fails the command, by the name of the flag's
// value.
func failsOn(what string, r *history.Report) bool {
	switch what {
	case "denied":
		return len(r.Denied) > 0
	case "changed":
		return r.Differs()
	}
	return false
}

// emptyLists makes JSON lists of what there is none of.
func emptyLists(r *history.Report) *history.Report {
	for _, list := range []*[]history.Group{&r.Denied, &r.Alerting, &r.Allowed, &r.Otherwise} {
		*list = slices.Grow(*list, 0)
		if *list == nil {
			*list = []history.Group{}
		}
	}
	if r.Undecidable == nil {
		r.Undecidable = []history.Undecidable{}
	}
	return r
}
