package enforce

import (
	"fmt"
	"strings"

	"snitch/monitor/event"
	"snitch/policy/rule"
)

// maxNeeds bounds the places that snitch itself talks to.
const maxNeeds = 16

// Need is a place that a helper of snitch talks to because the configuration says
// so. A rule lets it, and nothing else, and is shown like every other.
type Need struct {
	Name  string `json:"name"` // of the rule, behind ProtectedPrefix
	Why   string `json:"why"`
	Host  string `json:"host"` // a name or an address
	Port  uint16 `json:"port"`
	Proto string `json:"proto"` // tcp or udp
	// Below says that the helper has other programs do it, as git has ssh.
	Below bool `json:"below,omitempty"`
}

func (n *Need) valid() bool {
	host, err := rule.ParseHost(n.Host)
	plainName := n.Name != "" && strings.Trim(n.Name, "abcdefghijklmnopqrstuvwxyz-") == ""
	return err == nil && (host.Kind == rule.HostName || host.Kind == rule.HostNet && host.Net.IsSingleIP()) && n.Port != 0 &&
		(n.Proto == "tcp" || n.Proto == "udp") && plainName
}

// Valid says why no rule can be made of n; nil if one can.
func (n *Need) Valid() error {
	if !n.valid() {
		return fmt.Errorf("%s:%d by %s is no place that a rule could name", n.Host, n.Port, n.Proto)
	}
	return nil
}

// needed are the rules for one need. They lift confinements; a deny rule of a
// person's beats them.
func (p *Protected) needed(n *Need) []rule.Rule {
	h := p.Helper
	host, err := rule.ParseHost(n.Host)
	if err != nil || h == nil || strings.Contains(h.Exe, "*") {
		return nil
	}
	to := func(port uint16, protos ...string) *rule.EndpointMatch {
		return &rule.EndpointMatch{Port: []rule.PortRange{{First: port, Last: port}}, Proto: protos}
	}
	there := to(n.Port, n.Proto)
	there.Host = []rule.Host{host}
	out := []rule.Rule{{ID: ProtectedPrefix + n.Name, Reason: n.Why, Match: rule.Match{Process: h.acts(n.Below), To: there, Direction: []event.Direction{event.Out}}}}
	if n.Below {
		out = append(out, rule.Rule{ID: ProtectedPrefix + n.Name + "-names", Reason: n.Why + ": its name",
			Match: rule.Match{Process: h.acts(true), To: to(53, "tcp", "udp"), Direction: []event.Direction{event.Out}}})
	}
	return out
}

// acts is snitch's helper, or what a helper started: in either case a process of
// the user that nobody logs in as, below a process of snitch.
func (h *Helper) acts(below bool) *rule.ProcessMatch {
	m := h.match()
	if below {
		m.Ancestor, m.Exe, m.Parent = m.Parent, nil, nil
	}
	return m
}
