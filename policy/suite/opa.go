package suite

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"snitch/policy/rego"
	"snitch/policy/rego/custom"
	"snitch/policy/rule"
)

// OPA decides as the daemon does: the rules by their generated module, then the
// custom modules, which see what the rules said. Errors of built-in functions
// are errors here.
type OPA struct {
	set     *rule.Set
	rules   *rego.Evaluator
	program *custom.Program // nil without custom modules
	inputs  *custom.Inputs
}

// NewOPA compiles a set. Mistakes in custom modules come as *rule.Errors. ctx
// bounds the compilation only.
func NewOPA(ctx context.Context, set *rule.Set) (*OPA, error) {
	evaluator, err := rego.New(ctx, set)
	if err != nil {
		return nil, fmt.Errorf("compile rules: %w", err)
	}
	o := &OPA{set: set, rules: evaluator}
	if slices.ContainsFunc(set.Modules, func(m rule.Module) bool { return !m.Test }) {
		if o.program, err = custom.Compile(ctx, set.Modules, set.Lists, custom.Options{Strict: true}); err != nil {
			return nil, err
		}
		o.inputs = custom.NewInputs(set)
	}
	return o, nil
}

// customDeadline is what a custom package may take for one case: a slow CI
// machine must not decide otherwise than a fast one.
const customDeadline = 2 * time.Second

// Votes implements Voter. A package that does not answer is an error.
func (o *OPA) Votes(ctx context.Context, f *rule.Facts, now time.Time) (rule.Votes, error) {
	votes, err := o.rules.Votes(ctx, f)
	if err != nil || o.program == nil {
		return votes, err
	}
	said := o.set.Combine(votes, now)
	answers, err := o.program.Decide(ctx, []custom.Input{o.inputs.Input(f, &said)}, customDeadline)
	if err != nil {
		return votes, fmt.Errorf("ask custom modules: %w", err)
	}
	if names := answers[0].Degraded; len(names) > 0 {
		return votes, fmt.Errorf("custom package %s did not answer", strings.Join(names, ", "))
	}
	votes.Custom = answers[0].Votes
	return votes, nil
}

// RegoTests runs the tests of custom modules, for Config.Rego. What does not
// compile is a *rule.Errors.
func RegoTests(ctx context.Context, set *rule.Set) ([]Result, error) {
	if !slices.ContainsFunc(set.Modules, func(m rule.Module) bool { return m.Test }) {
		return nil, nil
	}
	tests, err := custom.Test(ctx, set.Modules, set.Lists, custom.TestOptions{Options: custom.Options{Strict: true}})
	if err != nil {
		return nil, err
	}
	var out []Result
	for _, t := range tests {
		r := Result{Name: t.Package + "." + t.Name, Pos: t.Pos, Elapsed: t.Took, Skipped: t.Skipped}
		if !t.Passed && !t.Skipped {
			r.Err = t.Message
		}
		out = append(out, r)
	}
	return out, nil
}
