package rego

import (
	"fmt"

	"github.com/open-policy-agent/opa/v1/ast"

	"snitch/policy/rule"
)

// Names in the generated module.
const (
	packageName = "policy" // below data.snitch
	ruleSet     = "rules"
	confineSet  = "confine"
	exceptions  = "except"
	entryPoint  = "decision"
)

// generated is one Rego rule and what it was made of.
type generated struct {
	rule *ast.Rule
	from string // a comment for people, "" for the second and later rules of one origin
}

// module is the policy as Rego, with the conditions that Go matches for it.
type module struct {
	rules      []generated
	conditions conditions
	vars       int
}

// build turns a set into Rego rules.
func build(set *rule.Set) *module {
	m := &module{conditions: conditions{set: set, terms: map[string]*ast.Term{}}}
	m.entryPoint()
	for i := range set.Rules {
		m.addRule(&set.Rules[i])
	}
	for i := range set.Confine {
		m.addConfine(&set.Confine[i])
	}
	if len(set.Rules) == 0 {
		m.addEmptySet(ruleSet)
	}
	if len(set.Confine) == 0 {
		m.addEmptySet(confineSet)
	}
	m.conditions.uids.sort()
	m.conditions.ports.sort()
	return m
}

// ast is the module as OPA compiles it.
func (m *module) ast() *ast.Module {
	mod := &ast.Module{Package: &ast.Package{Path: policyRef()}}
	mod.SetRegoVersionSpan(ast.RegoVersionSpanOf(ast.RegoV1))
	for _, g := range m.rules {
		g.rule.Module = mod
		mod.Rules = append(mod.Rules, g.rule)
	}
	return mod
}

// reads are the keys of the input that the module asks for. Others need not be
// made.
func (m *module) reads() map[string]bool {
	keys := map[string]bool{}
	for _, g := range m.rules {
		ast.WalkRefs(g.rule, func(ref ast.Ref) bool {
			if !ref[0].Equal(ast.InputRootDocument) {
				return false
			}
			for _, part := range ref[1:] {
				if key, ok := part.Value.(ast.String); ok {
					keys[string(key)] = true
				}
			}
			return false
		})
	}
	return keys
}

// policyRef is data.snitch.policy and what follows it.
func policyRef(names ...string) ast.Ref {
	ref := ast.Ref{ast.DefaultRootDocument, ast.StringTerm("snitch"), ast.StringTerm(packageName)}
	for _, name := range names {
		ref = append(ref, ast.StringTerm(name))
	}
	return ref
}

func (m *module) entryPoint() {
	value := ast.ObjectTerm(
		ast.Item(ast.StringTerm(ruleSet), ast.RefTerm(ast.VarTerm(ruleSet))),
		ast.Item(ast.StringTerm(confineSet), ast.RefTerm(ast.VarTerm(confineSet))))
	head := ast.RefHead(ast.Ref{ast.VarTerm(entryPoint)}, value)
	head.Assign = true
	m.rules = append(m.rules, generated{&ast.Rule{Head: head, Body: always()}, "METADATA\nentrypoint: true"})
}

func (m *module) addEmptySet(name string) {
	head := ast.RefHead(ast.Ref{ast.VarTerm(name)}, ast.SetTerm())
	head.Assign = true
	m.rules = append(m.rules, generated{&ast.Rule{Head: head, Body: always()}, ""})
}

func always() ast.Body { return ast.NewBody(ast.NewExpr(ast.BooleanTerm(true))) }

// addMember adds `set contains id if body`.
func (m *module) addMember(set, id string, body []*ast.Expr, from string) {
	m.rules = append(m.rules, generated{&ast.Rule{Head: ast.NewHead(ast.Var(set), ast.StringTerm(id)), Body: bodyOf(body)}, from})
}

// addException adds `except["id"] if body`.
func (m *module) addException(id string, body []*ast.Expr) {
	head := ast.RefHead(ast.Ref{ast.VarTerm(exceptions), ast.StringTerm(id)}, ast.BooleanTerm(true))
	m.rules = append(m.rules, generated{&ast.Rule{Head: head, Body: bodyOf(body)}, ""})
}

func bodyOf(exprs []*ast.Expr) ast.Body {
	if len(exprs) == 0 {
		return always()
	}
	return ast.NewBody(exprs...)
}

// notExcepted is `not except["id"]`.
func notExcepted(id string) *ast.Expr {
	return ast.NewExpr(ast.RefTerm(ast.VarTerm(exceptions), ast.StringTerm(id))).Complement()
}

func (m *module) addRule(r *rule.Rule) {
	from := fmt.Sprintf("%s: %s", r.Pos, r.Action)
	if r.Reason != "" {
		from += ": " + r.Reason
	}
	body := m.match(&r.Match, r.Action == allow)
	if len(r.Except) > 0 {
		body = append(body, notExcepted(r.ID))
	}
	m.addMember(ruleSet, r.ID, body, from)
	for i := range r.Except {
		m.addException(r.ID, m.match(&r.Except[i], true))
	}
}

func (m *module) addConfine(c *rule.Confine) {
	from := c.Pos.String() + ": confine"
	if c.Reason != "" {
		from += ": " + c.Reason
	}
	var body []*ast.Expr
	if c.Process != nil {
		body = m.process(c.Process, theProcess)
	}
	if len(c.Except) > 0 {
		body = append(body, notExcepted(c.ID))
	}
	m.addMember(confineSet, c.ID, body, from)
	for i := range c.Except {
		m.addException(c.ID, m.process(&c.Except[i], theProcess))
	}
}
