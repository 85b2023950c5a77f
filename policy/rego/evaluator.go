package rego

import (
	"context"
	"errors"
	"fmt"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/metrics"
	"github.com/open-policy-agent/opa/v1/storage"
	"github.com/open-policy-agent/opa/v1/storage/inmem"
	"github.com/open-policy-agent/opa/v1/topdown"
	"github.com/open-policy-agent/opa/v1/topdown/cache"

	"snitch/policy/rule"
)

// ErrNoResult says that OPA answered nothing. It is never "no rule matches".
var ErrNoResult = errors.New("OPA gave no result")

// Evaluator answers which rules and confine entries of one set match. It is
// safe for concurrent use.
type Evaluator struct {
	query    ast.Body
	compiler *ast.Compiler
	store    storage.Store       // empty: all data is virtual
	txn      storage.Transaction // of every evaluation: nothing is ever written
	values   cache.InterQueryValueCache
	in       inputs
}

// The variables of the query. It asks for what decision is made of, not for
// decision: that would copy both sets into an object only to be taken apart.
const (
	rulesVar   = ast.Var("rules")
	confineVar = ast.Var("confine")
)

// New compiles a set. ctx bounds the compilation only.
func New(ctx context.Context, set *rule.Set) (*Evaluator, error) {
	m := build(set)
	compiler := ast.NewCompiler().WithCapabilities(capabilities())
	compiler.Compile(map[string]*ast.Module{"policy.rego": m.ast()})
	if compiler.Failed() {
		return nil, fmt.Errorf("compile rules: %w", compiler.Errors)
	}
	query, err := compiler.QueryCompiler().Compile(ast.NewBody(
		ast.Equality.Expr(ast.NewTerm(rulesVar), ast.NewTerm(policyRef(ruleSet))),
		ast.Equality.Expr(ast.NewTerm(confineVar), ast.NewTerm(policyRef(confineSet)))))
	if err != nil {
		return nil, fmt.Errorf("compile query of rules: %w", err)
	}
	store := inmem.New()
	txn, err := store.NewTransaction(ctx)
	if err != nil {
		return nil, fmt.Errorf("prepare rules: %w", err)
	}
	compiler.Graph = nil // a tenth of what the compiler holds, and of no use to an evaluation
	conditions := m.conditions
	conditions.terms = nil // with m, whose rules the compiler copied
	return &Evaluator{query: query, compiler: compiler, store: store, txn: txn, values: cache.NewInterQueryValueCache(context.Background(), nil),
		in: inputs{conditions: &conditions, reads: m.reads()}}, nil
}

// canceller asks the context itself.
type canceller struct{ ctx context.Context }

func (c canceller) Cancelled() bool { return c.ctx.Err() != nil }

// Cancel belongs to the interface and is never called.
func (c canceller) Cancel() {}

// Votes are the rules and confine entries that match f. An error says that
// nothing is known, not that nothing matches.
func (e *Evaluator) Votes(ctx context.Context, f *rule.Facts) (rule.Votes, error) {
	if err := ctx.Err(); err != nil { // OPA looks now and then only
		return rule.Votes{}, fmt.Errorf("evaluate rules: %w", err)
	}
	var votes rule.Votes
	answers := 0
	// Below package rego, which would spend a tenth of the time on options.
	query := topdown.NewQuery(e.query).WithCompiler(e.compiler).WithStore(e.store).WithTransaction(e.txn).
		WithInput(ast.NewTerm(e.in.input(f))).WithInterQueryBuiltinValueCache(e.values).WithStrictBuiltinErrors(true).
		WithMetrics(metrics.NoOp()).WithCancel(canceller{ctx})
	err := query.Iter(ctx, func(result topdown.QueryResult) (err error) {
		answers++
		if votes.Rules, err = ids(result, rulesVar); err != nil {
			return err
		}
		votes.Confine, err = ids(result, confineVar)
		return err
	})
	if err != nil {
		return rule.Votes{}, fmt.Errorf("evaluate rules: %w", err)
	}
	if answers != 1 {
		return rule.Votes{}, fmt.Errorf("evaluate rules: %w", ErrNoResult)
	}
	return votes, nil
}

// ids reads one of the query's sets.
func ids(result topdown.QueryResult, name ast.Var) ([]string, error) {
	term := result[name]
	if term == nil {
		return nil, fmt.Errorf("read %s: %w", name, ErrNoResult)
	}
	set, ok := term.Value.(ast.Set)
	if !ok {
		return nil, fmt.Errorf("read %s: %w", name, ErrNoResult)
	}
	if set.Len() == 0 {
		return nil, nil
	}
	out := make([]string, 0, set.Len())
	for _, t := range set.Slice() {
		id, ok := t.Value.(ast.String)
		if !ok {
			return nil, fmt.Errorf("read %s: %w", name, ErrNoResult)
		}
		out = append(out, string(id))
	}
	return out, nil
}
