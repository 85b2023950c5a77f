package table

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"snitch/monitor/event"
	"snitch/policy/rule"
)

// compileProcess makes the conditions of m on the subject at a level, whose
// path in the rule file is key. A nil m has none.
func compileProcess(m *rule.ProcessMatch, key string, level int) []cond {
	if m == nil {
		return nil
	}
	var conds []cond
	add := func(name string, t test) { conds = append(conds, cond{key: key + "." + name, level: level, test: t}) }
	if len(m.Exe) > 0 {
		add("exe", newExeTest(m.Exe, len(m.Kind) > 0))
	}
	if len(m.Kind) > 0 {
		add("kind", kindTest(m.Kind))
	}
	for i := range textFields {
		if patterns := textFields[i].patterns(m); len(patterns) > 0 {
			add(textFields[i].name, &textTest{field: &textFields[i], patterns: patterns, set: newTextSet(patterns)})
		}
	}
	if len(m.SHA256) > 0 {
		add("sha256", newDigestTest(m.SHA256, func(s *rule.Subject) event.Digest { return s.SHA256 }))
	}
	if len(m.ScriptSHA256) > 0 {
		add("script_sha256", newDigestTest(m.ScriptSHA256, func(s *rule.Subject) event.Digest { return s.ScriptSHA256 }))
	}
	if len(m.Reputation) > 0 {
		add("reputation", reputationTest(m.Reputation))
	}
	if len(m.User) > 0 {
		add("user", userTest(m.User))
	}
	if len(m.UID) > 0 {
		add("uid", uidTest(m.UID))
	}
	if m.Parent != nil {
		conds = append(conds, compileParent(m.Parent, key+".parent", level+1)...)
	}
	if m.Ancestor != nil {
		add("ancestor", &ancestorTest{conds: compileProcess(m.Ancestor, "ancestor", 0)})
	}
	return conds
}

// compileParent makes the conditions on a process above. A match without
// conditions still wants the process to be known.
func compileParent(m *rule.ProcessMatch, key string, level int) []cond {
	if conds := compileProcess(m, key, level); len(conds) > 0 {
		return conds
	}
	return []cond{{key: key, level: level, test: knownTest{}}}
}

// textField is a fact of a subject that word or path patterns match.
type textField struct {
	name     string
	patterns func(*rule.ProcessMatch) []rule.Pattern
	fact     func(*rule.Subject) string
}

var textFields = [...]textField{
	{"name", func(m *rule.ProcessMatch) []rule.Pattern { return m.Name }, func(s *rule.Subject) string { return s.Name }},
	{"script", func(m *rule.ProcessMatch) []rule.Pattern { return m.Script }, func(s *rule.Subject) string { return s.Script }},
	{cmdline, func(m *rule.ProcessMatch) []rule.Pattern { return m.Cmdline }, func(s *rule.Subject) string { return s.Cmdline }},
	{"cgroup", func(m *rule.ProcessMatch) []rule.Pattern { return m.Cgroup }, func(s *rule.Subject) string { return s.Cgroup }},
	{"unit", func(m *rule.ProcessMatch) []rule.Pattern { return m.Unit }, func(s *rule.Subject) string { return s.Unit }},
	{"container", func(m *rule.ProcessMatch) []rule.Pattern { return m.Container }, func(s *rule.Subject) string { return s.Container }},
	{"package", func(m *rule.ProcessMatch) []rule.Pattern { return m.Package }, func(s *rule.Subject) string { return s.Package }},
}

type textTest struct {
	field    *textField
	patterns []rule.Pattern
	set      textSet
}

func (t *textTest) state(f *rule.Facts, level int) State {
	s := subject(f, level)
	if s == nil {
		return Absent
	}
	text := t.field.fact(s)
	if text == "" {
		return Absent
	}
	return holdsIf(t.set.has(text))
}

func (t *textTest) want() []string { return patternTexts(t.patterns) }

func (t *textTest) got(f *rule.Facts, level int) string {
	return ofSubject(f, level, t.field.fact)
}

func ofSubject(f *rule.Facts, level int, get func(*rule.Subject) string) string {
	if s := subject(f, level); s != nil {
		return get(s)
	}
	return ""
}

// exeTest is the path of the program. A pattern that begins with a slash means
// a file of the host that still has its name, unless the rule names kinds.
type exeTest struct {
	patterns   []rule.Pattern
	host, rest textSet // patterns with and without a leading slash
	anyKind    bool    // a kind condition stands beside and judges it
}

func newExeTest(patterns []rule.Pattern, anyKind bool) *exeTest {
	var host, rest []rule.Pattern
	for _, p := range patterns {
		if strings.HasPrefix(p.Text, "/") {
			host = append(host, p)
		} else {
			rest = append(rest, p)
		}
	}
	return &exeTest{patterns: patterns, host: newTextSet(host), rest: newTextSet(rest), anyKind: anyKind}
}

func (t *exeTest) state(f *rule.Facts, level int) State {
	s := subject(f, level)
	switch {
	case s == nil || s.Exe == "":
		return Absent
	case t.rest.has(s.Exe):
		return Holds
	case !t.host.has(s.Exe):
		return Fails
	case t.anyKind || s.Kind == event.ExecutableFile:
		return Holds
	case s.Kind == event.ExecutableInvalid:
		return Absent
	}
	return Fails
}

func (t *exeTest) want() []string { return patternTexts(t.patterns) }

