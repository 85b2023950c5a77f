package export

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"snitch/monitor/event"
)

var opened = time.Date(2026, 7, 1, 8, 0, 0, 123456789, time.UTC)

// sample is a connection with all facts.
func sample(id uint64) event.Connection {
	shell := &event.Process{ID: event.ProcessID{PID: 10}, Name: "sh", Args: []string{"sh", "-c", "secret"}, Executable: event.Executable{Path: "/bin/sh", Kind: event.ExecutableFile}}
	curl := &event.Process{ID: event.ProcessID{PID: 11}, Name: "curl", Args: []string{"curl", "https://u:pass@example.org"}, Parent: shell,
		Executable: event.Executable{Path: "/usr/bin/curl", Kind: event.ExecutableFile, SHA256: event.Digest{0xab}, Reason: event.HashKnown}}
	return event.Connection{ID: id, Process: curl, Opened: opened, Last: opened.Add(time.Second), Direction: event.Out, Family: event.AFInet, Proto: event.ProtoTCP,
		Local: netip.MustParseAddrPort("192.0.2.7:40000"), Remote: netip.MustParseAddrPort("198.51.100.1:443"), Country: "DE",
		Name: event.Name{Domain: "www.example.org", Source: event.NameDNS, Trusted: true, SNI: "x.example"}, Names: []event.Name{{Domain: "www.example.org", Source: event.NameDNS, Trusted: true}},
		Sent: 10, Received: 20, Result: event.ResultEstablished}
}

func TestIgnore(t *testing.T) {
	for name, c := range map[string]struct {
		ignore Ignore
		change func(c *event.Connection)
		want   bool
	}{
		"port":                  {Ignore{Ports: []uint16{443}}, nil, true},
		"our port of a client":  {Ignore{Ports: []uint16{40000}}, nil, false},
		"our port of a service": {Ignore{Ports: []uint16{40000}}, func(c *event.Connection) { c.Direction = event.In }, true},
		"a client's port":       {Ignore{Ports: []uint16{443}}, func(c *event.Connection) { c.Direction = event.In }, false},
		"no port":               {Ignore{Ports: []uint16{0}}, func(c *event.Connection) { c.Remote = netip.AddrPort{} }, false},
		"domain":                {Ignore{Domains: []string{"www.example.org"}}, nil, true},
		"domain above":          {Ignore{Domains: []string{"example.org"}}, nil, true},
		"domain by label":       {Ignore{Domains: []string{"ample.org"}}, nil, false},
		"domain below":          {Ignore{Domains: []string{"a.www.example.org"}}, nil, false},
		"another name of it": {Ignore{Domains: []string{"example.net"}}, func(c *event.Connection) {
			c.Names = append(c.Names, event.Name{Domain: "b.example.net", Trusted: true})
		}, true},
		"name that a program said": {Ignore{Domains: []string{"x.example"}}, nil, false},
		"SNI": {Ignore{Domains: []string{"example.org"}}, func(c *event.Connection) {
			c.Name, c.Names = event.Name{Domain: "www.example.org", Source: event.NameSNI}, nil
		}, false},
		"reverse DNS": {Ignore{Domains: []string{"example.org"}}, func(c *event.Connection) {
			c.Name, c.Names = event.Name{Domain: "www.example.org", Source: event.NameReverse}, nil
		}, false},
		"hosts file": {Ignore{Domains: []string{"example.org"}}, func(c *event.Connection) {
			c.Name, c.Names = event.Name{Domain: "example.org", Source: event.NameHosts}, nil
		}, true},
		"network":        {Ignore{Networks: []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}}, nil, true},
		"next network":   {Ignore{Networks: []netip.Prefix{netip.MustParsePrefix("198.51.101.0/24")}}, nil, false},
		"mapped address": {Ignore{Networks: []netip.Prefix{netip.MustParsePrefix("198.51.100.1/32")}}, func(c *event.Connection) { c.Remote = netip.MustParseAddrPort("[::ffff:198.51.100.1]:443") }, true},
		"zone":           {Ignore{Networks: []netip.Prefix{netip.MustParsePrefix("fe80::/10")}}, func(c *event.Connection) { c.Remote = netip.MustParseAddrPort("[fe80::1%eth0]:443") }, true},
		"hash":           {Ignore{SHA256: []event.Digest{{0xab}}}, nil, true},
		"another hash":   {Ignore{SHA256: []event.Digest{{0xac}}}, nil, false},
		"no hash":        {Ignore{SHA256: []event.Digest{{}}}, func(c *event.Connection) { c.Process = &event.Process{} }, false},
		"no process":     {Ignore{SHA256: []event.Digest{{}}}, func(c *event.Connection) { c.Process = nil }, false},
	} {
		t.Run(name, func(t *testing.T) {
			conn := sample(1)
			conn.Closed = true
			if c.change != nil {
				c.change(&conn)
			}
			p := Everything()
			p.Ignore = c.ignore
			f := NewFilter(p)
			got := f.Connections([]event.Connection{conn})
			if ignored := len(got) == 0; ignored != c.want {
				t.Errorf("ignored: %v, want %v", ignored, c.want)
			}
			if n := f.Ignored(); (n == Ignored{1, 10, 20}) != c.want {
				t.Errorf("counted %+v", n)
			}
		})
	}
}

