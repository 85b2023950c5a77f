package rego

import (
	"sync"

	"github.com/open-policy-agent/opa/v1/ast"

	"snitch/monitor/event"
	"snitch/policy/rule"
)

// Keys of the input, interned once.
var (
	keyProcess   = ast.StringTerm("process")
	keyAncestors = ast.StringTerm("ancestors")
	keyAbove     = ast.StringTerm("above")
	keyDirection = ast.StringTerm("direction")
	keyProto     = ast.StringTerm("proto")
	keyFrom      = ast.StringTerm("from")
	keyTo        = ast.StringTerm("to")
	keyNovelty   = ast.StringTerm("novelty")
	keyHosts     = ast.StringTerm("hosts")
	keyTrusted   = ast.StringTerm("trusted")
	keyPort      = ast.StringTerm("port")
	keyPorts     = ast.StringTerm("ports")
	keyScope     = ast.StringTerm("scope")
	keyCountry   = ast.StringTerm("country")
	keyMatching  = ast.StringTerm("matching")
	keyKind      = ast.StringTerm("kind")
	keySHA256    = ast.StringTerm("sha256")
	keyScriptSHA = ast.StringTerm("script_sha256")
	keyWord      = ast.StringTerm("reputation")
	keyUser      = ast.StringTerm("user")
	keyUID       = ast.StringTerm("uid")
	keyOfField   = func() (keys [fieldCount]*ast.Term) {
		for f, key := range fieldKeys {
			keys[f] = ast.StringTerm(key)
		}
		return keys
	}()
)

// inputs makes the input document of facts: what the module compares itself,
// and the texts of the conditions that Go found to hold. It is safe for
// concurrent use.
type inputs struct {
	conditions *conditions
	reads      map[string]bool // the keys that are asked for
	subjects   subjectCache
}

// input is the document for one connection.
func (in *inputs) input(f *rule.Facts) ast.Value {
	items := make([][2]*ast.Term, 0, 8)
	items = append(items, ast.Item(keyProcess, in.subject(&f.Process).object))
	items = in.ancestors(items, f.Ancestors)
	if f.Direction != 0 && in.reads["direction"] {
		items = append(items, ast.Item(keyDirection, ast.InternedTerm(f.Direction.String())))
	}
	if in.reads["proto"] {
		items = text(items, keyProto, f.Proto)
	}
	items = append(items, ast.Item(keyFrom, in.endpoint(&f.From)), ast.Item(keyTo, in.endpoint(&f.To)))
	if len(f.Novelty) > 0 && in.reads["novelty"] {
		terms := make([]*ast.Term, len(f.Novelty))
		for i, n := range f.Novelty {
			terms[i] = ast.StringTerm(n.String())
		}
		items = append(items, ast.Item(keyNovelty, ast.SetTerm(terms...)))
	}
	return ast.NewObject(items...)
}

// ancestors adds the processes above, and what holds of any of them.
func (in *inputs) ancestors(items [][2]*ast.Term, subjects []rule.Subject) [][2]*ast.Term {
	if len(subjects) == 0 || !in.reads["ancestors"] && !in.reads["above"] {
		return items
	}
	objects := make([]*ast.Term, len(subjects))
	var above []*ast.Term
	for i := range subjects {
		s := in.subject(&subjects[i])
		objects[i] = s.object
		above = append(above, s.holds...)
	}
	return set(append(items, ast.Item(keyAncestors, ast.ArrayTerm(objects...))), keyAbove, above)
}

// text adds a fact that is known.
func text(items [][2]*ast.Term, key *ast.Term, value string) [][2]*ast.Term {
	if value == "" {
		return items
	}
	return append(items, ast.Item(key, ast.StringTerm(value)))
}

