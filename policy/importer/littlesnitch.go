package importer

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"snitch/monitor/event"
	"snitch/policy/rule"
)

// littleGroup is a rule group of Little Snitch (its help, "The .lsrules file
// format").
type littleGroup struct {
	Name          string       `json:"name"`
	Description   string       `json:"description"`
	Rules         []littleRule `json:"rules"`
	DenyDomains   texts        `json:"denied-remote-domains"`
	DenyHosts     texts        `json:"denied-remote-hosts"`
	DenyAddresses texts        `json:"denied-remote-addresses"`
	DenyNotes     string       `json:"denied-remote-notes"`
}

// littleRule keeps every key: one that is not known may be a condition.
type littleRule map[string]json.RawMessage

// texts is a string, items between commas, or an array of strings.
type texts []string

// UnmarshalJSON reads both forms.
func (t *texts) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) == nil {
		*t = nil
		for s := range strings.SplitSeq(one, ",") {
			if s = strings.TrimSpace(s); s != "" {
				*t = append(*t, s)
			}
		}
		return nil
	}
	var many []string
	if err := json.Unmarshal(b, &many); err != nil {
		return err
	}
	*t = many
	return nil
}

// LittleSnitch reads rule groups of Little Snitch. An error is about a file that
// is none, and nothing is imported.
func LittleSnitch(files []Source) (*Result, error) {
	res := &Result{Product: "Little Snitch", Notes: []string{
		"paths are those of macOS: replace them by those of this system",
		"in Little Snitch the more specific rule wins; here every matching rule votes and the strictest wins",
		"an allow by host name believes only names that this program resolved itself",
	}}
	names, lists := ids{}, ids{}
	for _, f := range files {
		var g littleGroup
		if err := decode(f, &g); err != nil {
			return nil, err
		}
		if len(g.Rules)+len(res.Items) > maxRules {
			return nil, fmt.Errorf("%s: more than %d rules", f.Name, maxRules)
		}
		if len(g.DenyDomains)+len(g.DenyHosts)+len(g.DenyAddresses) > maxItems {
			return nil, fmt.Errorf("%s: more than %d denied hosts", f.Name, maxItems)
		}
		for _, key := range unread(f.Data, "name", "description", "rules", "denied-remote-domains", "denied-remote-hosts", "denied-remote-addresses", "denied-remote-notes") {
			res.Notes = append(res.Notes, fmt.Sprintf("%s: the key %q is not known and not carried over", f.Name, key))
		}
		for i, r := range g.Rules {
			res.Items = append(res.Items, littleItem(f, &g, i, r, names))
		}
		res.blocklist(f, &g, names, lists)
	}
	return res, nil
}

func littleItem(f Source, g *littleGroup, i int, r littleRule, names ids) Item {
	item := Item{File: f.Name, Name: fmt.Sprintf("%s, rule %d", shown(g.Name), i+1)}
	var d draft
	if err := d.littleRule(r); err != nil {
		item.Notes = []string{err.Error()}
		return item
	}
	if d.rule.Reason == "" {
		d.rule.Reason = "imported from Little Snitch: " + item.Name
	}
	d.rule.ID = "unnamed"
	if err := readable(&d.rule); err != nil {
		item.Notes = []string{err.Error()}
		return item
	}
	d.rule.ID = names.make(littleName(g, &d.rule), "littlesnitch")
	item.Rule, item.Notes = &d.rule, d.notes
	return item
}

// littleName makes a name of what a rule is about: rules have none there.
func littleName(g *littleGroup, r *rule.Rule) string {
	name := r.Action.String()
	if p := r.Match.Process; p != nil && len(p.Exe) > 0 {
		name += " " + p.Exe[0].Text[strings.LastIndexByte(p.Exe[0].Text, '/')+1:]
	} else {
		name += " " + g.Name
	}
	for _, e := range []*rule.EndpointMatch{r.Match.To, r.Match.From} {
		if e != nil && len(e.Host) > 0 && e.Host[0].Name != "" {
			return name + " " + e.Host[0].Name
		}
	}
	return name
}

