package table

import (
	"net/netip"
	"slices"
	"strings"

	"snitch/monitor/event"
	"snitch/policy/rule"
)

// index finds the clauses that can match. Each clause stands under the keys of
// one of its conditions, that whose keys it shares with the fewest others; a
// clause of which no condition has keys is always a candidate.
type index struct {
	always  []int32
	texts   [spaces]map[string][]int32
	digests map[event.Digest][]int32
	ports   map[uint16][]int32
	nets    map[netip.Prefix][]int32
	bits    [2][]int // lengths of the prefixes of nets: IPv4, IPv6
	lists   map[*rule.List][]int32
}

// space keeps texts of different meaning apart.
type space uint8

const (
	exeSpace      space = iota // the whole path
	baseSpace                  // what follows its last slash
	parentSpace                // path of the parent
	ancestorSpace              // path of any process above
	nameSpace                  // of the process
	scriptSpace
	unitSpace
	containerSpace
	packageSpace
	userSpace
	hostSpace // a name of the peer
	tailSpace // the peer's name or what follows one of its dots
	protoSpace
	spaces
)

// indexKey is one key of one kind.
type indexKey struct {
	space  space
	text   string
	digest event.Digest
	port   uint16
	net    netip.Prefix
	list   *rule.List
}

// maxPorts is how many ports a condition may name to be found by them.
const maxPorts = 16

func newIndex(entries []Clause) *index {
	count := map[indexKey]int{}
	options := make([][][]indexKey, len(entries))
	for i := range entries {
		for _, c := range entries[i].Match.conds {
			keys := c.keys()
			if len(keys) == 0 {
				continue
			}
			options[i] = append(options[i], keys)
			for _, k := range keys {
				count[k]++
			}
		}
	}
	x := &index{digests: map[event.Digest][]int32{}, ports: map[uint16][]int32{}, nets: map[netip.Prefix][]int32{}, lists: map[*rule.List][]int32{}}
	for i := range entries {
		if len(options[i]) == 0 {
			x.always = append(x.always, int32(i))
			continue
		}
		x.add(int32(i), slices.MinFunc(options[i], func(a, b []indexKey) int { return crowd(count, a) - crowd(count, b) }))
	}
	return x
}

// crowd is the most clauses that share one of the keys.
func crowd(count map[indexKey]int, keys []indexKey) (n int) {
	for _, k := range keys {
		n = max(n, count[k])
	}
	return n
}

func (x *index) add(i int32, keys []indexKey) {
	for _, k := range keys {
		switch {
		case k.list != nil:
			x.lists[k.list] = append(x.lists[k.list], i)
		case k.net.IsValid():
			x.nets[k.net] = append(x.nets[k.net], i)
			bits := &x.bits[family(k.net.Addr())]
			if at, ok := slices.BinarySearch(*bits, k.net.Bits()); !ok {
				*bits = slices.Insert(*bits, at, k.net.Bits())
			}
		case !k.digest.IsZero():
			x.digests[k.digest] = append(x.digests[k.digest], i)
		case k.text != "":
			if x.texts[k.space] == nil {
				x.texts[k.space] = map[string][]int32{}
			}
			x.texts[k.space][k.text] = append(x.texts[k.space][k.text], i)
		default:
			x.ports[k.port] = append(x.ports[k.port], i)
		}
	}
}

func family(a netip.Addr) int {
	if a.Is4() {
		return 0
	}
	return 1
}

// candidates appends the clauses that can match f, each once, in order.
func (x *index) candidates(f *rule.Facts, to []int32) []int32 {
	to = append(to, x.always...)
	to = x.subjects(f, to)
	to = x.get(protoSpace, f.Proto, to)
	for _, e := range [...]*rule.Endpoint{&f.To, &f.From} {
		to = x.endpoint(e, to)
	}
	slices.Sort(to)
	return slices.Compact(to)
}

func (x *index) get(s space, text string, to []int32) []int32 {
	if m := x.texts[s]; m != nil && text != "" {
		to = append(to, m[text]...)
	}
	return to
}

func (x *index) subjects(f *rule.Facts, to []int32) []int32 {
	p := &f.Process
	to = x.get(exeSpace, p.Exe, to)
	if x.texts[baseSpace] != nil {
		to = x.get(baseSpace, base(p.Exe), to)
	}
	to = x.get(nameSpace, p.Name, to)
	to = x.get(scriptSpace, p.Script, to)
	to = x.get(unitSpace, p.Unit, to)
	to = x.get(containerSpace, p.Container, to)
	to = x.get(packageSpace, p.Package, to)
	to = x.get(userSpace, p.User, to)
	if len(x.digests) > 0 {
		to = append(to, x.digests[p.SHA256]...)
	}
	if len(f.Ancestors) > 0 {
		to = x.get(parentSpace, f.Ancestors[0].Exe, to)
	}
	if x.texts[ancestorSpace] != nil {
		for i := range f.Ancestors {
			to = x.get(ancestorSpace, f.Ancestors[i].Exe, to)
		}
	}
	return to
}

