package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"snitch/cmd/internal/control"
	"snitch/cmd/internal/web/api"
	"snitch/monitor/event"
	"snitch/monitor/store/query"
	"snitch/policy/history"
	"snitch/policy/rule"
	"snitch/policy/suite"
)

// candidateFile is the name that rules which a person typed have in messages.
const candidateFile = "candidate.yaml"

// webJudge knows the rules that the record keeps. It is safe for concurrent
// use.
type webJudge struct {
	db     func(ctx context.Context) (*query.DB, error)
	daemon *control.Client
}

// inUse is the rule set that the daemon decides by, or decided by last.
func (j *webJudge) inUse(ctx context.Context, db *query.DB) (query.RuleSet, []query.RuleFile, error) {
	sets, err := db.RuleSets(ctx)
	if err != nil {
		return query.RuleSet{}, nil, err
	}
	if len(sets) == 0 {
		return query.RuleSet{}, nil, query.ErrNoRuleSet
	}
	found := sets[0]
	if st, err := j.daemon.Status(ctx); err == nil {
		for _, s := range sets {
			if s.Revision == st.Policy.Revision {
				found = s
				break
			}
		}
	}
	files, err := db.RuleFiles(ctx, found.ID)
	return found, files, err
}

// Rules implements api.Judge.
func (j *webJudge) Rules(ctx context.Context) (api.Rules, error) {
	db, err := j.db(ctx)
	if err != nil {
		return api.Rules{}, err
	}
	kept, files, err := j.inUse(ctx, db)
	if errors.Is(err, query.ErrNoRuleSet) {
		return api.Rules{Problem: "The record keeps no rules: the daemon writes them when it first decides by them."}, nil
	}
	if err != nil {
		return api.Rules{}, err
	}
	out := api.Rules{Revision: kept.Revision, Loaded: kept.Last}
	if st, err := j.daemon.Status(ctx); err == nil {
		out.Source = st.Policy.Source
	}
	for _, f := range files {
		if !strings.HasPrefix(f.Path, ".") {
			out.Files = append(out.Files, api.RuleFile{Path: f.Path, Text: string(f.Data)})
		}
	}
	set, err := ruleSetOf(files, kept.Revision)
	if err != nil {
		out.Problem = err.Error()
		return out, nil
	}
	out.Entries = entries(set, out.Files)
	return out, nil
}

// entries lists the rules of a set with their texts.
func entries(set *rule.Set, files []api.RuleFile) (out []api.RuleEntry) {
	for _, r := range set.Rules {
		out = append(out, api.RuleEntry{ID: r.ID, Kind: "rule", Action: r.Action.String(), Mode: r.Mode.String(), Reason: r.Reason, Expires: r.Expires, File: r.Pos.File, Line: r.Pos.Line})
	}
	for _, c := range set.Confine {
		out = append(out, api.RuleEntry{ID: c.ID, Kind: "confine", Action: event.ActionDeny.String(), Mode: c.Mode.String(), Reason: c.Reason, Expires: c.Expires, File: c.Pos.File, Line: c.Pos.Line})
	}
	lines := map[string][]string{}
	for _, f := range files {
		lines[f.Path] = strings.Split(f.Text, "\n")
	}
	for i := range out {
		out[i].Text = itemAt(lines[out[i].File], out[i].Line)
	}
	for _, m := range set.Modules {
		if !m.Test {
			out = append(out, api.RuleEntry{ID: m.File, Kind: "module", File: m.File, Line: 1, Text: string(m.Source)})
		}
	}
	return out
}

