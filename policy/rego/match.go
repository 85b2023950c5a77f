package rego

import (
	"strconv"

	"github.com/open-policy-agent/opa/v1/ast"

	"snitch/monitor/event"
	"snitch/policy/rule"
)

const allow = event.ActionAllow

// match is the body that holds when a connection is as x describes. With
// trusted, a name counts only if an allow may rest on it.
func (m *module) match(x *rule.Match, trusted bool) []*ast.Expr {
	var body []*ast.Expr
	if len(x.Direction) > 0 {
		body = append(body, oneOf(inputRef("direction"), x.Direction, stringTerm))
	}
	body = append(body, m.endpoint("to", x.To, trusted)...)
	body = append(body, m.endpoint("from", x.From, trusted)...)
	if x.Process != nil {
		body = append(body, m.process(x.Process, theProcess)...)
	}
	if len(x.Novelty) > 0 {
		body = append(body, anyOf(inputRef("novelty"), x.Novelty))
	}
	return body
}

// endpoint is the part of a body about one end.
func (m *module) endpoint(end string, x *rule.EndpointMatch, trusted bool) []*ast.Expr {
	if x == nil {
		return nil
	}
	var body []*ast.Expr
	if len(x.Host) > 0 {
		set := "hosts"
		if trusted {
			set = "trusted"
		}
		body = append(body, in(m.conditions.host(x.Host), inputRef(end, set)))
	}
	if len(x.Port) > 0 {
		if single(x.Port, func(r rule.PortRange) bool { return r.First == r.Last }) {
			body = append(body, oneOf(inputRef(end, "port"), x.Port, func(r rule.PortRange) *ast.Term { return ast.IntNumberTerm(int(r.First)) }))
		} else {
			body = append(body, in(m.conditions.port(x.Port), inputRef(end, "ports")))
		}
	}
	if len(x.Proto) > 0 {
		body = append(body, oneOf(inputRef("proto"), x.Proto, ast.StringTerm))
	}
	if len(x.Scope) > 0 {
		body = append(body, oneOf(inputRef(end, "scope"), x.Scope, stringTerm))
	}
	if len(x.Country) > 0 {
		body = append(body, oneOf(inputRef(end, "country"), x.Country, ast.StringTerm))
	}
	return body
}

// subject is where a process stands in the input: the one that connects, a
// certain ancestor, or the ancestor that a variable numbers.
type subject struct {
	ancestor int // -1 is the process itself; of a variable: how far above it
	variable ast.Var
}

var theProcess = subject{ancestor: -1}

func (s subject) parent() subject { return subject{s.ancestor + 1, s.variable} }

// subjectRef is the subject's object. For an ancestor above a numbered one the
// returned expression binds its number first.
func (m *module) subjectRef(s subject) (ast.Ref, []*ast.Expr) {
	switch {
	case s.variable == "" && s.ancestor < 0:
		return inputRef("process"), nil
	case s.variable == "":
		return append(inputRef("ancestors"), ast.IntNumberTerm(s.ancestor)), nil
	case s.ancestor == 0:
		return append(inputRef("ancestors"), ast.NewTerm(s.variable)), nil
	}
	above := m.newVar()
	sum := ast.CallTerm(ast.NewTerm(ast.Plus.Ref()), ast.NewTerm(s.variable), ast.IntNumberTerm(s.ancestor))
	return append(inputRef("ancestors"), ast.NewTerm(above)), []*ast.Expr{ast.Assign.Expr(ast.NewTerm(above), sum)}
}

func (m *module) newVar() ast.Var {
	m.vars++
	return ast.Var("n" + strconv.Itoa(m.vars))
}

// process is the part of a body about one process and those above it.
func (m *module) process(x *rule.ProcessMatch, s subject) []*ast.Expr {
	ref, body := m.subjectRef(s)
	bound := len(body)
	if len(x.Exe) > 0 {
		body = append(body, m.exe(ref, x))
	}
	body = append(body, m.texts(ref, x)...)
	if len(x.Kind) > 0 {
		body = append(body, oneOf(below(ref, "kind"), x.Kind, stringTerm))
	}
	if len(x.SHA256) > 0 {
		body = append(body, oneOf(below(ref, "sha256"), x.SHA256, stringTerm))
	}
	if len(x.ScriptSHA256) > 0 {
		body = append(body, oneOf(below(ref, "script_sha256"), x.ScriptSHA256, stringTerm))
	}
	if len(x.Reputation) > 0 {
		body = append(body, oneOf(below(ref, "reputation"), x.Reputation, stringTerm))
	}
	if len(x.User) > 0 {
		body = append(body, oneOf(below(ref, "user"), x.User, ast.StringTerm))
	}
	if len(x.UID) > 0 {
		if single(x.UID, func(r rule.UIDRange) bool { return r.First == r.Last }) {
			body = append(body, oneOf(below(ref, "uid"), x.UID, func(r rule.UIDRange) *ast.Term { return ast.UIntNumberTerm(uint64(r.First)) }))
		} else {
			body = append(body, in(m.conditions.uid(x.UID), below(ref, "matching")))
		}
	}
	if len(body) == bound && s != theProcess {
		body = append(body, ast.NewExpr(ast.NewTerm(ref))) // it exists
	}
	if x.Parent != nil {
		body = append(body, m.process(x.Parent, s.parent())...)
	}
	if x.Ancestor != nil {
		body = append(body, m.ancestor(x.Ancestor, s)...)
	}
	return body
}

