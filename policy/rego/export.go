package rego

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/format"

	"snitch/policy/rule"
)

const exportHeader = `# Generated from the rules of revision %s; do not edit.
#
# A rule votes by its id in data.snitch.policy.rules, a confine entry in
# .confine; modes, expiry and the strictest vote are settled by snitch. The sets
# "hosts", "trusted", "ports" and "matching" of the input hold the texts of the
# conditions that snitch matched: addresses, names, lists, patterns and ranges.

`

// Export is the module that New compiles, as formatted text.
func Export(set *rule.Set) ([]byte, error) {
	m := build(set)
	var out bytes.Buffer
	fmt.Fprintf(&out, exportHeader, comment(set.Revision))
	pkg, err := format.Ast(&ast.Module{Package: &ast.Package{Path: policyRef()}})
	if err != nil {
		return nil, fmt.Errorf("format package: %w", err)
	}
	out.Write(pkg)
	for _, g := range m.rules {
		if err := exportRule(&out, g); err != nil {
			return nil, err
		}
	}
	// Once more as a whole: the formatter groups and aligns across rules.
	text, err := format.Source("policy.rego", out.Bytes())
	if err != nil {
		return nil, fmt.Errorf("format rules: %w", err)
	}
	return text, nil
}

func exportRule(out *bytes.Buffer, g generated) error {
	text, err := format.Ast(g.rule)
	if err != nil {
		return fmt.Errorf("format rule: %w", err)
	}
	out.WriteByte('\n')
	if g.from != "" {
		for line := range strings.Lines(g.from) {
			out.WriteString("# " + comment(line) + "\n")
		}
	}
	out.Write(bytes.TrimSpace(text))
	out.WriteByte('\n')
	return nil
}

// comment keeps a text inside its line.
func comment(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '\u0085' || r == '\u2028' || r == '\u2029' {
			return -1
		}
		return r
	}, s)
}
