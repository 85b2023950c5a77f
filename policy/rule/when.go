package rule

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"snitch/monitor/event"
)

// whenYAML is the facts of a case as they are written.
type whenYAML struct {
	process   *subjectYAML
	from, to  *endYAML
	direction event.Direction
	novelty   []Novelty
}

type subjectYAML struct {
	Subject
	uid       string
	parent    *subjectYAML
	ancestors []subjectYAML
}

type endYAML struct {
	Endpoint
	domains []string
	source  event.NameSource
	trusted string
	port    string
	proto   string
}

func (g *testGrammar) setSubject() {
	type S = subjectYAML
	text := optional(scalar("a text", stringSchema, parseFact, same))
	path := optional(scalar("a path", stringSchema, parseFactPath, same))
	script := optional(scalar(`a path, "-m NAME" or none`, stringSchema, parseFactScript, same))
	digest := optional(scalar("a SHA-256", jsonSchema{"type": "string", "pattern": "^[0-9A-Fa-f]{64}$"}, parseDigest, event.Digest.String))
	uid := optional(scalar("a user id", jsonSchema{"type": "integer", "minimum": 0, "maximum": uint64(1<<32 - 1)}, parseFactUID, same))
	uid.write = numberOrNone
	g.subject.set(
		field("exe", "path of the executable", path, func(s *S) *string { return &s.Exe }),
		field("kind", "what sort of file runs; beside exe: file", optional(kindValue()), func(s *S) *event.ExecutableKind { return &s.Kind }),
		field("sha256", "SHA-256 of the executable", digest, func(s *S) *event.Digest { return &s.SHA256 }),
		field("name", "the name that the kernel shows", text, func(s *S) *string { return &s.Name }),
		field("script", `path of the script, "-m NAME" or none`, script, func(s *S) *string { return &s.Script }),
		field("script_sha256", "SHA-256 of the script", digest, func(s *S) *event.Digest { return &s.ScriptSHA256 }),
		field("cmdline", "the command line", text, func(s *S) *string { return &s.Cmdline }),
		field("user", "name of the user", optional(scalar("the name of a user", stringSchema, parseUser, same)), func(s *S) *string { return &s.User }),
		field("uid", "id of the user", uid, func(s *S) *string { return &s.uid }),
		field("cgroup", "path of the cgroup", text, func(s *S) *string { return &s.Cgroup }),
		field("unit", "systemd unit, or none", text, func(s *S) *string { return &s.Unit }),
		field("container", "id of the container, or none", text, func(s *S) *string { return &s.Container }),
		field("package", `package of the executable, "modified:NAME" or none`, text, func(s *S) *string { return &s.Package }),
		field("reputation", "what VirusTotal said of the executable", optional(reputationValue()), func(s *S) *event.Reputation { return &s.Reputation }),
		field("parent", "the process that started it", mapping(&g.subject, "subject"), func(s *S) **S { return &s.parent }),
		field("ancestors", "the processes above it, the parent first", sequence(&g.subject, "subject"), func(s *S) *[]S { return &s.ancestors }),
	)
	g.subject.check = func(r *reader, n *yaml.Node, s *S) {
		if s.parent != nil && len(s.ancestors) > 0 {
			r.fail(n, "parent beside ancestors: the parent is the first of ancestors, write one of them")
		}
		if s.Kind == event.ExecutableInvalid && s.Exe != "" {
			s.Kind = event.ExecutableFile
		}
		if s.uid != "" {
			u, _ := parseUID(s.uid) // checked when it was read
			s.UID, s.HasUID = u.First, true
		}
	}
}

func (g *testGrammar) setWhen() {
	g.setEnd()
	end := g.endValue()
	type W = whenYAML
	g.when.set(
		field("process", "the process", mapping(&g.subject, "subject"), func(w *W) **subjectYAML { return &w.process }),
		field("from", "the end that began", end, func(w *W) **endYAML { return &w.from }),
		field("to", "the other end; of a listener its own", end, func(w *W) **endYAML { return &w.to }),
		field("direction", "who began; out beside to alone, in beside from alone", optional(directionValue()), func(w *W) *event.Direction { return &w.direction }),
		field("novelty", "what was never seen before", oneOrMore(noveltyValue()), func(w *W) *[]Novelty { return &w.novelty }),
	)
	g.when.check = func(r *reader, n *yaml.Node, w *W) {
		switch {
		case w.direction != event.DirectionInvalid:
		case w.to != nil && w.from == nil:
			w.direction = event.Out
		case w.from != nil && w.to == nil:
			w.direction = event.In
		case !hasKey(n, "direction") && hasKey(n, "to") == hasKey(n, "from"): // else that key is the mistake
			r.fail(n, "when has to say the direction here: add direction: out, in or listen")
		}
		if w.direction == event.Listen && w.from != nil {
			r.fail(n, "a listener has no peer: write its own address and port as to")
		}
		if w.from != nil && w.to != nil && w.from.proto != "" && w.to.proto != "" && w.from.proto != w.to.proto {
			r.fail(n, "from says %s and to says %s, but a connection has one protocol", w.from.proto, w.to.proto)
		}
	}
}

