package rego

import (
	"context"
	"errors"
	"fmt"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/metrics"
	"github.com/open-policy-agent/opa/v1/rego"
	"github.com/open-policy-agent/opa/v1/topdown/cache"

	"snitch/policy/rule"
)

// ErrNoResult says that OPA answered nothing. It is never "no rule matches".
var ErrNoResult = errors.New("OPA gave no result")

// Evaluator answers which rules and confine entries of one set match. It is
// safe for concurrent use.
type Evaluator struct {
	query  rego.PreparedEvalQuery
	values cache.InterQueryValueCache
	in     inputs
}

// New compiles a set. ctx bounds the compilation only.
func New(ctx context.Context, set *rule.Set) (*Evaluator, error) {
	m := build(set)
	compiler := ast.NewCompiler().WithCapabilities(capabilities())
	compiler.Compile(map[string]*ast.Module{"policy.rego": m.ast()})
	if compiler.Failed() {
		return nil, fmt.Errorf("compile rules: %w", compiler.Errors)
	}
	query, err := rego.New(
		rego.Compiler(compiler),
		rego.ParsedQuery(ast.NewBody(ast.Equality.Expr(ast.VarTerm("x"), ast.NewTerm(policyRef(entryPoint))))),
		rego.StrictBuiltinErrors(true),
		rego.GenerateJSON(keepTerm),
	).PrepareForEval(ctx)
	if err != nil {
		return nil, fmt.Errorf("prepare rules: %w", err)
	}
	return &Evaluator{query: query, values: cache.NewInterQueryValueCache(context.Background(), nil),
		in: inputs{conditions: &m.conditions, reads: m.reads()}}, nil
}

// canceller asks the context itself: without it OPA starts a goroutine for each
// evaluation.
type canceller struct{ ctx context.Context }

func (c canceller) Cancelled() bool { return c.ctx.Err() != nil }

// Cancel belongs to the interface and is never called.
func (c canceller) Cancel() {}

// keepTerm hands results over as they are: what is read of them is two sets of
// strings, not worth a conversion to Go's values.
func keepTerm(t *ast.Term, _ *rego.EvalContext) (any, error) { return t, nil }

// Votes are the rules and confine entries that match f. An error says that
// nothing is known, not that nothing matches.
func (e *Evaluator) Votes(ctx context.Context, f *rule.Facts) (rule.Votes, error) {
	if err := ctx.Err(); err != nil { // OPA looks now and then only
		return rule.Votes{}, fmt.Errorf("evaluate rules: %w", err)
	}
	results, err := e.query.Eval(ctx, rego.EvalParsedInput(e.in.input(f)), rego.EvalMetrics(metrics.NoOp()),
		rego.EvalInterQueryBuiltinValueCache(e.values), rego.EvalExternalCancel(canceller{ctx}))
	if err != nil {
		return rule.Votes{}, fmt.Errorf("evaluate rules: %w", err)
	}
	if len(results) != 1 {
		return rule.Votes{}, fmt.Errorf("evaluate rules: %w", ErrNoResult)
	}
	decision, ok := results[0].Bindings["x"].(*ast.Term)
	if !ok {
		return rule.Votes{}, fmt.Errorf("evaluate rules: %w", ErrNoResult)
	}
	var votes rule.Votes
	if votes.Rules, err = ids(decision, ruleSet); err != nil {
		return rule.Votes{}, err
	}
	if votes.Confine, err = ids(decision, confineSet); err != nil {
		return rule.Votes{}, err
	}
	return votes, nil
}

// ids reads one of the decision's sets.
func ids(decision *ast.Term, name string) ([]string, error) {
	value, err := decision.Value.Find(ast.Ref{ast.StringTerm(name)})
	if err != nil {
		return nil, fmt.Errorf("read %s of decision: %w", name, err)
	}
	set, ok := value.(ast.Set)
	if !ok {
		return nil, fmt.Errorf("read %s of decision: %w", name, ErrNoResult)
	}
	if set.Len() == 0 {
		return nil, nil
	}
	out := make([]string, 0, set.Len())
	for _, t := range set.Slice() {
		id, ok := t.Value.(ast.String)
		if !ok {
			return nil, fmt.Errorf("read %s of decision: %w", name, ErrNoResult)
		}
		out = append(out, string(id))
	}
	return out, nil
}
