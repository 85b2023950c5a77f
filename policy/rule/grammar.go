package rule

import (
	"fmt"
	"slices"
	"sync"

	"gopkg.in/yaml.v3"

	"snitch/monitor/event"
)

// grammar is all tables of the rule files.
type grammar struct {
	file     table[ruleFile]
	list     table[listDecl]
	rule     table[Rule]
	confine  table[Confine]
	match    table[Match] // of an exception
	subjects table[processOnly]
	process  table[ProcessMatch]
	endpoint table[EndpointMatch]
	tests    testGrammar
	homes    map[string]string // key name → which mapping it belongs into, for hints
}

// language is the one grammar, which nobody changes.
var language = sync.OnceValue(newGrammar)

// processOnly is an exception of a confine entry.
type processOnly struct{ process *ProcessMatch }

func newGrammar() *grammar {
	g := &grammar{
		file: table[ruleFile]{what: "a rule file"}, list: table[listDecl]{what: "a list from a file"},
		rule: table[Rule]{what: "a rule"}, confine: table[Confine]{what: "a confine entry"},
		match: table[Match]{what: "an exception"}, subjects: table[processOnly]{what: "an exception of confine"},
		process: table[ProcessMatch]{what: "process", main: "exe"}, endpoint: table[EndpointMatch]{what: "an end (to, from)", main: "host"},
	}
	g.setProcess()
	g.setEndpoint()
	g.setMatch()
	g.setRule()
	g.setConfine()
	g.setFile()
	g.tests.set()
	g.homes = make(map[string]string)
	for _, k := range g.process.names() {
		g.homes[k] = "process"
	}
	for _, k := range g.endpoint.names() {
		g.homes[k] = "to or from"
	}
	for _, k := range g.rule.names() {
		g.homes[k] = "a rule"
	}
	return g
}

func (g *grammar) setProcess() {
	path := scalar("a path or a pattern of paths", stringSchema, parsePath, formatPattern)
	script := scalar(`a path or a pattern of paths, "-m NAME" or none`, stringSchema, parseScript, formatPattern)
	cgroup := scalar("a path of a cgroup or a pattern", stringSchema, parseCgroup, formatPattern)
	word := scalar("a text or a pattern", stringSchema, parseWord, formatPattern)
	marked := scalar("a text or a pattern", stringSchema, parseMarked, formatPattern)
	digest := scalar("a SHA-256", jsonSchema{"type": "string", "pattern": "^[0-9A-Fa-f]{64}$"}, parseDigest, event.Digest.String)
	user := scalar("the name of a user", stringSchema, parseUser, same)
	uid := number(scalar("a user id or a range of them", numberSchema(1<<32-1), parseUID, UIDRange.String))
	nested := mapping(&g.process, "process")
	type P = ProcessMatch
	g.process.set(
		field("exe", "path of the executable; * stays within a directory, ** does not", oneOrMore(path), func(p *P) *[]Pattern { return &p.Exe }),
		field("kind", "what sort of file runs", oneOrMore(kindValue()), func(p *P) *[]event.ExecutableKind { return &p.Kind }),
		field("sha256", "SHA-256 of the executable", oneOrMore(digest), func(p *P) *[]event.Digest { return &p.SHA256 }),
		field("name", "the name that the kernel shows (comm, 15 bytes)", oneOrMore(word), func(p *P) *[]Pattern { return &p.Name }),
		field("script", `path of the script that an interpreter runs, "-m NAME" for a module, none without a script`, oneOrMore(script), func(p *P) *[]Pattern { return &p.Script }),
		field("script_sha256", "SHA-256 of the script", oneOrMore(digest), func(p *P) *[]event.Digest { return &p.ScriptSHA256 }),
		field("cmdline", "the command line, arguments joined by spaces", oneOrMore(word), func(p *P) *[]Pattern { return &p.Cmdline }),
		field("user", "name of the user", oneOrMore(user), func(p *P) *[]string { return &p.User }),
		field("uid", "id of the user", oneOrMore(uid), func(p *P) *[]UIDRange { return &p.UID }),
		field("cgroup", "path of the cgroup", oneOrMore(cgroup), func(p *P) *[]Pattern { return &p.Cgroup }),
		field("unit", "systemd unit, or none", oneOrMore(marked), func(p *P) *[]Pattern { return &p.Unit }),
		field("container", "id of the container, or none", oneOrMore(marked), func(p *P) *[]Pattern { return &p.Container }),
		field("package", `package that owns the executable unchanged, "modified:NAME" when its content differs, or none`, oneOrMore(marked), func(p *P) *[]Pattern { return &p.Package }),
		field("reputation", "what VirusTotal said of the executable, as far as it is known", oneOrMore(reputationValue()), func(p *P) *[]event.Reputation { return &p.Reputation }),
		field("parent", "the process that started it", nested, func(p *P) **P { return &p.Parent }),
		field("ancestor", "any process above it", nested, func(p *P) **P { return &p.Ancestor }),
	)
}