func (g *testGrammar) setEnd() {
	type E = endYAML
	name := scalar("a domain name", stringSchema, NormalizeName, same)
	port := optional(scalar("a port", jsonSchema{"type": "integer", "minimum": 0, "maximum": 65535}, parseFactPort, same))
	port.write = numberOrNone
	trusted := optional(scalar("true or false", jsonSchema{"type": "boolean"}, parseBool, same))
	trusted.read = readBool
	trusted.write = boolOrNone
	g.end.set(
		field("domain", "name of the peer, or several", oneOrMore(name), func(e *E) *[]string { return &e.domains }),
		field("domain_source", "where the name came from (docs/names.md), dns without it", optional(sourceValue()), func(e *E) *event.NameSource { return &e.source }),
		field("domain_trusted", "whether an allow may rest on the name; without it: as sources dns, resolved and dns-other usually are", trusted, func(e *E) *string { return &e.trusted }),
		field("ip", "the address", optional(scalar("an address", stringSchema, parseAddr, netip.Addr.String)), func(e *E) *netip.Addr { return &e.Addr }),
		field("port", "the port", port, func(e *E) *string { return &e.port }),
		field("proto", "tcp, udp, …", optional(scalar("a protocol", stringSchema, parseProto, same)), func(e *E) *string { return &e.proto }),
		field("country", "two letters of ISO 3166-1", optional(scalar("a country", stringSchema, parseCountry, same)), func(e *E) *string { return &e.Country }),
	)
	g.end.check = func(r *reader, n *yaml.Node, e *E) {
		if len(e.domains) == 0 && (e.source != event.NameNone || e.trusted != "") {
			r.fail(n, "domain_source and domain_trusted say something of a domain: add domain")
		}
		e.finish()
	}
}

// finish fills the endpoint from what was written.
func (e *endYAML) finish() {
	if e.port != "" {
		p, _ := parsePort(e.port) // checked when it was read
		e.Port, e.HasPort = p.First, true
	}
	source := e.source
	if source == event.NameNone {
		source = event.NameDNS
	}
	for _, d := range e.domains {
		n := Name{Domain: d, Source: source, Trusted: e.trusted == "true"}
		if e.trusted == "" {
			n.Trusted = slices.Contains([]event.NameSource{event.NameDNS, event.NameResolved, event.NameDNSOther}, source)
		}
		e.Names = append(e.Names, n)
	}
}

// endValue is an end in one text (tcp://name[address]:port) or as a mapping.
func (g *testGrammar) endValue() value[*endYAML] {
	v := mapping(&g.end, "end")
	read, what := v.read, "an end as tcp://name[address]:port"
	v.schema = jsonSchema{"anyOf": []any{jsonSchema{"type": "string", "pattern": "^[a-z0-9-]+://"}, v.schema}}
	v.read = func(r *reader, n *yaml.Node) (*endYAML, bool) {
		if n.Kind != yaml.ScalarNode {
			return read(r, n)
		}
		text, ok := r.text(n, what)
		if !ok {
			return nil, false
		}
		e, err := parseEnd(text)
		if err != nil {
			r.fail(n, "%s", err)
			return nil, false
		}
		return &e, true
	}
	return v
}

// facts puts the parts together.
func (w *whenYAML) facts() Facts {
	f := Facts{Direction: w.direction, Novelty: w.novelty}
	if w.process != nil {
		f.Process = w.process.Subject
		f.Ancestors = w.process.lineage()
	}
	if w.from != nil {
		f.From, f.Proto = w.from.Endpoint, w.from.proto
	}
	if w.to != nil {
		f.To = w.to.Endpoint
		if w.to.proto != "" {
			f.Proto = w.to.proto
		}
	}
	return f
}

// lineage is the processes above s, the parent first.
func (s *subjectYAML) lineage() []Subject {
	var out []Subject
	for _, a := range s.ancestors {
		out = append(out, a.Subject)
	}
	for p := s.parent; p != nil; p = p.parent {
		out = append(out, p.Subject)
		for _, a := range p.ancestors {
			out = append(out, a.Subject)
		}
	}
	return out
}

func sourceValue() value[event.NameSource] {
	v := enumValue("a source of names", event.NameDNS, event.NameResolved, event.NameSNI, event.NameQUIC, event.NameHosts, event.NameReverse, event.NameDNSOther)
	return v
}

// hasKey reports whether a mapping has a key, whatever its value.
func hasKey(n *yaml.Node, name string) bool {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == name {
			return true
		}
	}
	return false
}

// parseFact refuses a star: in a fact it would be a character, which nobody
// means.
func parseFact(s string) (string, error) {
	if strings.Contains(s, "*") && strings.Trim(s, "*") == "" {
		return "", fmt.Errorf("%q: a case has facts, not patterns; leave the key out for a fact that is not known", clip(s))
	}
	return s, nil
}

func parseFactPath(s string) (string, error) {
	if strings.Contains(s, "*") {
		return "", fmt.Errorf("%q: a case has facts, not patterns; write one path", clip(s))
	}
	if !strings.HasPrefix(s, "/") && viewPrefix(s) == "" {
		return "", fmt.Errorf("%q is not a whole path: begin with /", clip(s))
	}
	_, err := parsePath(s)
	return s, err
}

func parseFactScript(s string) (string, error) {
	if s == None || strings.HasPrefix(s, "-m ") {
		return s, nil
	}
	return parseFactPath(s)
}

func parseFactUID(s string) (string, error) {
	_, err := parseNumber(s, "a user id", 32)
	return s, err
}

func parseFactPort(s string) (string, error) {
	_, err := parseNumber(s, "a port", 16)
	return s, err
}

func numberOrNone(s string) *yaml.Node {
	if s == "" {
		return nil
	}
	return numberNode(s)
}
