package enforce

import (
	"net/netip"
	"testing"

	"snitch/monitor/event"
	"snitch/policy/rule"
	"snitch/policy/table"
)

// TestProtectedNeeds: under a confinement of everything, snitch's helpers reach
// the places of the configuration, by address and by name, and nobody and nothing
// else does.
func TestProtectedNeeds(t *testing.T) {
	p := Protected{Helper: &Helper{Exe: "/usr/bin/snitch", UID: 990}, Needs: []Need{
		{Name: "syslog", Why: "logs", Host: "192.0.2.9", Port: 6514, Proto: "tcp"},
		{Name: "remote-sql", Why: "record", Host: "db.example.net", Port: 5432, Proto: "tcp"},
		{Name: "fleet", Why: "rules", Host: "git.example.net", Port: 22, Proto: "tcp", Below: true}}}
	set, err := p.Merge(rule.NewSet(nil, []rule.Confine{{ID: "all", Mode: event.ModeEnforce}}, nil, nil))
	if err != nil {
		t.Fatal(err)
	}
	data, err := p.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if back, err := ParseProtected(data); err != nil || len(back.Rules()) != len(p.Rules()) {
		t.Errorf("from the record came %+v, %v", back, err)
	}
	self := rule.Subject{Exe: "/usr/bin/snitch", Kind: event.ExecutableFile, HasUID: true}
	helper := self
	helper.UID = 990
	ssh := rule.Subject{Exe: "/usr/bin/ssh", Kind: event.ExecutableFile, UID: 990, HasUID: true}
	git := rule.Subject{Exe: "/usr/bin/git", Kind: event.ExecutableFile, UID: 990, HasUID: true}
	login := rule.Subject{Exe: "/usr/bin/bash", Kind: event.ExecutableFile, HasUID: true}
	for name, c := range map[string]struct {
		who   rule.Subject
		above []rule.Subject
		to    string
		name  string // by a trusted answer
		proto string
		want  string // rule; "": denied
	}{
		"syslog":                       {helper, []rule.Subject{self}, "192.0.2.9:6514", "", "tcp", "syslog"},
		"syslog, another port":         {helper, []rule.Subject{self}, "192.0.2.9:80", "", "tcp", ""},
		"syslog, another protocol":     {helper, []rule.Subject{self}, "192.0.2.9:6514", "", "udp", ""},
		"syslog, another address":      {helper, []rule.Subject{self}, "192.0.2.10:6514", "", "tcp", ""},
		"a name":                       {helper, []rule.Subject{self}, "198.51.100.1:5432", "db.example.net", "tcp", "remote-sql"},
		"another name":                 {helper, []rule.Subject{self}, "198.51.100.1:5432", "db.example.org", "tcp", ""},
		"no name":                      {helper, []rule.Subject{self}, "198.51.100.1:5432", "", "tcp", ""},
		"another user":                 {self, []rule.Subject{self}, "192.0.2.9:6514", "", "tcp", ""},
		"another program":              {git, []rule.Subject{self}, "192.0.2.9:6514", "", "tcp", ""},
		"started by a person":          {helper, []rule.Subject{login}, "192.0.2.9:6514", "", "tcp", ""},
		"ssh of git of the helper":     {ssh, []rule.Subject{git, helper, self}, "198.51.100.2:22", "git.example.net", "tcp", "fleet"},
		"which asks for the name":      {ssh, []rule.Subject{git, helper, self}, "9.9.9.9:53", "", "udp", "fleet-names"},
		"ssh of git to elsewhere":      {ssh, []rule.Subject{git, helper, self}, "198.51.100.2:22", "evil.example", "tcp", ""},
		"ssh of git of nobody we know": {ssh, []rule.Subject{git, login}, "198.51.100.2:22", "git.example.net", "tcp", ""},
	} {
		t.Run(name, func(t *testing.T) {
			to := netip.MustParseAddrPort(c.to)
			f := &rule.Facts{Direction: event.Out, Proto: c.proto, Process: c.who, Ancestors: c.above, To: rule.Endpoint{Addr: to.Addr(), Port: to.Port(), HasPort: true}}
			if c.name != "" {
				f.To.Names = []rule.Name{{Domain: c.name, Source: event.NameDNS, Trusted: true}}
			}
			d, inKernel := weigh(t, set, f)
			if inKernel != table.Ask && inKernel.Action() != d.Action {
				t.Errorf("OPA says %s, the kernel's tables %v", d.Action, inKernel)
			}
			if c.want == "" && d.Action != event.ActionDeny || c.want != "" && (d.Action != event.ActionAllow || d.Rule != ProtectedPrefix+c.want) {
				t.Errorf("got %s by %s, want %q", d.Action, d.Rule, c.want)
			}
		})
	}
}

// TestNeedValid: what no rule could name is refused, also when it comes from a
// record that somebody changed.
func TestNeedValid(t *testing.T) {
	good := Need{Name: "syslog", Host: "log.example.net", Port: 1, Proto: "udp"}
	if err := good.Valid(); err != nil {
		t.Error(err)
	}
	for name, change := range map[string]func(*Need){
		"a network":   func(n *Need) { n.Host = "0.0.0.0/0" },
		"all names":   func(n *Need) { n.Host = "*" },
		"names below": func(n *Need) { n.Host = "*.example.net" },
		"a list":      func(n *Need) { n.Host = "@everywhere" },
		"no host":     func(n *Need) { n.Host = "" },
		"no port":     func(n *Need) { n.Port = 0 },
		"no protocol": func(n *Need) { n.Proto = "" },
		"no name":     func(n *Need) { n.Name = "" },
		"a number":    func(n *Need) { n.Name = "ssh-1" },
	} {
		n := good
		change(&n)
		if n.Valid() == nil {
			t.Errorf("%s: %+v is valid", name, n)
		}
		data, err := (&Protected{Needs: []Need{n}}).Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ParseProtected(data); err == nil {
			t.Errorf("%s was read", name)
		}
	}
}
