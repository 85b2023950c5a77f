package custom

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"

	"snitch/policy/rule"
)

// Bounds of what is loaded.
const (
	maxModules   = 256
	maxSource    = 256 << 10 // bytes of one module
	maxPackages  = 64
	maxListItems = 100_000 // of all lists that modules read
)

var packageName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,31}$`)

// votes are the sets that a package may have.
var voteSets = []string{"deny", "alert", "allow"}

// faults gathers what is wrong, with its place.
type faults struct{ list []rule.Error }

func (f *faults) add(pos rule.Position, format string, args ...any) {
	f.list = append(f.list, rule.Error{Pos: pos, Msg: fmt.Sprintf(format, args...)})
}

// addOPA adds OPA's own errors, which carry their place.
func (f *faults) addOPA(file string, err error) {
	var many ast.Errors
	if !errors.As(err, &many) {
		f.add(rule.Position{File: file, Line: 1, Col: 1}, "%v", err)
		return
	}
	for _, e := range many {
		pos := rule.Position{File: file, Line: 1, Col: 1}
		if e.Location != nil && e.Location.Row > 0 {
			pos = position(e.Location)
		}
		f.add(pos, "%s", oneLine(e))
	}
}

// oneLine is OPA's message with what it says of references that it does not
// know, but without its drawing of the line.
func oneLine(e *ast.Error) string {
	msg := e.Message
	if detail, ok := e.Details.(*ast.RefErrInvalidDetail); ok {
		want := make([]string, 0, len(detail.OneOf))
		for _, v := range detail.OneOf {
			want = append(want, strings.Trim(v.String(), `"`))
		}
		if len(want) > 0 {
			msg += ": it has " + strings.Join(want, ", ")
		}
	}
	return strings.Join(strings.Fields(msg), " ")
}

func position(l *ast.Location) rule.Position {
	if l == nil {
		return rule.Position{}
	}
	return rule.Position{File: l.File, Line: l.Row, Col: l.Col}
}

// err is nil when nothing is wrong.
func (f *faults) err() error {
	if len(f.list) == 0 {
		return nil
	}
	slices.SortStableFunc(f.list, func(a, b rule.Error) int {
		if c := strings.Compare(a.Pos.File, b.Pos.File); c != 0 {
			return c
		}
		return (a.Pos.Line-b.Pos.Line)*1_000_000 + a.Pos.Col - b.Pos.Col
	})
	f.list = slices.CompactFunc(f.list, func(a, b rule.Error) bool { return a == b })
	const most = 200
	shown := min(len(f.list), most)
	return &rule.Errors{List: f.list[:shown], More: len(f.list) - shown}
}

// parse reads the modules.
func parse(modules []rule.Module, f *faults) map[string]*ast.Module {
	if len(modules) > maxModules {
		f.add(rule.Position{File: modules[maxModules].File, Line: 1, Col: 1}, "more than %d modules", maxModules)
		return nil
	}
	parsed := map[string]*ast.Module{}
	for _, m := range modules {
		start := rule.Position{File: m.File, Line: 1, Col: 1}
		if len(m.Source) > maxSource {
			f.add(start, "the module has %d bytes, more than %d", len(m.Source), maxSource)
			continue
		}
		mod, err := ast.ParseModuleWithOpts(m.File, string(m.Source), ast.ParserOptions{
			RegoVersion: ast.RegoV1, ProcessAnnotation: true, Capabilities: ast.CapabilitiesForThisVersion(ast.CapabilitiesRegoVersion(ast.RegoV1))})
		switch {
		case err != nil:
			f.addOPA(m.File, err)
		case mod == nil:
			f.add(start, "the module is empty: begin it with `package snitch.custom.NAME`")
		case parsed[m.File] != nil:
			f.add(start, "the module is there twice")
		default:
			parsed[m.File] = mod
		}
	}
	return parsed
}

