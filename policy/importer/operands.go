package importer

import (
	"strconv"
	"strings"

	"snitch/policy/rule"
)

// openOperand adds the condition that one operand of OpenSnitch makes.
func (d *draft) openOperand(o *openOperator, values []string) (err error) {
	switch o.Operand {
	case "process.path":
		return d.paths(values, &d.process().Exe, o.Operand)
	case "process.parent.path":
		p := d.process()
		if p.Ancestor == nil {
			p.Ancestor = &rule.ProcessMatch{}
		}
		return d.paths(values, &p.Ancestor.Exe, o.Operand)
	case "process.command":
		return d.commands(values)
	case "user.id":
		uids, err := each(values, uidRange)
		if err != nil {
			return err
		}
		return once(&d.process().UID, uids, o.Operand)
	case "user.name":
		return once(&d.process().User, values, o.Operand)
	case "protocol":
		return d.protocols(values)
	case "dest.host", "dest.ip", "dest.network":
		return d.destination(d.to(), o.Operand, values)
	case "source.ip", "source.network":
		return d.destination(d.from(), o.Operand, values)
	case "dest.port", "source.port":
		ports, err := each(values, portRange)
		if err != nil {
			return err
		}
		end := d.to()
		if o.Operand == "source.port" {
			end = d.from()
		}
		return once(&end.Port, ports, o.Operand)
	}
	return refuse("operand %q is not known", shown(o.Operand))
}

// paths makes patterns of paths: a star of an expression crosses slashes.
func (d *draft) paths(values []string, to *[]rule.Pattern, what string) error {
	var out []rule.Pattern
	for _, v := range values {
		v = squeeze(strings.ReplaceAll(v, some, "*"))
		if v == "*" {
			return refuse("%s matches every program", what)
		}
		if !strings.HasPrefix(v, "/") && !strings.HasPrefix(v, "*") {
			return refuse("%q is no absolute path", shown(v))
		}
		if strings.HasPrefix(v, "*") {
			d.note("%s: a pattern that does not begin with / also matches programs in containers", what)
		}
		out = append(out, rule.Pattern{Text: strings.ReplaceAll(v, "*", "**"), Kind: rule.PathPattern})
	}
	return once(to, out, what)
}

func (d *draft) commands(values []string) error {
	var out []rule.Pattern
	for _, v := range values {
		if strings.Contains(v, some) {
			return refuse("process.command: .+ has no pattern here")
		}
		out = append(out, rule.Pattern{Text: squeeze(v), Kind: rule.WordPattern})
	}
	d.note("process.command: a command line is what the program says of itself")
	return once(&d.process().Cmdline, out, "process.command")
}

// squeeze makes one star of several.
func squeeze(s string) string {
	for strings.Contains(s, "**") {
		s = strings.ReplaceAll(s, "**", "*")
	}
	return s
}

func uidRange(s string) (rule.UIDRange, error) {
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil {
		return rule.UIDRange{}, refuse("%q is no user id", shown(s))
	}
	return rule.UIDRange{First: uint32(n), Last: uint32(n)}, nil
}

// foreignProtocols are names of protocols that differ from those here.
var foreignProtocols = map[string]string{"tcp6": "tcp", "udp6": "udp", "udplite6": "udplite", "sctp6": "sctp", "icmp6": "icmpv6"}

func (d *draft) protocols(values []string) error {
	var out []string
	for _, v := range values {
		v = strings.ToLower(v)
		if same, ok := foreignProtocols[v]; ok {
			if same != "icmpv6" {
				d.note("protocol %s is %s here, of both families", v, same)
			}
			v = same
		}
		if !knownProtocol(v) {
			return refuse("protocol %q is not known", shown(v))
		}
		out = append(out, v)
	}
	return once(&d.to().Proto, out, "protocol")
}

func knownProtocol(s string) bool {
	switch s {
	case "tcp", "udp", "udplite", "icmp", "icmpv6", "sctp":
		return true
	}
	n, ok := strings.CutPrefix(s, "ip-")
	v, err := strconv.ParseUint(n, 10, 8)
	return ok && err == nil && strconv.FormatUint(v, 10) == n
}

// destination adds hosts: names, addresses, networks, or the name of a set of
// networks.
func (d *draft) destination(end *rule.EndpointMatch, operand string, values []string) error {
	if strings.HasSuffix(operand, ".network") && len(values) == 1 {
		switch strings.ToUpper(values[0]) { // its aliases; an administrator may have changed them
		case "LAN":
			d.note("%s LAN is scope lan and loopback here", operand)
			return once(&end.Scope, []rule.Scope{rule.ScopeLoopback, rule.ScopeLAN}, operand)
		case "MULTICAST":
			values = remoteNets["multicast"]
		}
	}
	var hosts []rule.Host
	for _, v := range values {
		found, err := hostsOf(operand, strings.ReplaceAll(v, some, "*"))
		if err != nil {
			return err
		}
		hosts = append(hosts, found...)
	}
	return once(&end.Host, hosts, operand)
}

func hostsOf(operand, v string) ([]rule.Host, error) {
	if operand != "dest.host" {
		if prefix, ok := octets(v); ok {
			return addresses(prefix)
		}
		return addresses(v)
	}
	kind := rule.HostName
	if name, ok := strings.CutPrefix(v, "*."); ok {
		kind, v = rule.HostBelow, name
	} else if strings.HasPrefix(v, "*") {
		return nil, refuse("dest.host %s: a name here is whole labels", shown(v))
	}
	h, err := hostName(kind, v)
	return []rule.Host{h}, err
}

// octets makes a network of what an expression like "192.168.*" says.
func octets(v string) (string, bool) {
	head, ok := strings.CutSuffix(v, ".*")
	parts := strings.Split(head, ".")
	if !ok || len(parts) > 3 {
		return "", false
	}
	for _, p := range parts {
		if n, err := strconv.ParseUint(p, 10, 8); err != nil || strconv.FormatUint(n, 10) != p {
			return "", false
		}
	}
	return head + strings.Repeat(".0", 4-len(parts)) + "/" + strconv.Itoa(8*len(parts)), true
}
