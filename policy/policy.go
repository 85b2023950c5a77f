package policy

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"snitch/monitor/event"
	"snitch/policy/rego"
	"snitch/policy/rego/custom"
	"snitch/policy/rule"
	"snitch/policy/table"
)

// Policy is one rule set, ready to decide. It is immutable but for its cache,
// and safe for concurrent use. Close it after the last decision.
type Policy struct {
	Set    *rule.Set
	Loaded time.Time
	Took   time.Duration // to compile

	reads     rule.Reads
	evaluator voter
	cache     *cache
	second    func() *table.Table // compiled when first needed
	custom    *custom.Pool        // nil: no custom Rego
	inputs    *custom.Inputs
}

// voter answers which rules match: OPA, but for tests.
type voter interface {
	Votes(ctx context.Context, f *rule.Facts) (rule.Votes, error)
}

// Options of Prepare.
type Options struct {
	// Spawn starts a worker for custom Rego. Nil refuses sets that have some: a
	// module without bounds must not run in the daemon.
	Spawn func(ctx context.Context) (io.ReadWriteCloser, error)
	Log   *slog.Logger // nil: silent
}

// ErrNoWorker says that a set has custom Rego and nothing may run it.
var ErrNoWorker = errors.New("custom Rego needs a worker process")

// Prepare compiles a set for OPA, and its custom Rego for a worker, which is
// asked once: the first connection does not wait for its start.
func Prepare(ctx context.Context, set *rule.Set, opts Options) (*Policy, error) {
	began := time.Now()
	evaluator, err := rego.New(ctx, set)
	if err != nil {
		return nil, fmt.Errorf("compile rules: %w", err)
	}
	p := &Policy{Set: set, Loaded: began, reads: set.Reads(), evaluator: evaluator, cache: newCache(),
		second: sync.OnceValue(func() *table.Table { return table.Compile(set) })}
	if slices.ContainsFunc(set.Modules, func(m rule.Module) bool { return !m.Test }) {
		if err := p.prepareCustom(ctx, opts); err != nil {
			return nil, err
		}
	}
	p.Took = time.Since(began)
	return p, nil
}

func (p *Policy) prepareCustom(ctx context.Context, opts Options) error {
	program, err := custom.Compile(ctx, p.Set.Modules, p.Set.Lists, custom.Options{})
	if err != nil {
		return fmt.Errorf("compile custom rules: %w", err)
	}
	if opts.Spawn == nil {
		return ErrNoWorker
	}
	p.inputs = custom.NewInputs(p.Set)
	p.custom = custom.NewPool(custom.Config{Spawn: opts.Spawn, Program: program, Modules: p.Set.Modules, Lists: p.Set.Lists, Log: opts.Log})
	p.custom.Decide(ctx, []custom.Input{p.inputs.Input(&rule.Facts{}, &rule.Decision{Action: event.ActionAlert})})
	return nil
}

// Close ends the worker of custom Rego.
func (p *Policy) Close() {
	if p.custom != nil {
		p.custom.Close()
	}
}

// Custom tells how the packages of custom Rego do.
func (p *Policy) Custom() []custom.Status {
	if p.custom == nil {
		return nil
	}
	return p.custom.Status()
}

// Decide is the decision for facts at now, not cached.
func (p *Policy) Decide(ctx context.Context, f *rule.Facts, now time.Time) rule.Decision {
	votes, err := p.evaluator.Votes(ctx, f)
	if err != nil {
		return p.fallback(f, now, err)
	}
	d := p.Set.Combine(votes, now)
	if p.custom == nil {
		return d
	}
	// Modules see what the rules said; where one does not answer, that stands.
	answer := p.custom.Decide(ctx, []custom.Input{p.inputs.Input(f, &d)})[0]
	votes.Custom = answer.Votes
	d = p.Set.Combine(votes, now)
	d.Degraded = answer.Degraded
	d.Cacheable = d.Cacheable && len(d.Degraded) == 0
	return d
}

// alertKind tells alerts about what is new from others.
func (p *Policy) alertKind(d *rule.Decision) event.AlertKind {
	if r := p.Set.Rule(d.Rule); r != nil && len(r.Match.Novelty) > 0 {
		return event.AlertNovelty
	}
	return event.AlertRule
}

// Table matches as the policy does, without OPA. It is compiled when first
// asked for.
func (p *Policy) Table() *table.Table { return p.second() }

// WithoutAlerts returns set without the alert rules of these ids, which a
// machine's own configuration may switch off; rules that allow or deny stay. A
// set that lacks some says so in its revision.
func WithoutAlerts(set *rule.Set, ids []string) *rule.Set {
	var off []string
	out := *set
	out.Rules = slices.DeleteFunc(slices.Clone(set.Rules), func(r rule.Rule) bool {
		gone := r.Action == event.ActionAlert && slices.Contains(ids, r.ID)
		if gone {
			off = append(off, r.ID)
		}
		return gone
	})
	if len(off) == 0 {
		return set
	}
	slices.Sort(off)
	sum := sha256.Sum256([]byte(strings.Join(off, "\n")))
	out.Revision += "-off." + hex.EncodeToString(sum[:4])
	return &out
}