// endpoint is the object of one end.
func (in *inputs) endpoint(e *rule.Endpoint) *ast.Term {
	var buffer [16]*ast.Term
	items := make([][2]*ast.Term, 0, 6)
	believed := in.conditions.hosts.matchAddr(e.Addr, buffer[:0])
	hosts := believed[:len(believed):len(believed)]
	for i := range e.Names {
		n := &e.Names[i]
		if n.Trusted {
			believed = in.conditions.hosts.matchName(n.Domain, believed)
		}
		hosts = in.conditions.hosts.matchName(n.Domain, hosts)
	}
	if in.reads["hosts"] {
		items = set(items, keyHosts, hosts)
	}
	if in.reads["trusted"] {
		items = set(items, keyTrusted, believed)
	}
	if e.HasPort {
		if in.reads["port"] {
			items = append(items, ast.Item(keyPort, ast.InternedTerm(int(e.Port))))
		}
		items = set(items, keyPorts, in.conditions.ports.match(uint32(e.Port), nil))
	}
	if scope := rule.ScopeOf(e.Addr); scope != rule.ScopeInvalid && in.reads["scope"] {
		items = append(items, ast.Item(keyScope, ast.InternedTerm(scope.String())))
	}
	if in.reads["country"] {
		items = text(items, keyCountry, e.Country)
	}
	return ast.ObjectTerm(items...)
}

// set adds a set that is not empty.
func set(items [][2]*ast.Term, key *ast.Term, terms []*ast.Term) [][2]*ast.Term {
	if len(terms) == 0 {
		return items
	}
	return append(items, ast.Item(key, ast.SetTerm(terms...)))
}

// process is the object of one process and the conditions that hold of it.
type process struct {
	object *ast.Term
	holds  []*ast.Term
}

func (in *inputs) subject(s *rule.Subject) process {
	if p, ok := in.subjects.get(s); ok {
		return p
	}
	p := in.newSubject(s)
	in.subjects.put(s, p)
	return p
}

func (in *inputs) newSubject(s *rule.Subject) process {
	items := make([][2]*ast.Term, 0, 16)
	var holds []*ast.Term
	known := func(key *ast.Term, name, value string) {
		if in.reads[name] {
			items = text(items, key, value)
		}
	}
	for f, value := range subjectTexts(s) {
		known(keyOfField[f], fieldKeys[f], value)
		holds = in.conditions.patterns[f].match(value, holds)
	}
	if s.Kind != 0 {
		known(keyKind, "kind", s.Kind.String())
	}
	known(keySHA256, "sha256", s.SHA256.String())
	known(keyScriptSHA, "script_sha256", s.ScriptSHA256.String())
	known(keyWord, "reputation", s.Reputation.String())
	known(keyUser, "user", s.User)
	if s.HasUID {
		items = append(items, ast.Item(keyUID, ast.UIntNumberTerm(uint64(s.UID))))
		holds = in.conditions.uids.match(s.UID, holds)
	}
	items = set(items, keyMatching, holds)
	return process{ast.ObjectTerm(items...), holds}
}

// subjectTexts are the facts that patterns are matched against.
func subjectTexts(s *rule.Subject) [fieldCount]string {
	texts := [fieldCount]string{fieldExe: s.Exe, fieldName: s.Name, fieldScript: s.Script, fieldCmdline: s.Cmdline,
		fieldCgroup: s.Cgroup, fieldUnit: s.Unit, fieldContainer: s.Container, fieldPackage: s.Package}
	if s.Kind == event.ExecutableFile {
		texts[fieldFile] = s.Exe // a path of another view does not begin with a slash
	}
	return texts
}

// maxSubjects bounds the objects that are kept; a process makes many
// connections, and its parents stand above many others.
const maxSubjects = 4096

// subjectCache keeps the objects of subjects, in two generations: what was not
// used while the younger one filled up is forgotten.
type subjectCache struct {
	mu         sync.Mutex // guards all below
	young, old map[rule.Subject]process
}

func (c *subjectCache) get(s *rule.Subject) (process, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p, ok := c.young[*s]; ok {
		return p, true
	}
	p, ok := c.old[*s]
	if ok {
		c.keep(s, p)
	}
	return p, ok
}

func (c *subjectCache) put(s *rule.Subject, p process) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.keep(s, p)
}

func (c *subjectCache) keep(s *rule.Subject, p process) {
	if c.young == nil || len(c.young) >= maxSubjects/2 {
		c.young, c.old = make(map[rule.Subject]process, 64), c.young
	}
	c.young[*s] = p
}
