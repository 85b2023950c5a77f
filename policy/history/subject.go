package history

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"snitch/monitor/event"
	"snitch/policy/rule"
)

// subject is what names a program in a rule; one field is set.
type subject struct {
	pkg  string // name of the package
	exe  string // path in the host's view, versions in it replaced by *
	view string // the same of another view, for programs that are named by digest
}

func (s subject) key() string { return s.pkg + "\x00" + s.exe + "\x00" + s.view }

// name is a short one for ids and people.
func (s subject) name() string {
	if s.pkg != "" {
		return s.pkg
	}
	return path.Base(s.exe + s.view)
}

// groupID is a program in one of its roles.
type groupID struct {
	subject subject
	script  string
	unit    string
	user    string // of a service
}

func (id groupID) key() string {
	return id.subject.key() + "\x00" + id.script + "\x00" + id.unit + "\x00" + id.user
}

// group is what a program did in one role.
type group struct {
	id      groupID
	exes    map[string]bool
	digests map[event.Digest]bool
	parents map[string]bool // "" for one that a rule cannot name
	atoms   map[atom]*Sums
}

// identify says which group rows of f belong to, or why to none.
func identify(f *rule.Facts) (id groupID, reason string) {
	p := &f.Process
	switch {
	case p.Kind == event.ExecutableKernel:
		return id, leftKernel
	case p.Exe == "" || p.Kind == event.ExecutableUnknown || p.Kind == event.ExecutableInvalid:
		return id, leftUnknown
	case p.Kind != event.ExecutableFile:
		return id, leftFile
	case strings.HasPrefix(p.Package, "modified:"):
		return id, leftModified
	case p.Script == "":
		return id, leftScript
	case !writable(p.Exe):
		return id, leftText
	}
	host := strings.HasPrefix(p.Exe, "/")
	switch {
	case !host && p.SHA256.IsZero():
		return id, leftView
	case !host:
		id.subject.view = withoutVersions(p.Exe[strings.Index(p.Exe, ":/")+1:])
	case p.Package != "" && p.Package != rule.None && writable(p.Package):
		id.subject.pkg = p.Package
	default:
		id.subject.exe = withoutVersions(p.Exe)
	}
	if p.Script != rule.None {
		if !strings.HasPrefix(p.Script, "/") && !strings.HasPrefix(p.Script, "-m ") || !writable(p.Script) {
			return id, leftScript
		}
	}
	id.script = p.Script
	id.unit = serviceOf(p.Unit)
	if p.HasUID && (p.UID > 0 && p.UID < firstPerson || p.UID == nobody) && writable(p.User) {
		id.user = p.User
	}
	return id, ""
}

// User ids of services are below those of people, and nobody's.
const (
	firstPerson = 1000
	nobody      = 65534
)

// writable reports whether s can stand in a rule for itself: a star would be a
// pattern, and other bytes cannot be written.
func writable(s string) bool {
	return s != "" && len(s) <= 1024 && utf8.ValidString(s) && !strings.Contains(s, "*") && s == strings.TrimSpace(s) &&
		strings.IndexFunc(s, func(c rune) bool { return !unicode.IsPrint(c) || c == utf8.RuneError }) < 0
}

// serviceOf is the unit of a system service, instances taken together, "" for
// sessions and scopes, whose names come and go.
func serviceOf(unit string) string {
	name, ok := strings.CutSuffix(unit, ".service")
	if !ok || !writable(unit) || strings.HasPrefix(unit, "user@") {
		return ""
	}
	if i := strings.IndexByte(name, '@'); i >= 0 {
		return name[:i+1] + "*.service"
	}
	return unit
}

var version = regexp.MustCompile(`^v?[0-9]+([._-][0-9A-Za-z]+)*$`)

// withoutVersions replaces path segments that look like version numbers.
func withoutVersions(p string) string {
	parts := strings.Split(p, "/")
	for i := range parts[:len(parts)-1] {
		if version.MatchString(parts[i]) {
			parts[i] = "*"
		}
	}
	return strings.Join(parts, "/")
}

// note remembers what the process match is made of.
func (g *group) note(f *rule.Facts) {
	g.exes[f.Process.Exe] = true
	if !f.Process.SHA256.IsZero() {
		g.digests[f.Process.SHA256] = true
	}
	parent := ""
	if len(f.Ancestors) > 0 {
		if a := &f.Ancestors[0]; a.Kind == event.ExecutableFile && strings.HasPrefix(a.Exe, "/") && writable(a.Exe) {
			parent = a.Exe
		}
	}
	g.parents[parent] = true
}