// itemAt is the item of a YAML list that begins in a line (from 1): that line,
// and what is indented deeper than its dash.
func itemAt(lines []string, first int) string {
	if first < 1 || first > len(lines) {
		return ""
	}
	indent := func(s string) int { return len(s) - len(strings.TrimLeft(s, " ")) }
	own := indent(lines[first-1])
	if !strings.HasPrefix(strings.TrimLeft(lines[first-1], " "), "-") && own > 1 {
		own -= 2 // the position is that of the first key, behind the dash
	}
	last := first
	for i := first; i < len(lines); i++ {
		if strings.TrimSpace(lines[i]) == "" {
			continue
		}
		if indent(lines[i]) <= own {
			break
		}
		last = i + 1
	}
	return strings.Join(lines[first-1:last], "\n")
}

// Why implements api.Judge.
func (j *webJudge) Why(ctx context.Context, opened time.Time, by string) (api.Why, error) {
	db, err := j.db(ctx)
	if err != nil {
		return api.Why{}, err
	}
	f, at, set, err := (&recordedRows{db: db, said: saidByDaemon(ctx, j.daemon)}).decided(ctx, opened, by)
	if err != nil {
		return api.Why{}, err
	}
	if f == nil {
		return api.Why{}, &api.Problem{Code: 404, Text: "The record no longer has this connection.", Hint: "How long it is kept: retention, in the configuration."}
	}
	then := set != nil
	if set == nil {
		kept, files, err := j.inUse(ctx, db)
		if err != nil {
			return api.Why{}, &api.Problem{Code: 404, Text: "The record does not keep the rules that decided this."}
		}
		if set, err = ruleSetOf(files, kept.Revision); err != nil {
			return api.Why{}, fmt.Errorf("load rules: %w", err)
		}
	}
	e, err := explanation(ctx, f, at, set)
	if err != nil {
		return api.Why{}, err
	}
	return api.Why{Text: e.Text(), Explanation: e, Revision: set.Revision, Then: then}, nil
}

// Try implements api.Judge.
func (j *webJudge) Try(ctx context.Context, c api.Candidate) (api.Trial, error) {
	db, err := j.db(ctx)
	if err != nil {
		return api.Trial{}, err
	}
	filters, err := query.Parse(c.Filter)
	if err != nil {
		return api.Trial{}, err
	}
	kept, files, err := j.inUse(ctx, db)
	if err != nil && !errors.Is(err, query.ErrNoRuleSet) {
		return api.Trial{}, err
	}
	now := &rule.Set{}
	if err == nil {
		if now, err = ruleSetOf(files, kept.Revision); err != nil {
			return api.Trial{}, fmt.Errorf("load rules in use: %w", err)
		}
	}
	if !c.Add {
		files = nil
	}
	set, faults := typedRules(files, c.Text)
	if faults != nil {
		return api.Trial{Faults: faults}, nil
	}
	opa, err := suite.NewOPA(ctx, set)
	if err != nil {
		return api.Trial{Faults: []string{err.Error()}}, nil //nolint:nilerr // what is wrong with the rules is the answer
	}
	out := api.Trial{Rules: history.Sets(now, set)}
	rows := &recordedRows{db: db, query: query.Query{Since: c.Since, Until: c.Until, Filters: filters}, said: saidByDaemon(ctx, j.daemon)}
	rules, err := rows.rules(ctx)
	if err != nil {
		return api.Trial{}, err
	}
	report, err := history.Try(ctx, rows, rules, history.NewPolicy(set, &lazyOPA{set: set, opa: opa}), nil)
	if err != nil {
		return api.Trial{}, fmt.Errorf("go over the record: %w", err)
	}
	out.Report = emptyLists(report)
	return out, nil
}

// typedRules loads what a person typed, beside files.
func typedRules(files []query.RuleFile, text string) (*rule.Set, []string) {
	set, err := ruleSetOf(append(files[:len(files):len(files)], query.RuleFile{Path: candidateFile, Data: []byte(text)}), "")
	if err == nil {
		return set, nil
	}
	var faults *rule.Errors
	if !errors.As(err, &faults) {
		return nil, []string{err.Error()}
	}
	var out []string
	for _, f := range faults.List {
		out = append(out, f.Error())
	}
	return nil, out
}
