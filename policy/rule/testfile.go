package rule

import (
	"time"

	"gopkg.in/yaml.v3"

	"snitch/monitor/event"
)

// TestFile is one *_test.yaml.
type TestFile struct {
	File  string
	Cases []Case
}

// Case is one test of the rules: facts and what the decision must be.
type Case struct {
	Name   string
	Facts  Facts
	At     time.Time // when the decision is made; zero: now
	Expect Expect
	Pos    Position
}

// Expect is what a case demands of a decision. A zero part demands nothing.
type Expect struct {
	Action  event.Action
	Rule    string   // the winner; None: no rule matches
	Matches []string // exactly these ids; empty and not nil: no rule matches
	Reason  string   // of the winner, exactly
	Pos     Position
}

// testGrammar is the tables of the tests.
type testGrammar struct {
	file     table[testYAML]
	testCase table[caseYAML]
	when     table[whenYAML]
	expect   table[Expect]
	subject  table[subjectYAML]
	end      table[endYAML]
}

type testYAML struct {
	version string
	cases   []caseYAML
}

type caseYAML struct {
	Case
	when   *whenYAML
	expect *Expect
}

// tests reads one file of tests.
func (r *reader) tests(src []byte) TestFile {
	out := TestFile{File: r.file}
	n := r.document(src)
	if n == nil || !r.checkVersion(n) {
		return out
	}
	var f testYAML
	language().tests.file.read(r, n, &f)
	for _, c := range f.cases {
		out.Cases = append(out.Cases, c.Case)
	}
	return out
}

func (g *testGrammar) set() {
	*g = testGrammar{
		file: table[testYAML]{what: "a file of tests"}, testCase: table[caseYAML]{what: "a case"}, when: table[whenYAML]{what: "when"},
		expect: table[Expect]{what: "expect"}, subject: table[subjectYAML]{what: "a process", main: "exe"}, end: table[endYAML]{what: "an end (to, from)"},
	}
	g.setSubject()
	g.setWhen()
	g.expect.set(
		needed(field("action", "allow, alert or deny", enumValue("an action", event.ActionAllow, event.ActionAlert, event.ActionDeny), func(e *Expect) *event.Action { return &e.Action })),
		field("rule", "id of the rule that wins, none when no rule matches", optional(idText()), func(e *Expect) *string { return &e.Rule }),
		field("matches", "ids of all rules that match, none for no rule", g.matchesValue(), func(e *Expect) *[]string { return &e.Matches }),
		field("reason", "the reason of the decision", reasonValue(), func(e *Expect) *string { return &e.Reason }),
	)
	g.expect.begin = func(r *reader, n *yaml.Node, e *Expect) { e.Pos = r.pos(n) }
	g.testCase.set(
		needed(field("name", "one line for people", reasonValue(), func(c *caseYAML) *string { return &c.Name })),
		field("at", "RFC 3339: the time of the decision, for rules that expire", timeValue(), func(c *caseYAML) *time.Time { return &c.At }),
		needed(field("when", "the facts", mapping(&g.when, "when"), func(c *caseYAML) **whenYAML { return &c.when })),
		needed(field("expect", "the decision", mapping(&g.expect, "expect"), func(c *caseYAML) **Expect { return &c.expect })),
	)
	g.testCase.begin = func(r *reader, n *yaml.Node, c *caseYAML) {
		c.Pos = r.pos(n)
		r.where, r.path = nil, ""
	}
	g.testCase.check = func(r *reader, n *yaml.Node, c *caseYAML) {
		if c.when != nil {
			c.Facts = c.when.facts()
		}
		if c.expect != nil {
			c.Expect = *c.expect
		}
	}
	g.file.set(
		field("version", "the version of this format: 1", versionValue(), func(f *testYAML) *string { return &f.version }),
		needed(field("cases", "the list of cases", sequence(&g.testCase, "case"), func(f *testYAML) *[]caseYAML { return &f.cases })),
	)
}

// idText is the id of a rule, those of custom Rego included.
func idText() value[string] {
	return scalar("the id of a rule", jsonSchema{"type": "string"}, func(s string) (string, error) { return s, nil }, same)
}

// matchesValue is a list of ids in which none alone means no id.
func (g *testGrammar) matchesValue() value[[]string] {
	ids := oneOrMore(idText())
	read, write := ids.read, ids.write
	ids.read = func(r *reader, n *yaml.Node) ([]string, bool) {
		list, ok := read(r, n)
		if len(list) == 1 && list[0] == None {
			return []string{}, ok
		}
		return list, ok
	}
	ids.write = func(list []string) *yaml.Node {
		if list != nil && len(list) == 0 {
			return textNode(None)
		}
		return write(list)
	}
	return ids
}
