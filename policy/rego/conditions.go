package rego

import (
	"crypto/sha256"
	"fmt"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"

	"snitch/policy/rule"
)

// field is a fact about a process whose conditions may hold patterns.
type field uint8

// fieldFile is the path of a file that the host shows there; fieldExe is what
// the program is called in every case. A pattern for a host path is matched
// against the first, unless its match says which kinds of program it means.
const (
	fieldExe field = iota
	fieldFile
	fieldName
	fieldScript
	fieldCmdline
	fieldCgroup
	fieldUnit
	fieldContainer
	fieldPackage
	fieldCount
)

var fieldKeys = [fieldCount]string{"exe", "file", "name", "script", "cmdline", "cgroup", "unit", "container", "package"}

// conditions are those that Go matches for OPA: each has a text, which stands
// in the module and in the input's sets.
type conditions struct {
	set      *rule.Set
	terms    map[string]*ast.Term
	patterns [fieldCount]patterns
	uids     ranges
	ports    ranges
	hosts    hosts
}

// maxText bounds a condition's text; longer ones end in a digest.
const maxText = 160

// term is the interned text of a condition, and whether it is new.
func (c *conditions) term(text string) (*ast.Term, bool) {
	if len(text) > maxText {
		sum := sha256.Sum256([]byte(text))
		text = fmt.Sprintf("%s … (sha256:%x)", strings.ToValidUTF8(text[:maxText], ""), sum[:8])
	}
	if t := c.terms[text]; t != nil {
		return t, false
	}
	t := ast.StringTerm(text)
	c.terms[text] = t
	return t, true
}

// pattern is the condition that a fact matches one of ps.
func (c *conditions) pattern(f field, ps []rule.Pattern) *ast.Term {
	term, isNew := c.term(fieldKeys[f] + ": " + join(ps, func(p rule.Pattern) string { return p.Text }))
	if isNew {
		for _, p := range ps {
			c.patterns[f].add(p, term)
		}
	}
	return term
}

// program is the condition that exe matches one of ps where a host path means
// the host's files only.
func (c *conditions) program(ps []rule.Pattern) *ast.Term {
	term, isNew := c.term("file: " + join(ps, func(p rule.Pattern) string { return p.Text }))
	if isNew {
		for _, p := range ps {
			f := fieldExe
			if hostPath(p) {
				f = fieldFile
			}
			c.patterns[f].add(p, term)
		}
	}
	return term
}

func hostPath(p rule.Pattern) bool { return strings.HasPrefix(p.Text, "/") }

func (c *conditions) uid(rs []rule.UIDRange) *ast.Term {
	term, isNew := c.term("uid: " + join(rs, func(r rule.UIDRange) string { return rangeText(uint64(r.First), uint64(r.Last)) }))
	if isNew {
		for _, r := range rs {
			c.uids = append(c.uids, rangeItem{r.First, r.Last, term})
		}
	}
	return term
}

func (c *conditions) port(rs []rule.PortRange) *ast.Term {
	term, isNew := c.term("port: " + join(rs, func(r rule.PortRange) string { return rangeText(uint64(r.First), uint64(r.Last)) }))
	if isNew {
		for _, r := range rs {
			c.ports = append(c.ports, rangeItem{uint32(r.First), uint32(r.Last), term})
		}
	}
	return term
}

func rangeText(first, last uint64) string {
	if first == last {
		return fmt.Sprint(first)
	}
	return fmt.Sprintf("%d-%d", first, last)
}

func (c *conditions) host(hs []rule.Host) *ast.Term {
	term, isNew := c.term(join(hs, hostText))
	if isNew {
		for _, h := range hs {
			c.hosts.add(h, c.set, term)
		}
	}
	return term
}

// hostText is a host as the rules write it.
func hostText(h rule.Host) string {
	switch h.Kind {
	case rule.HostBelow:
		return "*." + h.Name
	case rule.HostSuffix:
		return "." + h.Name
	case rule.HostNet:
		if h.Net.IsSingleIP() {
			return h.Net.Addr().String()
		}
		return h.Net.String()
	case rule.HostList:
		return "@" + h.Name
	default:
		return h.Name
	}
}

func join[T any](items []T, text func(T) string) string {
	texts := make([]string, len(items))
	for i, item := range items {
		texts[i] = text(item)
	}
	return strings.Join(texts, " | ")
}