// read takes one key of a rule out of it.
func read[T any](r littleRule, key string) (v T, there bool, err error) {
	raw, ok := r[key]
	delete(r, key)
	if !ok || len(raw) == 0 || string(raw) == "null" {
		return v, false, nil
	}
	if err := json.Unmarshal(raw, &v); err != nil {
		return v, false, refuse("%s has a value of another kind", key)
	}
	return v, true, nil
}

// word reads a key whose value is a text or a number.
func word(r littleRule, key string) (string, error) {
	if n, ok, err := read[json.Number](littleRule{key: r[key]}, key); ok && err == nil {
		delete(r, key)
		return n.String(), nil
	}
	s, _, err := read[string](r, key)
	return s, err
}

// bookkeeping are the keys of exported rules that are no conditions.
var bookkeeping = []string{"creationDate", "modificationDate", "origin", "factoryID", "factoryHelpText", "protected", "hidden"}

func (d *draft) littleRule(in littleRule) error {
	r := maps.Clone(in)
	for _, key := range bookkeeping {
		delete(r, key)
	}
	if disabled, _, err := read[bool](r, "disabled"); err != nil || disabled {
		return refuse("it is disabled")
	}
	for _, step := range []func(littleRule) error{d.littleAction, d.littleProcess, d.littleOwner, d.littleEnds, d.littlePriority} {
		if err := step(r); err != nil {
			return err
		}
	}
	if len(r) > 0 {
		return refuse("the key %q is not known: it may be a condition", shown(slices.Sorted(maps.Keys(r))[0]))
	}
	return nil
}

func (d *draft) littleAction(r littleRule) error {
	action, err := word(r, "action")
	if err != nil {
		return err
	}
	d.rule.Mode = event.ModeEnforce
	switch action {
	case "allow":
		d.rule.Action = event.ActionAllow
	case "deny":
		d.rule.Action = event.ActionDeny
	case "ask", "": // the default
		d.rule.Action = event.ActionAlert
		d.note("ask is an alert here: the connection is not held")
	default:
		return refuse("action %q is not known", shown(action))
	}
	notes, err := word(r, "notes")
	d.rule.Reason = shown(notes)
	return err
}

// littleProcess reads who connects. "via" is the tool that connects on behalf of
// "process", which is above it.
func (d *draft) littleProcess(r littleRule) error {
	process, err := word(r, "process")
	if err != nil {
		return err
	}
	via, err := word(r, "via")
	if err != nil {
		return err
	}
	program := func(s string) ([]rule.Pattern, error) {
		p, err := path(s)
		return []rule.Pattern{p}, err
	}
	if via != "" && via != "any" {
		d.note("via: the tool that connects is the process here, and what it works for an ancestor")
		if d.process().Exe, err = program(via); err != nil {
			return err
		}
		if process != "" && process != "any" {
			d.process().Ancestor = &rule.ProcessMatch{}
			d.process().Ancestor.Exe, err = program(process)
		}
		return err
	}
	if process != "" && process != "any" {
		d.process().Exe, err = program(process)
	}
	return err
}

func (d *draft) littleOwner(r littleRule) error {
	owner, err := word(r, "owner")
	if err == nil && r["uid"] != nil {
		if owner != "" && owner != "any" {
			return refuse("owner %q beside a uid", shown(owner))
		}
		owner, err = word(r, "uid")
		d.note("uid: user ids are those of the other system")
	}
	if err != nil || owner == "" || owner == "any" {
		return err
	}
	if owner == "system" {
		d.note("owner system is user 0 here")
		return once(&d.process().UID, []rule.UIDRange{{First: 0, Last: 0}}, "owner")
	}
	uid, err := uidRange(owner)
	if err != nil {
		return refuse("owner %q: name the user", shown(owner))
	}
	return once(&d.process().UID, []rule.UIDRange{uid}, "owner")
}

func (d *draft) littlePriority(r littleRule) error {
	priority, err := word(r, "priority")
	if err != nil {
		return err
	}
	if priority != "" && priority != "default" && priority != "regular" {
		d.note("priority %s is not carried over: a stricter rule that matches too wins", shown(priority))
	}
	return nil
}