func (t *exeTest) got(f *rule.Facts, level int) string {
	s := subject(f, level)
	if s == nil || s.Exe == "" || t.anyKind || s.Kind == event.ExecutableFile {
		return ofSubject(f, level, func(s *rule.Subject) string { return s.Exe })
	}
	kind := "unknown yet"
	if s.Kind != event.ExecutableInvalid {
		kind = s.Kind.String()
	}
	return fmt.Sprintf("%s (kind: %s)", s.Exe, kind)
}

type kindTest []event.ExecutableKind

func (t kindTest) state(f *rule.Facts, level int) State {
	s := subject(f, level)
	if s == nil || s.Kind == event.ExecutableInvalid {
		return Absent
	}
	return holdsIf(slices.Contains(t, s.Kind))
}

func (t kindTest) want() []string { return names(t) }

func (t kindTest) got(f *rule.Facts, level int) string {
	return ofSubject(f, level, func(s *rule.Subject) string { return nameUnless(s.Kind, event.ExecutableInvalid) })
}

// digestTest is a digest of a subject.
type digestTest struct {
	items []event.Digest
	many  map[event.Digest]struct{}
	fact  func(*rule.Subject) event.Digest
}

func newDigestTest(items []event.Digest, fact func(*rule.Subject) event.Digest) *digestTest {
	t := &digestTest{items: items, fact: fact}
	if len(items) > few {
		t.many = make(map[event.Digest]struct{}, len(items))
		for _, d := range items {
			t.many[d] = struct{}{}
		}
	}
	return t
}

func (t *digestTest) state(f *rule.Facts, level int) State {
	s := subject(f, level)
	if s == nil {
		return Absent
	}
	d := t.fact(s)
	if d.IsZero() {
		return Absent
	}
	if t.many != nil {
		_, ok := t.many[d]
		return holdsIf(ok)
	}
	return holdsIf(slices.Contains(t.items, d))
}

func (t *digestTest) want() []string { return names(t.items) }

func (t *digestTest) got(f *rule.Facts, level int) string {
	return ofSubject(f, level, func(s *rule.Subject) string { return t.fact(s).String() })
}

type reputationTest []event.Reputation

func (t reputationTest) state(f *rule.Facts, level int) State {
	s := subject(f, level)
	if s == nil || s.Reputation == event.ReputationUnasked {
		return Absent
	}
	return holdsIf(slices.Contains(t, s.Reputation))
}

func (t reputationTest) want() []string { return names(t) }

func (t reputationTest) got(f *rule.Facts, level int) string {
	return ofSubject(f, level, func(s *rule.Subject) string { return s.Reputation.String() })
}

type userTest []string

func (t userTest) state(f *rule.Facts, level int) State {
	s := subject(f, level)
	if s == nil || s.User == "" {
		return Absent
	}
	return holdsIf(slices.Contains(t, s.User))
}

func (t userTest) want() []string { return t }

func (t userTest) got(f *rule.Facts, level int) string {
	return ofSubject(f, level, func(s *rule.Subject) string { return s.User })
}

type uidTest []rule.UIDRange

func (t uidTest) state(f *rule.Facts, level int) State {
	s := subject(f, level)
	if s == nil || !s.HasUID {
		return Absent
	}
	return holdsIf(slices.ContainsFunc(t, func(r rule.UIDRange) bool { return r.First <= s.UID && s.UID <= r.Last }))
}

func (t uidTest) want() []string {
	out := make([]string, len(t))
	for i, r := range t {
		out[i] = rangeText(uint64(r.First), uint64(r.Last))
	}
	return out
}

func (t uidTest) got(f *rule.Facts, level int) string {
	return ofSubject(f, level, func(s *rule.Subject) string {
		if !s.HasUID {
			return ""
		}
		return strconv.FormatUint(uint64(s.UID), 10)
	})
}

// knownTest wants no more than that the process is known.
type knownTest struct{}

func (knownTest) state(f *rule.Facts, level int) State {
	if subject(f, level) == nil {
		return Absent
	}
	return Holds
}

func (knownTest) want() []string { return []string{"any"} }

func (knownTest) got(f *rule.Facts, level int) string {
	return ofSubject(f, level, func(s *rule.Subject) string { return s.Exe })
}

// ancestorTest wants one process above that satisfies all conditions; they are
// compiled for level 0.
type ancestorTest struct{ conds []cond }

func (t *ancestorTest) state(f *rule.Facts, level int) State {
	if level >= len(f.Ancestors) {
		return Absent
	}
	for above := level + 1; above <= len(f.Ancestors); above++ {
		if all(t.conds, f, above) {
			return Holds
		}
	}
	return Fails
}

func (t *ancestorTest) want() []string {
	out := make([]string, 0, len(t.conds))
	for _, c := range t.conds {
		_, key, _ := strings.Cut(c.key, ".")
		out = append(out, key+": "+strings.Join(c.test.want(), "|"))
	}
	return []string{"{" + strings.Join(out, ", ") + "}"}
}

func (t *ancestorTest) got(f *rule.Facts, level int) string {
	var out []string
	for i := level; i < len(f.Ancestors); i++ {
		exe := f.Ancestors[i].Exe
		if exe == "" {
			exe = "?"
		}
		out = append(out, exe)
	}
	return strings.Join(out, " < ")
}

// names is the String of each item.
func names[T fmt.Stringer](items []T) []string {
	out := make([]string, len(items))
	for i, item := range items {
		out[i] = item.String()
	}
	return out
}

// nameUnless is v's name, "" for the invalid value.
func nameUnless[T interface {
	comparable
	fmt.Stringer
}](v, invalid T) string {
	if v == invalid {
		return ""
	}
	return v.String()
}

func rangeText(first, last uint64) string {
	if first == last {
		return strconv.FormatUint(first, 10)
	}
	return fmt.Sprintf("%d-%d", first, last)
}