func (x *index) endpoint(e *rule.Endpoint, to []int32) []int32 {
	if e.HasPort && len(x.ports) > 0 {
		to = append(to, x.ports[e.Port]...)
	}
	addr := plain(e.Addr)
	if addr.IsValid() {
		for _, bits := range x.bits[family(addr)] {
			if p, err := addr.Prefix(bits); err == nil {
				to = append(to, x.nets[p]...)
			}
		}
	}
	for i := range e.Names {
		to = x.name(e.Names[i].Domain, to)
	}
	for list, entries := range x.lists {
		if addr.IsValid() && list.MatchAddr(addr) || slices.ContainsFunc(e.Names, func(n rule.Name) bool { return list.MatchName(n.Domain) }) {
			to = append(to, entries...)
		}
	}
	return to
}

func (x *index) name(domain string, to []int32) []int32 {
	to = x.get(hostSpace, domain, to)
	if x.texts[tailSpace] == nil {
		return to
	}
	for tail, more := domain, true; more; {
		to = x.get(tailSpace, tail, to)
		_, tail, more = strings.Cut(tail, ".")
	}
	return to
}

// base is what follows the last slash.
func base(path string) string { return path[strings.LastIndexByte(path, '/')+1:] }

// keys are the keys under which facts that satisfy the condition are found;
// none when there is no complete set of them.
func (c *cond) keys() []indexKey {
	switch t := c.test.(type) {
	case *exeTest:
		return exeKeys(t.patterns, c.level)
	case *ancestorTest:
		return t.keys()
	case *textTest:
		if s, ok := textSpaces[t.field.name]; ok && c.level == 0 {
			return textKeys(t.patterns, s)
		}
	case *digestTest:
		if c.key == "process.sha256" {
			return digestKeys(t.items)
		}
	case userTest:
		if c.level == 0 {
			return plainKeys(t, userSpace)
		}
	case protoTest:
		return plainKeys(t, protoSpace)
	case *portTest:
		return portKeys(t.ranges)
	case *hostTest:
		return hostKeys(t.set)
	}
	return nil
}

var textSpaces = map[string]space{"name": nameSpace, "script": scriptSpace, "unit": unitSpace, "container": containerSpace, "package": packageSpace}

func exeKeys(patterns []rule.Pattern, level int) []indexKey {
	switch level {
	case 0:
		if keys := textKeys(patterns, exeSpace); keys != nil {
			return keys
		}
		return baseKeys(patterns)
	case 1:
		return textKeys(patterns, parentSpace)
	}
	return nil
}

// textKeys are the patterns themselves, if all are literal.
func textKeys(patterns []rule.Pattern, s space) []indexKey {
	keys := make([]indexKey, 0, len(patterns))
	for _, p := range patterns {
		if !p.Literal() || p.Text == "" {
			return nil
		}
		keys = append(keys, indexKey{space: s, text: p.Text})
	}
	return keys
}

// baseKeys are the last segments of the patterns, if none has a star.
func baseKeys(patterns []rule.Pattern) []indexKey {
	keys := make([]indexKey, 0, len(patterns))
	for _, p := range patterns {
		b := base(p.Text)
		if b == "" || strings.Contains(b, "*") {
			return nil
		}
		keys = append(keys, indexKey{space: baseSpace, text: b})
	}
	return keys
}

// keys of an ancestor condition: the literal paths it wants.
func (t *ancestorTest) keys() []indexKey {
	for _, c := range t.conds {
		if exe, ok := c.test.(*exeTest); ok && c.level == 0 {
			return textKeys(exe.patterns, ancestorSpace)
		}
	}
	return nil
}

func plainKeys(texts []string, s space) []indexKey {
	keys := make([]indexKey, len(texts))
	for i, text := range texts {
		if text == "" {
			return nil
		}
		keys[i] = indexKey{space: s, text: text}
	}
	return keys
}

func digestKeys(items []event.Digest) []indexKey {
	keys := make([]indexKey, len(items))
	for i, d := range items {
		if d.IsZero() {
			return nil
		}
		keys[i] = indexKey{digest: d}
	}
	return keys
}

func portKeys(ranges []rule.PortRange) []indexKey {
	var keys []indexKey
	for _, r := range ranges {
		if int(r.Last)-int(r.First)+len(keys) >= maxPorts {
			return nil
		}
		for p := int(r.First); p <= int(r.Last); p++ {
			keys = append(keys, indexKey{port: uint16(p)})
		}
	}
	return keys
}

func hostKeys(s *hostSet) []indexKey {
	keys := make([]indexKey, 0, len(s.few)+len(s.lists))
	for _, h := range s.few {
		switch h.Kind {
		case rule.HostName:
			keys = append(keys, indexKey{space: hostSpace, text: h.Name})
		case rule.HostBelow, rule.HostSuffix:
			keys = append(keys, indexKey{space: tailSpace, text: h.Name})
		case rule.HostNet:
			keys = append(keys, indexKey{net: h.Net.Masked()})
		}
	}
	for _, l := range s.lists {
		keys = append(keys, indexKey{list: l})
	}
	return keys
}