// check holds one module against the contract. It returns the package's NAME,
// "" for a package that may not be.
func check(mod *ast.Module, test bool, f *faults) string {
	name, ok := nameOf(mod.Package)
	if test {
		name = strings.TrimSuffix(name, "_test")
	}
	if !ok || !packageName.MatchString(name) || strings.HasSuffix(name, "_test") {
		f.add(position(mod.Package.Location), "package %s: want snitch.custom.NAME, NAME of small letters, digits and _ (at most 32)",
			strings.TrimPrefix(mod.Package.Path.String(), "data."))
		return ""
	}
	for _, imp := range mod.Imports {
		if ref, ok := imp.Path.Value.(ast.Ref); ok && ref[0].Equal(ast.DefaultRootDocument) {
			checkData(ref, name, position(imp.Location), f)
		}
	}
	for _, r := range mod.Rules {
		checkRule(r, name, f)
	}
	return name
}

// nameOf is NAME of snitch.custom.NAME.
func nameOf(p *ast.Package) (string, bool) {
	if len(p.Path) != 4 || !p.Path.HasPrefix(customRef()) {
		return "", false
	}
	name, ok := p.Path[3].Value.(ast.String)
	return string(name), ok
}

// customRef is data.snitch.custom and what follows it.
func customRef(names ...string) ast.Ref {
	ref := ast.Ref{ast.DefaultRootDocument, ast.StringTerm("snitch"), ast.StringTerm("custom")}
	for _, n := range names {
		ref = append(ref, ast.StringTerm(n))
	}
	return ref
}

func checkRule(r *ast.Rule, name string, f *faults) {
	head := r.Head.Ref()[0].Value.String()
	if slices.Contains(voteSets, head) && (r.Head.RuleKind() != ast.MultiValue || len(r.Head.Ref()) != 1 || len(r.Head.Args) > 0) {
		f.add(position(r.Location), "%s must be a set: write `%s contains \"id\" if { … }`", head, head)
	}
	place := r.Location
	visitor := ast.NewGenericVisitor(func(x any) bool {
		switch x := x.(type) {
		case *ast.Expr:
			place = nearest(x.Location, place)
		case *ast.Term:
			place = nearest(x.Location, place)
			ref, ok := x.Value.(ast.Ref)
			if !ok {
				break
			}
			if bad := refused(ref); bad != "" {
				f.add(position(place), "built-in function %s is not allowed here: custom rules have no clock, network, environment or chance (docs/rego.md)", bad)
			}
			if ref[0].Equal(ast.DefaultRootDocument) {
				checkData(ref, name, position(place), f)
			}
		case *ast.Import, *ast.Package:
			return true
		}
		return false
	})
	visitor.Walk(r)
}

func nearest(l, otherwise *ast.Location) *ast.Location {
	if l != nil && l.Row > 0 {
		return l
	}
	return otherwise
}

// checkData allows data.lists.NAME and the package's own names.
func checkData(ref ast.Ref, name string, pos rule.Position, f *faults) {
	lists := ast.Ref{ast.DefaultRootDocument, ast.StringTerm("lists")}
	switch {
	case ref.HasPrefix(customRef(name)), ref.HasPrefix(customRef(name + "_test")):
	case ref.HasPrefix(lists) && len(ref) > len(lists):
		if _, ok := ref[len(lists)].Value.(ast.String); !ok {
			f.add(pos, "%s: name the list", ref)
		}
	default:
		f.add(pos, "%s: only data.lists.NAME and the package's own rules can be read", ref)
	}
}

// checkNames finds references to rules that a package does not have. OPA knows
// no type of data and takes them as undefined: a misspelt deny would never hold.
func checkNames(compiled map[string]*ast.Module, f *faults) {
	has := map[string]bool{}
	for _, mod := range compiled {
		for _, r := range mod.Rules {
			if ref := r.Ref(); len(ref) > 4 {
				has[ref[:5].String()] = true
			}
		}
	}
	for _, mod := range compiled {
		for _, r := range mod.Rules {
			place := r.Location
			ast.WalkTerms(r, func(t *ast.Term) bool {
				place = nearest(t.Location, place)
				ref, ok := t.Value.(ast.Ref)
				if !ok || len(ref) < 5 || !ref.HasPrefix(customRef()) {
					return false
				}
				if name, ok := ref[4].Value.(ast.String); ok && !has[ref[:5].String()] {
					f.add(position(place), "%s: the package has no %s", ref, string(name))
				}
				return false
			})
		}
	}
}