// join adds the programs of another role.
func (g *group) join(o *group) {
	maps.Copy(g.exes, o.exes)
	maps.Copy(g.digests, o.digests)
}

// subjectMatch names the program in any role.
func (g *group) subjectMatch() *rule.ProcessMatch {
	switch s := g.id.subject; {
	case s.pkg != "":
		return &rule.ProcessMatch{Package: []rule.Pattern{{Text: s.pkg, Kind: rule.MarkedPattern}}}
	case s.view != "":
		digests := slices.SortedFunc(maps.Keys(g.digests), func(a, b event.Digest) int { return slices.Compare(a[:], b[:]) })
		return &rule.ProcessMatch{SHA256: digests}
	}
	return &rule.ProcessMatch{Exe: []rule.Pattern{pathOf(g.exes)}}
}

// process names the program in its role.
func (g *group) process(alone bool) *rule.ProcessMatch {
	m := g.subjectMatch()
	if g.id.script != rule.None || !alone {
		m.Script = []rule.Pattern{{Text: g.id.script, Kind: rule.PathPattern}}
	}
	if g.id.unit != "" {
		m.Unit = []rule.Pattern{{Text: g.id.unit, Kind: rule.MarkedPattern}}
	}
	if g.id.user != "" {
		m.User = []string{g.id.user}
	}
	if parent, ok := g.parent(); ok && g.id.unit == "" {
		m.Parent = &rule.ProcessMatch{Exe: []rule.Pattern{parent}}
	}
	return m
}

// everybody starts programs of every kind: as a parent it says nothing.
var everybody = map[string]bool{"systemd": true, "init": true, "bash": true, "sh": true, "dash": true, "zsh": true, "fish": true, "ksh": true,
	"busybox": true, "sudo": true, "su": true, "login": true, "sshd": true, "tmux": true, "screen": true, "env": true, "xargs": true}

// parent is the one program that always started this one.
func (g *group) parent() (rule.Pattern, bool) {
	forms := make(map[string]bool)
	for p := range g.parents {
		if p == "" || everybody[path.Base(p)] {
			return rule.Pattern{}, false
		}
		forms[withoutVersions(p)] = true
	}
	return pathOf(g.parents), len(forms) == 1
}

// pathOf is one path as it is, or several that differ in versions as a pattern.
func pathOf(paths map[string]bool) rule.Pattern {
	first := slices.Min(slices.Collect(maps.Keys(paths)))
	if len(paths) > 1 {
		first = withoutVersions(first)
	}
	return rule.Pattern{Text: first, Kind: rule.PathPattern}
}

func sortedGroups(groups map[groupID]*group) []*group {
	return slices.SortedFunc(maps.Values(groups), func(a, b *group) int { return cmp.Compare(a.id.key(), b.id.key()) })
}

func sortedSubjects(groups map[subject]*group) []*group {
	return slices.SortedFunc(maps.Values(groups), func(a, b *group) int { return cmp.Compare(a.id.subject.key(), b.id.subject.key()) })
}

// idBytes is how long an id may be.
const idBytes = 63

// slug makes a part of an id of a name.
func slug(s string) string {
	s = strings.Map(func(c rune) rune {
		switch {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '.', c == '_', c == '-':
			return c
		case c >= 'A' && c <= 'Z':
			return c + 'a' - 'A'
		}
		return '-'
	}, s)
	s = strings.Trim(s, "-._")
	if s == "" || strings.HasPrefix(s, "custom.") {
		s = "program-" + s
	}
	return s[:min(len(s), 24)]
}

// name makes the id of a rule: the program, its role, and what it is about.
func (l *learner) name(g *group, e *endpoint) string {
	parts := []string{slug(g.id.subject.name())}
	if s := g.id.script; s != rule.None {
		parts = append(parts, slug(path.Base(strings.TrimPrefix(s, "-m "))))
	} else if u := strings.TrimSuffix(strings.TrimSuffix(g.id.unit, ".service"), "@*"); u != "" && slug(u) != parts[0] {
		parts = append(parts, slug(u))
	}
	return l.unique(strings.Join(append(parts, e.label), "-"), g.id.key()+"\x00"+e.key())
}

// unique is id, or id with a digest of what it stands for when it is taken.
func (l *learner) unique(id, key string) string {
	id = strings.TrimRight(id[:min(len(id), idBytes-8)], "-._")
	if _, taken := l.ids[id]; taken {
		sum := sha256.Sum256([]byte(key))
		id += "-" + hex.EncodeToString(sum[:3])
	}
	for n, base := 2, id; l.ids[id] != nil; n++ { // two digests begin alike
		id = base + strconv.Itoa(n)
	}
	l.ids[id] = &evidence{}
	return id
}
