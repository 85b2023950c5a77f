package suite

import (
	"context"
	"fmt"
	"maps"
	"runtime"
	"slices"

	"golang.org/x/sync/errgroup"

	"snitch/policy/rule"
	"snitch/policy/table"
)

// Mutation is how many mistakes the cases noticed.
type Mutation struct {
	Killed    int
	Survivors []Mutant // in the order of the rules
}

// Total is the number of mutants.
func (m *Mutation) Total() int { return m.Killed + len(m.Survivors) }

// Score is the share of killed mutants in percent, 100 when there was none.
func (m *Mutation) Score() float64 { return percent(m.Killed, m.Total()) }

// mutate tries every mutant of a set. A mistake in one rule changes only its own
// vote: so a mutant costs one match a case, which is asked of the native table
// after it was found to agree with OPA about the set itself.
func mutate(ctx context.Context, set *rule.Set, cases []tried) (*Mutation, error) {
	var useful []tried
	native := table.Compile(set)
	for _, t := range cases {
		if !t.result.Passed() {
			continue
		}
		v := native.Votes(&t.c.Facts)
		if !slices.Equal(v.Rules, t.votes.Rules) || !slices.Equal(v.Confine, t.votes.Confine) {
			return nil, fmt.Errorf("%s: case %q: OPA and the native table disagree (%v and %v), please report this", t.c.Pos, t.c.Name, t.votes, v)
		}
		useful = append(useful, t)
	}
	all := mutants(set)
	killed := make([]bool, len(all))
	g, ctx := errgroup.WithContext(ctx)
	workers := runtime.GOMAXPROCS(0)
	for w := range workers {
		g.Go(func() error {
			tries := newBench(set)
			for i := w; i < len(all); i += workers {
				if err := ctx.Err(); err != nil {
					return fmt.Errorf("try mutants: %w", err)
				}
				killed[i] = tries.kills(&all[i], useful)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	m := &Mutation{}
	for i := range all {
		if killed[i] {
			m.Killed++
		} else {
			m.Survivors = append(m.Survivors, all[i])
		}
	}
	return m, nil
}

// bench is one worker's copy of a set, in which one rule at a time is replaced.
type bench struct {
	set   *rule.Set
	lists []*rule.List
}

func newBench(set *rule.Set) *bench {
	own := *set
	own.Rules, own.Confine = slices.Clone(set.Rules), slices.Clone(set.Confine)
	return &bench{set: &own, lists: slices.Collect(maps.Values(set.Lists))}
}

// kills reports whether a case notices a mutant.
func (b *bench) kills(m *Mutant, cases []tried) bool {
	var clause *table.Clause // nil: it was removed
	switch {
	case m.rule != nil:
		clause = table.Compile(rule.NewSet([]rule.Rule{*m.rule}, nil, b.lists, nil)).Rule(0)
		place := b.set.Rule(m.ID)
		old := *place
		*place = *m.rule
		defer func() { *place = old }()
	case m.confine != nil:
		clause = table.Compile(rule.NewSet(nil, []rule.Confine{*m.confine}, b.lists, nil)).Confine(0)
		place := b.set.Confined(m.ID)
		old := *place
		*place = *m.confine
		defer func() { *place = old }()
	}
	for i := range cases {
		t := &cases[i]
		match := clause != nil && clause.Matches(&t.c.Facts)
		if !match && !m.voted(t) {
			continue // it is as if the rule were not there, before and after
		}
		d := b.set.Combine(m.votes(t, match), t.now)
		if len(differences(&t.c.Expect, &d)) > 0 {
			return true
		}
	}
	return false
}

// voted reports whether the rule matched a case before it was changed.
func (m *Mutant) voted(t *tried) bool {
	ids := t.votes.Rules
	if m.of == ofConfine {
		ids = t.votes.Confine
	}
	_, there := slices.BinarySearch(ids, m.ID)
	return there
}

// votes are those of a case when the mutant does or does not match.
func (m *Mutant) votes(t *tried, match bool) rule.Votes {
	v := t.votes
	if m.of == ofRule {
		v.Rules = replaced(v.Rules, m.ID, match)
	} else {
		v.Confine = replaced(v.Confine, m.ID, match)
	}
	return v
}

// replaced is ids with or without one, sorted.
func replaced(ids []string, id string, with bool) []string {
	i, there := slices.BinarySearch(ids, id)
	switch {
	case with == there:
		return ids
	case with:
		return slices.Insert(slices.Clone(ids), i, id)
	}
	return slices.Delete(slices.Clone(ids), i, i+1)
}