// littleEnds reads the peer, the port and the protocol. The port of an incoming
// connection is the local one.
func (d *draft) littleEnds(r littleRule) error {
	direction, err := word(r, "direction")
	if err != nil {
		return err
	}
	peer := d.to
	switch direction {
	case "", "outgoing":
		d.rule.Match.Direction = []event.Direction{event.Out}
	case "incoming":
		d.rule.Match.Direction = []event.Direction{event.In}
		peer = d.from
	default:
		return refuse("direction %q: make a rule for each", shown(direction))
	}
	if err := d.littleRemote(r, peer); err != nil {
		return err
	}
	ports, _, err := read[texts](littleRule{"ports": quoted(r["ports"])}, "ports")
	delete(r, "ports")
	if err != nil {
		return err
	}
	if len(ports) > 0 && ports[0] != "any" {
		if d.to().Port, err = each(ports, portRange); err != nil {
			return err
		}
	}
	return d.littleProtocol(r)
}

// quoted makes a text of a number.
func quoted(raw json.RawMessage) json.RawMessage {
	if len(raw) > 0 && raw[0] >= '0' && raw[0] <= '9' {
		return json.RawMessage(strconv.Quote(string(raw)))
	}
	return raw
}

func (d *draft) littleProtocol(r littleRule) error {
	protocol, err := word(r, "protocol")
	if err != nil || protocol == "" || protocol == "any" {
		return err
	}
	if n, err := strconv.ParseUint(protocol, 10, 8); err == nil {
		protocol = event.ProtoName(event.AFInet, uint16(n))
	}
	if protocol = strings.ToLower(protocol); !knownProtocol(protocol) {
		return refuse("protocol %q is not known", shown(protocol))
	}
	return once(&d.to().Proto, []string{protocol}, "protocol")
}

// remoteNets are the words of "remote" that are networks.
var remoteNets = map[string][]string{
	"multicast": {"224.0.0.0/4", "ff00::/8"},
	"broadcast": {"255.255.255.255/32"},
	"bonjour":   {"224.0.0.251/32", "ff02::fb/128"},
}

func (d *draft) littleRemote(r littleRule, peer func() *rule.EndpointMatch) error {
	remote, err := word(r, "remote")
	if err != nil {
		return err
	}
	hosts, err := littleHosts(r)
	if err != nil {
		return err
	}
	switch {
	case len(hosts) > 0 && remote != "" && remote != "any":
		return refuse("remote %q beside hosts", shown(remote))
	case len(hosts) > 0:
		peer().Host = hosts
	case remote == "" || remote == "any":
	case remote == "bpf":
		d.note("remote bpf, packets below the network stack, is protocol packet here")
		d.to().Proto = []string{"packet"}
	case remote == "local-net":
		d.note("remote local-net is scope lan here: every private network, not only the own one")
		peer().Scope = []rule.Scope{rule.ScopeLAN}
	case remoteNets[remote] != nil:
		if remote == "broadcast" {
			d.note("remote broadcast is 255.255.255.255 only here")
		}
		for _, n := range remoteNets[remote] {
			peer().Host = append(peer().Host, rule.Host{Kind: rule.HostNet, Net: netip.MustParsePrefix(n)})
		}
	default:
		return refuse("remote %q: name the addresses", shown(remote))
	}
	return nil
}

func littleHosts(r littleRule) ([]rule.Host, error) {
	var out []rule.Host
	for _, key := range []string{"remote-hosts", "remote-domains", "remote-addresses"} {
		items, there, err := read[texts](r, key)
		if err != nil {
			return nil, err
		}
		if there && len(items) == 0 {
			return nil, refuse("%s is empty", key)
		}
		if len(items) > maxItems {
			return nil, refuse("%s has more than %d items", key, maxItems)
		}
		for _, s := range items {
			hosts, err := littleHost(key, s)
			if err != nil {
				return nil, err
			}
			out = append(out, hosts...)
		}
	}
	return out, nil
}

// littleHost reads one item: hosts are exact names, domains also stand for all
// names below.
func littleHost(key, s string) ([]rule.Host, error) {
	kind := rule.HostName
	switch {
	case strings.HasSuffix(key, "addresses"):
		return addresses(s)
	case strings.HasSuffix(key, "domains"):
		kind = rule.HostSuffix
	}
	h, err := hostName(kind, s)
	return []rule.Host{h}, err
}
