package explain

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"snitch/monitor/event"
	"snitch/policy/rule"
)

// field is one fact of a thing that rules have conditions M on: a process or
// an end of a connection.
type field[T, M any] struct {
	name   string
	get    func(*T) string // "" not known
	clear  func(*T)
	values func(*M) []value[T] // of which some satisfy the condition, and some narrowly do not
	other  []value[T]          // that rules seldom mean
	also   func(*M) bool       // the condition of another field reads this one too
}

// value is one that the fact can have.
type value[T any] struct {
	text string
	set  func(*T)
}

type (
	subjectField = field[rule.Subject, rule.ProcessMatch]
	subjectValue = value[rule.Subject]
)

// subjectFields are the facts of a process.
func subjectFields() []subjectField {
	return []subjectField{
		exeField(),
		kindField(),
		textField("name", func(m *rule.ProcessMatch) []rule.Pattern { return m.Name }, func(s *rule.Subject) *string { return &s.Name }, "other"),
		textField("script", func(m *rule.ProcessMatch) []rule.Pattern { return m.Script }, func(s *rule.Subject) *string { return &s.Script }, "/other.script", "-m other"),
		textField("cmdline", func(m *rule.ProcessMatch) []rule.Pattern { return m.Cmdline }, func(s *rule.Subject) *string { return &s.Cmdline }, "other"),
		textField("cgroup", func(m *rule.ProcessMatch) []rule.Pattern { return m.Cgroup }, func(s *rule.Subject) *string { return &s.Cgroup }, "/other.slice", "other"),
		textField("unit", func(m *rule.ProcessMatch) []rule.Pattern { return m.Unit }, func(s *rule.Subject) *string { return &s.Unit }, "other.service", "other"),
		textField("container", func(m *rule.ProcessMatch) []rule.Pattern { return m.Container }, func(s *rule.Subject) *string { return &s.Container }, "other"),
		textField("package", func(m *rule.ProcessMatch) []rule.Pattern { return m.Package }, func(s *rule.Subject) *string { return &s.Package }, "other"),
		digestField("sha256", func(m *rule.ProcessMatch) []event.Digest { return m.SHA256 }, func(s *rule.Subject) *event.Digest { return &s.SHA256 }),
		digestField("script_sha256", func(m *rule.ProcessMatch) []event.Digest { return m.ScriptSHA256 }, func(s *rule.Subject) *event.Digest { return &s.ScriptSHA256 }),
		reputationField(),
		userField(),
		uidField(),
	}
}

// exeField is the path of a program. Where the kind of its file is not known,
// one that is told its path is a file.
func exeField() subjectField {
	f := textField("exe", func(m *rule.ProcessMatch) []rule.Pattern { return m.Exe }, func(s *rule.Subject) *string { return &s.Exe },
		"/other/program", "container:other:/program")
	file := func(vs []subjectValue) []subjectValue {
		for i := range vs {
			set := vs[i].set
			vs[i].set = func(s *rule.Subject) {
				if set(s); s.Kind == event.ExecutableInvalid {
					s.Kind = event.ExecutableFile
				}
			}
		}
		return vs
	}
	values := f.values
	f.values = func(m *rule.ProcessMatch) []subjectValue { return file(values(m)) }
	f.other = file(f.other)
	return f
}

func textField(name string, patterns func(*rule.ProcessMatch) []rule.Pattern, at func(*rule.Subject) *string, other ...string) subjectField {
	f := subjectField{name: name, get: func(s *rule.Subject) string { return *at(s) }, clear: func(s *rule.Subject) { *at(s) = "" }}
	make1 := func(text string) subjectValue { return subjectValue{text, func(s *rule.Subject) { *at(s) = text }} }
	for _, text := range other {
		f.other = append(f.other, make1(text))
	}
	f.values = func(m *rule.ProcessMatch) (out []subjectValue) {
		for _, p := range patterns(m) {
			for _, text := range witnesses(p) {
				out = append(out, make1(text))
			}
		}
		return out
	}
	return f
}

// witnesses are texts that p matches.
func witnesses(p rule.Pattern) (out []string) {
	if p.Literal() {
		return []string{p.Text}
	}
	for _, run := range []string{"x", "", "x/y"} {
		text := strings.ReplaceAll(p.Text, "**", run)
		text = strings.ReplaceAll(text, "*", strings.ReplaceAll(run, "/", ""))
		if p.Match(text) && !slices.Contains(out, text) {
			out = append(out, text)
		}
	}
	return out
}