// texts are the conditions of one process that hold patterns, but for exe.
func (m *module) texts(ref ast.Ref, x *rule.ProcessMatch) []*ast.Expr {
	var body []*ast.Expr
	for f, ps := range textPatterns(x) {
		if len(ps) == 0 {
			continue
		}
		if single(ps, rule.Pattern.Literal) {
			body = append(body, oneOf(below(ref, fieldKeys[f]), ps, patternTerm))
		} else {
			body = append(body, in(m.conditions.pattern(field(f), ps), below(ref, "matching")))
		}
	}
	return body
}

func textPatterns(x *rule.ProcessMatch) [fieldCount][]rule.Pattern {
	return [fieldCount][]rule.Pattern{fieldName: x.Name, fieldScript: x.Script, fieldCmdline: x.Cmdline,
		fieldCgroup: x.Cgroup, fieldUnit: x.Unit, fieldContainer: x.Container, fieldPackage: x.Package}
}

// exe is the condition on the program's file. Beside a kind, which must hold
// too, a path means that kind of program, whatever the host shows there.
func (m *module) exe(ref ast.Ref, x *rule.ProcessMatch) *ast.Expr {
	literal := single(x.Exe, rule.Pattern.Literal)
	switch {
	case literal && (len(x.Kind) > 0 || single(x.Exe, func(p rule.Pattern) bool { return !hostPath(p) })):
		return oneOf(below(ref, "exe"), x.Exe, patternTerm)
	case literal && single(x.Exe, hostPath):
		return oneOf(below(ref, "file"), x.Exe, patternTerm)
	case len(x.Kind) > 0:
		return in(m.conditions.pattern(fieldExe, x.Exe), below(ref, "matching"))
	default:
		return in(m.conditions.program(x.Exe), below(ref, "matching"))
	}
}

// ancestor says that a process somewhere above s is as x describes. OPA cannot
// index a search, so what must hold of some process above comes first.
func (m *module) ancestor(x *rule.ProcessMatch, s subject) []*ast.Expr {
	body, enough := m.above(x)
	if enough && s == theProcess {
		return body
	}
	n := m.newVar()
	body = append(body, ast.NewExpr(&ast.SomeDecl{Symbols: []*ast.Term{ast.NewTerm(n)}}))
	body = append(body, m.process(x, subject{0, n})...)
	switch {
	case s.variable != "":
		low := ast.NewTerm(s.variable)
		if s.ancestor > 0 {
			low = ast.CallTerm(ast.NewTerm(ast.Plus.Ref()), low, ast.IntNumberTerm(s.ancestor))
		}
		body = append(body, ast.GreaterThan.Expr(ast.NewTerm(n), low))
	case s.ancestor >= 0:
		body = append(body, ast.GreaterThan.Expr(ast.NewTerm(n), ast.IntNumberTerm(s.ancestor)))
	}
	return body
}

// above are the conditions of x that hold of some ancestor, each for itself,
// and whether that is all that x says.
func (m *module) above(x *rule.ProcessMatch) (body []*ast.Expr, enough bool) {
	add := func(term *ast.Term) { body = append(body, in(term, inputRef("above"))) }
	rest := *x
	if len(x.Exe) > 0 {
		if len(x.Kind) > 0 {
			add(m.conditions.pattern(fieldExe, x.Exe))
		} else {
			add(m.conditions.program(x.Exe))
		}
		rest.Exe = nil
	}
	for f, ps := range textPatterns(x) {
		if len(ps) > 0 {
			add(m.conditions.pattern(field(f), ps))
		}
	}
	rest.Name, rest.Script, rest.Cmdline, rest.Cgroup, rest.Unit, rest.Container, rest.Package = nil, nil, nil, nil, nil, nil, nil
	return body, len(body) == 1 && rest.IsZero()
}

// inputRef is input and what follows it.
func inputRef(names ...string) ast.Ref {
	return below(ast.Ref{ast.InputRootDocument}, names...)
}

// below is a new reference to something under ref.
func below(ref ast.Ref, names ...string) ast.Ref {
	out := make(ast.Ref, len(ref), len(ref)+len(names))
	copy(out, ref)
	for _, name := range names {
		out = append(out, ast.StringTerm(name))
	}
	return out
}

// in is `item in set`.
func in(item *ast.Term, set ast.Ref) *ast.Expr { return ast.Member.Expr(item, ast.NewTerm(set)) }

// oneOf is `ref == item`, or `ref in {items}`.
func oneOf[T any](ref ast.Ref, items []T, term func(T) *ast.Term) *ast.Expr {
	if len(items) == 1 {
		return ast.Equal.Expr(ast.NewTerm(ref), term(items[0]))
	}
	terms := make([]*ast.Term, len(items))
	for i, item := range items {
		terms[i] = term(item)
	}
	return ast.Member.Expr(ast.NewTerm(ref), ast.SetTerm(terms...))
}

// anyOf is `item in ref`, or `ref & {items} != set()`.
func anyOf(ref ast.Ref, items []rule.Novelty) *ast.Expr {
	if len(items) == 1 {
		return in(stringTerm(items[0]), ref)
	}
	terms := make([]*ast.Term, len(items))
	for i, item := range items {
		terms[i] = stringTerm(item)
	}
	both := ast.CallTerm(ast.NewTerm(ast.And.Ref()), ast.NewTerm(ref), ast.SetTerm(terms...))
	return ast.NotEqual.Expr(both, ast.SetTerm())
}

func stringTerm[T interface{ String() string }](v T) *ast.Term { return ast.StringTerm(v.String()) }

func patternTerm(p rule.Pattern) *ast.Term { return ast.StringTerm(p.Text) }

// single reports whether all items are as is says.
func single[T any](items []T, is func(T) bool) bool {
	for _, item := range items {
		if !is(item) {
			return false
		}
	}
	return true
}
