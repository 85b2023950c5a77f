package policy

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"snitch/monitor/event"
	"snitch/policy/bundle"
	"snitch/policy/rego"
	"snitch/policy/rule"
	"snitch/policy/table"
)

// Policy is one rule set, ready to decide. It is immutable but for its cache,
// and safe for concurrent use.
type Policy struct {
	Set      *rule.Set
	Snapshot *bundle.Snapshot // nil when the set did not come from files
	Loaded   time.Time
	Took     time.Duration // to compile

	reads     rule.Reads
	evaluator voter
	cache     *cache
	second    func() *table.Table // compiled when first needed
}

// voter answers which rules match: OPA, but for tests.
type voter interface {
	Votes(ctx context.Context, f *rule.Facts) (rule.Votes, error)
}

// Prepare compiles a set for OPA.
func Prepare(ctx context.Context, set *rule.Set) (*Policy, error) {
	began := time.Now()
	evaluator, err := rego.New(ctx, set)
	if err != nil {
		return nil, fmt.Errorf("compile rules: %w", err)
	}
	return &Policy{Set: set, Loaded: began, Took: time.Since(began), reads: set.Reads(), evaluator: evaluator, cache: newCache(),
		second: sync.OnceValue(func() *table.Table { return table.Compile(set) })}, nil
}

// Decide is the decision for facts at now, not cached.
func (p *Policy) Decide(ctx context.Context, f *rule.Facts, now time.Time) rule.Decision {
	votes, err := p.evaluator.Votes(ctx, f)
	if err != nil {
		return p.fallback(f, now, err)
	}
	return p.Set.Combine(votes, now)
}

// alertKind tells alerts about what is new from others.
func (p *Policy) alertKind(d *rule.Decision) event.AlertKind {
	if r := p.Set.Rule(d.Rule); r != nil && len(r.Match.Novelty) > 0 {
		return event.AlertNovelty
	}
	return event.AlertRule
}

// WithoutAlerts returns set without the alert rules of these ids, which a
// machine's own configuration may switch off; rules that allow or deny stay.
func WithoutAlerts(set *rule.Set, ids []string) *rule.Set {
	if len(ids) == 0 {
		return set
	}
	out := *set
	out.Rules = slices.DeleteFunc(slices.Clone(set.Rules), func(r rule.Rule) bool {
		return r.Action == event.ActionAlert && slices.Contains(ids, r.ID)
	})
	return &out
}