func kindField() subjectField {
	f := subjectField{name: "kind", clear: func(s *rule.Subject) { s.Kind = event.ExecutableInvalid }}
	f.get = func(s *rule.Subject) string {
		if s.Kind == event.ExecutableInvalid {
			return ""
		}
		return s.Kind.String()
	}
	for k := event.ExecutableFile; k <= event.ExecutableUnknown; k++ {
		f.other = append(f.other, subjectValue{k.String(), func(s *rule.Subject) { s.Kind = k }})
	}
	f.values = func(*rule.ProcessMatch) []subjectValue { return nil }
	f.also = func(m *rule.ProcessMatch) bool { return len(m.Kind) > 0 || len(m.Exe) > 0 }
	return f
}

func digestField(name string, items func(*rule.ProcessMatch) []event.Digest, at func(*rule.Subject) *event.Digest) subjectField {
	make1 := func(d event.Digest) subjectValue {
		return subjectValue{d.String(), func(s *rule.Subject) { *at(s) = d }}
	}
	return subjectField{name: name, get: func(s *rule.Subject) string { return at(s).String() }, clear: func(s *rule.Subject) { *at(s) = event.Digest{} },
		other: []subjectValue{make1(event.Digest{0xff, 31: 0xff})},
		values: func(m *rule.ProcessMatch) (out []subjectValue) {
			for _, d := range items(m) {
				out = append(out, make1(d))
			}
			return out
		}}
}

func reputationField() subjectField {
	f := subjectField{name: "reputation", get: func(s *rule.Subject) string { return s.Reputation.String() }, clear: func(s *rule.Subject) { s.Reputation = event.ReputationUnasked }}
	for _, r := range event.Reputations() {
		f.other = append(f.other, subjectValue{r.String(), func(s *rule.Subject) { s.Reputation = r }})
	}
	f.values = func(*rule.ProcessMatch) []subjectValue { return nil }
	f.also = func(m *rule.ProcessMatch) bool { return len(m.Reputation) > 0 }
	return f
}

func userField() subjectField {
	make1 := func(user string) subjectValue { return subjectValue{user, func(s *rule.Subject) { s.User = user }} }
	return subjectField{name: "user", get: func(s *rule.Subject) string { return s.User }, clear: func(s *rule.Subject) { s.User = "" },
		other: []subjectValue{make1("other")},
		values: func(m *rule.ProcessMatch) (out []subjectValue) {
			for _, user := range m.User {
				out = append(out, make1(user))
			}
			return out
		}}
}

// uidField has the ends of ranges and what lies beside them: every range ends
// at one of these.
func uidField() subjectField {
	make1 := func(uid uint32) subjectValue {
		return subjectValue{strconv.FormatUint(uint64(uid), 10), func(s *rule.Subject) { s.UID, s.HasUID = uid, true }}
	}
	return subjectField{name: "uid",
		get: func(s *rule.Subject) string {
			if !s.HasUID {
				return ""
			}
			return strconv.FormatUint(uint64(s.UID), 10)
		},
		clear: func(s *rule.Subject) { s.UID, s.HasUID = 0, false },
		other: []subjectValue{make1(0)},
		values: func(m *rule.ProcessMatch) (out []subjectValue) {
			for _, r := range m.UID {
				out = append(out, make1(r.First))
				if r.Last < 1<<32-1 {
					out = append(out, make1(r.Last+1))
				}
			}
			return out
		}}
}

// processMatches are the matches on the process itself and those on processes
// above it, and how far up the last of these speaks.
type processMatches struct {
	own, above []*rule.ProcessMatch
	depth      int
	ancestor   bool // one of them is about any process above
}

func (p *processMatches) add(m *rule.ProcessMatch, level int) {
	if m == nil {
		return
	}
	if level == 0 {
		p.own = append(p.own, m)
	} else {
		p.above = append(p.above, m)
	}
	p.depth = max(p.depth, level)
	p.ancestor = p.ancestor || m.Ancestor != nil
	p.add(m.Parent, level+1)
	p.add(m.Ancestor, level+1)
}

// levels is how many processes have facts that are read, of a lineage of so
// many ancestors. One may be made above the last.
func (p *processMatches) levels(ancestors int) int {
	if p.ancestor {
		return max(p.depth, ancestors+1) + 1
	}
	return p.depth + 1
}

// slotKey is how facts of the process so many generations up are called.
func slotKey(level int) string {
	switch level {
	case 0:
		return "process"
	case 1:
		return "process.parent"
	}
	return fmt.Sprintf("process.ancestor[%d]", level)
}

// slot is the process at a level of f, made where there was none, and in a copy
// of the ancestors.
func slot(f *rule.Facts, level int) *rule.Subject {
	if level == 0 {
		return &f.Process
	}
	f.Ancestors = slices.Clone(f.Ancestors)
	for len(f.Ancestors) < level {
		f.Ancestors = append(f.Ancestors, rule.Subject{})
	}
	return &f.Ancestors[level-1]
}