func (g *grammar) setEndpoint() {
	host := scalar("a name, an address, a network or @list", stringSchema, ParseHost, Host.String)
	parse := host.read
	host.read = func(r *reader, n *yaml.Node) (Host, bool) {
		h, ok := parse(r, n)
		if ok && h.Kind == HostList {
			r.refs = append(r.refs, listRef{h.Name, r.pos(n)})
		}
		return h, ok
	}
	port := number(scalar("a port or a range of ports", numberSchema(1<<16-1), parsePort, PortRange.String))
	proto := scalar("a protocol", jsonSchema{"type": "string", "examples": protoNames}, parseProto, same)
	country := scalar("a country", jsonSchema{"type": "string", "pattern": "^[A-Za-z]{2}$"}, parseCountry, same)
	type E = EndpointMatch
	g.endpoint.set(
		field("host", "example.org, *.example.org (below it), .example.org (both), an address, a network or @list", oneOrMore(host), func(e *E) *[]Host { return &e.Host }),
		field("port", "443 or 8000-8099", oneOrMore(port), func(e *E) *[]PortRange { return &e.Port }),
		field("proto", "tcp, udp, …", oneOrMore(proto), func(e *E) *[]string { return &e.Proto }),
		field("scope", "how far away it is", oneOrMore(enumValue("a scope", ScopeLoopback, ScopeLAN, ScopeInternet)), func(e *E) *[]Scope { return &e.Scope }),
		field("country", "two letters of ISO 3166-1", oneOrMore(country), func(e *E) *[]string { return &e.Country }),
	)
}

// matchKeys are the keys of a match behind process.
func (g *grammar) matchKeys() []key[Match] {
	end := mapping(&g.endpoint, "endpoint")
	return []key[Match]{
		field("from", "the end that began", end, func(m *Match) **EndpointMatch { return &m.From }),
		field("to", "the other end; of a listener its own", end, func(m *Match) **EndpointMatch { return &m.To }),
		{
			name: "direction", doc: "who began; out beside to alone, in beside from alone",
			schema: oneOrMore(directionValue()).schema,
			read: func(r *reader, n *yaml.Node, m *Match) {
				m.Direction, _ = oneOrMore(directionValue()).read(r, n)
			},
			write: func(m *Match) *yaml.Node {
				if slices.Equal(m.Direction, defaultDirection(m)) {
					return nil
				}
				return oneOrMore(directionValue()).write(m.Direction)
			},
		},
		field("novelty", "what was never seen before", oneOrMore(noveltyValue()), func(m *Match) *[]Novelty { return &m.Novelty }),
	}
}

func (g *grammar) setMatch() {
	process := field("process", "the process", mapping(&g.process, "process"), func(m *Match) **ProcessMatch { return &m.Process })
	g.match.set(append([]key[Match]{process}, g.matchKeys()...)...)
	g.match.check = finishMatch
}

// processOrAny is process where any must be said: a rule or confine entry
// that was meant to have a condition must not match everything for a typo.
func (g *grammar) processOrAny() value[*ProcessMatch] {
	v := mapping(&g.process, "process")
	read := v.read
	v.schema = jsonSchema{"anyOf": []any{v.schema, jsonSchema{"const": "any"}}}
	v.read = func(r *reader, n *yaml.Node) (*ProcessMatch, bool) {
		if n.Kind == yaml.ScalarNode && n.Value == "any" && r.plain(n) {
			return nil, true
		}
		if n.Tag == "!!null" {
			r.fail(n, "process has no value: write process: any if you mean every process")
			return nil, false
		}
		return read(r, n)
	}
	return v
}

func (g *grammar) setRule() {
	process := field("process", `the process, or "any"`, g.processOrAny(), func(rule *Rule) **ProcessMatch { return &rule.Match.Process })
	write := process.write
	process.write = func(rule *Rule) *yaml.Node {
		if rule.Match.IsZero() {
			return textNode("any")
		}
		return write(rule)
	}
	keys := []key[Rule]{
		needed(field("id", "names the rule in the log", idValue(), func(rule *Rule) *string { return &rule.ID })),
		needed(field("action", "allow, alert or deny", enumValue("an action", event.ActionAllow, event.ActionAlert, event.ActionDeny), func(rule *Rule) *event.Action { return &rule.Action })),
		field("mode", "audit: record what the rule would do, no more", modeValue(), func(rule *Rule) *event.Mode { return &rule.Mode }),
		field("reason", "one line for people", reasonValue(), func(rule *Rule) *string { return &rule.Reason }),
		field("expires", "RFC 3339; the rule stops voting then", timeValue(), func(rule *Rule) *expiry { return &rule.Expires }),
		process,
	}
	keys = append(keys, within(g.matchKeys(), func(rule *Rule) *Match { return &rule.Match })...)
	keys = append(keys, field("except", "what a deny or alert rule leaves alone", sequence(&g.match, "match"), func(rule *Rule) *[]Match { return &rule.Except }))
	g.rule.set(keys...)
	g.rule.begin = func(r *reader, n *yaml.Node, into *Rule) {
		into.Pos, into.Mode = r.pos(n), event.ModeEnforce
		into.where = make(map[string]Position)
		r.where, r.path = into.where, ""
	}
	g.rule.check = checkRule
}