// TestIgnoreDecidesOnce: what was recorded is recorded to its end, and what was
// ignored stays so.
func TestIgnoreDecidesOnce(t *testing.T) {
	p := Everything()
	p.Ignore.Domains = []string{"example.org"}
	f := NewFilter(Everything())
	f.Connections([]event.Connection{sample(2)})
	f.Set(p)
	end := sample(2)
	end.Closed = true
	if len(f.Connections([]event.Connection{end})) != 1 {
		t.Error("what was recorded before the change was forgotten in its middle")
	}
	late := sample(1)
	late.Name, late.Names = event.Name{}, nil
	if len(f.Connections([]event.Connection{late})) != 1 {
		t.Fatal("a connection without a name was ignored")
	}
	for _, closed := range []bool{false, true} {
		named := sample(1)
		named.Closed = closed
		if len(f.Connections([]event.Connection{named})) != 1 {
			t.Errorf("it was forgotten in its middle (closed %v)", closed)
		}
	}
	if len(f.kept) != 0 {
		t.Errorf("remembered for ever: %v", f.kept)
	}
}

// TestPrivacy: each switch takes away its facts and nothing else, and changes no
// process that others hold.
func TestPrivacy(t *testing.T) {
	all := sample(1)
	for name, c := range map[string]struct {
		privacy Privacy
		change  func(c *event.Connection)
	}{
		"everything": {Everything(), func(*event.Connection) {}},
		"addresses": {Privacy{Ports: true, Commands: true}, func(c *event.Connection) {
			c.Local, c.Remote = netip.AddrPortFrom(netip.Addr{}, 40000), netip.AddrPortFrom(netip.Addr{}, 443)
			c.Name, c.Names, c.Country = event.Name{}, nil, ""
		}},
		"ports": {Privacy{Addresses: true, Commands: true}, func(c *event.Connection) {
			c.Local, c.Remote = netip.MustParseAddrPort("192.0.2.7:0"), netip.MustParseAddrPort("198.51.100.1:0")
		}},
		"commands": {Privacy{Addresses: true, Ports: true}, func(c *event.Connection) {
			p, q := *c.Process, *c.Process.Parent
			p.Args, q.Args, p.Parent, c.Process = nil, nil, &q, &p
		}},
	} {
		t.Run(name, func(t *testing.T) {
			in, want := all, all
			c.change(&want)
			f := NewFilter(Privacy{})
			f.Set(c.privacy)
			got := f.Connections([]event.Connection{in})
			if diff := cmp.Diff([]event.Connection{want}, got, cmpopts.EquateComparable(netip.AddrPort{}, netip.Addr{})); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
			if all.Process.Args == nil || all.Process.Parent.Args == nil {
				t.Fatal("the process itself was changed")
			}
			if x := f.Execs([]event.ExecSeen{{Process: all.Process}}); (x[0].Process.Args == nil) == c.privacy.Commands {
				t.Errorf("exec has %v", x[0].Process.Args)
			}
			if l := f.Losses([]event.Loss{{Process: all.Process}, {}}); (l[0].Process.Args == nil) == c.privacy.Commands {
				t.Errorf("loss has %v", l[0].Process.Args)
			}
		})
	}
}

func TestPrivacyOfAlerts(t *testing.T) {
	c := sample(1)
	of := func(p Privacy) event.Alert {
		return NewFilter(p).Alerts([]event.Alert{event.NewAlert(event.AlertRule, "r", event.ActionAlert, "", opened, &c)})[0]
	}
	if a := of(Everything()); a.Peer != "198.51.100.1:443" || a.Domain != "www.example.org" || a.Cmdline == "" {
		t.Errorf("%+v", a)
	}
	if a := of(Privacy{}); a.Peer != "" || a.Domain != "" || a.Cmdline != "" || a.Exe != "/usr/bin/curl" {
		t.Errorf("%+v", a)
	}
	if a := of(Privacy{Addresses: true}); a.Peer != "198.51.100.1" {
		t.Errorf("%+v", a)
	}
}
