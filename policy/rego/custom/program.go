package custom

import (
	"context"
	"fmt"
	"slices"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"
	"github.com/open-policy-agent/opa/v1/storage"
	"github.com/open-policy-agent/opa/v1/topdown/cache"
	"github.com/open-policy-agent/opa/v1/util"

	"snitch/policy/rule"
)

// Options of a Program.
type Options struct {
	// Strict makes an error of a built-in function (a bad CIDR, a division by
	// zero) end the evaluation where it happens, as in CI. Without it the
	// expression is undefined, evaluation goes on, and the package is degraded
	// all the same.
	Strict bool
}

// Program is the compiled packages. It is safe for concurrent use.
type Program struct {
	packages []*unit // sorted by name
	values   cache.InterQueryValueCache
	lists    []string // that modules read
	strict   bool
}

// unit is one package.
type unit struct {
	name  string
	sets  map[string]rule.Position // deny, alert, allow, as far as there are
	query rego.PreparedEvalQuery
}

// Compile checks and compiles the modules that are not tests. What is wrong is
// a *rule.Errors, all of it, with places. ctx bounds the compilation only.
func Compile(ctx context.Context, modules []rule.Module, lists map[string]*rule.List, opts Options) (*Program, error) {
	modules = slices.DeleteFunc(slices.Clone(modules), func(m rule.Module) bool { return m.Test })
	src, err := load(modules, lists)
	if err != nil {
		return nil, err
	}
	compiler, err := src.compile()
	if err != nil {
		return nil, err
	}
	p := &Program{values: cache.NewInterQueryValueCache(context.WithoutCancel(ctx), nil), lists: src.lists, strict: opts.Strict}
	for _, name := range sortedKeys(src.packages) {
		u := &unit{name: name, sets: src.packages[name]}
		if u.query, err = prepare(ctx, compiler, src.store, u, opts); err != nil {
			return nil, fmt.Errorf("prepare package %s: %w", name, err)
		}
		p.packages = append(p.packages, u)
	}
	return p, nil
}

// Packages are the names, sorted.
func (p *Program) Packages() []string {
	names := make([]string, len(p.packages))
	for i, u := range p.packages {
		names[i] = u.name
	}
	return names
}

// source is what was loaded and checked.
type source struct {
	modules  map[string]*ast.Module
	packages map[string]map[string]rule.Position // by name: the sets
	lists    []string
	store    storage.Store
}

// load parses modules and checks them against the contract.
func load(modules []rule.Module, lists map[string]*rule.List) (*source, error) {
	var f faults
	tests := map[string]bool{}
	for _, m := range modules {
		tests[m.File] = m.Test
	}
	src := &source{modules: parse(modules, &f), packages: map[string]map[string]rule.Position{}}
	for _, file := range sortedKeys(src.modules) {
		mod := src.modules[file]
		name := check(mod, tests[file], &f)
		if name == "" || tests[file] {
			continue
		}
		if src.packages[name] == nil {
			src.packages[name] = map[string]rule.Position{}
		}
		for _, r := range mod.Rules {
			set := r.Head.Ref()[0].Value.String()
			if _, known := src.packages[name][set]; !known && isVoteSet(set) {
				src.packages[name][set] = position(r.Location)
			}
		}
	}
	if len(src.packages) > maxPackages {
		f.add(rule.Position{File: sortedKeys(src.modules)[0], Line: 1, Col: 1}, "%d packages, more than %d", len(src.packages), maxPackages)
	}
	src.loadLists(lists, &f)
	if err := f.err(); err != nil {
		return nil, err
	}
	return src, nil
}

func isVoteSet(name string) bool { return slices.Contains(voteSets, name) }

// compile compiles copies of the modules.
func (src *source) compile() (*ast.Compiler, error) {
	compiler := newCompiler()
	if compiler.Compile(src.modules); compiler.Failed() {
		return nil, src.failed(compiler.Errors)
	}
	var f faults
	checkNames(compiler.Modules, &f)
	return compiler, f.err()
}

// failed turns the compiler's errors into ours.
func (src *source) failed(err error) error {
	var f faults
	f.addOPA("", err)
	return f.err()
}

// newCompiler has strict mode, the schema of input and the allowed built-ins.
func newCompiler() *ast.Compiler {
	schemas := ast.NewSchemaSet()
	var schema any
	// The schema is a part of the program: a test compiles against it.
	if err := util.UnmarshalJSON(Schema, &schema); err == nil {
		schemas.Put(ast.SchemaRootRef, schema)
	}
	return ast.NewCompiler().WithStrict(true).WithCapabilities(capabilities()).WithSchemas(schemas).SetErrorLimit(100)
}

// prepare makes the query for all sets of a package at once.
func prepare(ctx context.Context, compiler *ast.Compiler, store storage.Store, u *unit, opts Options) (rego.PreparedEvalQuery, error) {
	var body ast.Body
	for _, set := range sortedKeys(u.sets) {
		body.Append(ast.Equality.Expr(ast.VarTerm(set), ast.NewTerm(customRef(u.name, set))))
	}
	if len(body) == 0 {
		body = ast.NewBody(ast.NewExpr(ast.BooleanTerm(true)))
	}
	return rego.New(rego.Compiler(compiler), rego.Store(store), rego.ParsedQuery(body), rego.StrictBuiltinErrors(opts.Strict),
		rego.GenerateJSON(func(t *ast.Term, _ *rego.EvalContext) (any, error) { return t, nil })).PrepareForEval(ctx)
}