func checkRule(r *reader, n *yaml.Node, rule *Rule) {
	r.where = nil // the rule is read
	finishMatch(r, n, &rule.Match)
	tried := slices.ContainsFunc([]string{"process", "from", "to", "direction", "novelty"}, func(key string) bool { return hasKey(n, key) })
	if rule.Match.IsZero() && !tried {
		r.fail(n, "a rule without a condition matches every connection: write process: any if you mean that")
	}
	if len(rule.Except) > 0 && rule.Action == event.ActionAllow {
		r.error(rule.where["except"], "an allow rule has no exceptions: they would only hide a deny; write a deny rule for them")
	}
}

func (g *grammar) setConfine() {
	g.subjects.set(needed(field("process", "the process", mapping(&g.process, "process"), func(p *processOnly) **ProcessMatch { return &p.process })))
	except := sequence(&g.subjects, "confine_except")
	g.confine.set(
		needed(field("id", "names the entry in the log", idValue(), func(c *Confine) *string { return &c.ID })),
		field("mode", "audit: record what the entry would do, no more", modeValue(), func(c *Confine) *event.Mode { return &c.Mode }),
		field("reason", "one line for people", reasonValue(), func(c *Confine) *string { return &c.Reason }),
		field("expires", "RFC 3339; the entry stops voting then", timeValue(), func(c *Confine) *expiry { return &c.Expires }),
		key[Confine]{
			name: "process", doc: `the processes that may do only what an allow rule grants, or "any"`, required: true,
			schema: g.processOrAny().schema, inner: &g.process.outline,
			read: func(r *reader, n *yaml.Node, c *Confine) { c.Process, _ = g.processOrAny().read(r, n) },
			write: func(c *Confine) *yaml.Node {
				if c.Process == nil {
					return textNode("any")
				}
				return g.process.write(c.Process)
			},
		},
		key[Confine]{
			name: "except", doc: "processes that are not confined after all", schema: except.schema, inner: except.inner,
			read: func(r *reader, n *yaml.Node, c *Confine) {
				list, _ := except.read(r, n)
				for _, p := range list {
					if p.process != nil {
						c.Except = append(c.Except, *p.process)
					}
				}
			},
			write: func(c *Confine) *yaml.Node {
				var list []processOnly
				for i := range c.Except {
					list = append(list, processOnly{&c.Except[i]})
				}
				return except.write(list)
			},
		},
	)
	g.confine.begin = func(r *reader, n *yaml.Node, c *Confine) {
		c.Pos, c.Mode = r.pos(n), event.ModeEnforce
		r.where, r.path = nil, ""
	}
}

// enumValue is a word of a fixed list.
func enumValue[T interface {
	comparable
	fmt.Stringer
}](what string, values ...T) value[T] {
	names, parse := enum(what, values...)
	return scalar(what, jsonSchema{"enum": names}, parse, T.String)
}

func kindValue() value[event.ExecutableKind] {
	return enumValue("a kind of executable", event.ExecutableFile, event.ExecutableDeleted, event.ExecutableMemfd, event.ExecutableKernel, event.ExecutableUnknown)
}

func directionValue() value[event.Direction] {
	return enumValue("a direction", event.Out, event.In, event.Listen)
}

func reputationValue() value[event.Reputation] {
	return enumValue("a reputation", event.Reputations()...)
}

func noveltyValue() value[Novelty] {
	return enumValue("a novelty", NoveltyProgram, NoveltyHash, NoveltyParent, NoveltyDestination, NoveltyListener)
}

func modeValue() value[event.Mode] {
	v := enumValue("a mode", event.ModeEnforce, event.ModeAudit)
	write := v.write
	v.write = func(m event.Mode) *yaml.Node {
		if m != event.ModeAudit { // the default goes without saying
			return nil
		}
		return write(m)
	}
	return v
}

func idValue() value[string] {
	return scalar("an id", jsonSchema{"type": "string", "pattern": "^[a-z0-9][a-z0-9._-]{0,63}$"}, parseID, same)
}

func reasonValue() value[string] {
	return optional(scalar("one line of text", jsonSchema{"type": "string", "maxLength": maxReason}, parseReason, same))
}

func timeValue() value[expiry] {
	v := scalar("a time with its zone", jsonSchema{"type": "string", "format": "date-time"}, parseTime, formatTime)
	v.write = func(t expiry) *yaml.Node {
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!timestamp", Value: formatTime(t)}
	}
	return optional(v)
}

func same(s string) string { return s }

var stringSchema = jsonSchema{"type": "string", "minLength": 1}

// numberSchema is a decimal number up to a bound, or a range in text.
func numberSchema(most uint64) jsonSchema {
	return jsonSchema{"anyOf": []any{
		jsonSchema{"type": "integer", "minimum": 0, "maximum": most},
		jsonSchema{"type": "string", "pattern": "^[0-9]+( *- *[0-9]+)?$"},
	}}
}
