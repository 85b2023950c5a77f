package rego

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"snitch/monitor/event"
	"snitch/policy/rule"
)

func words(texts ...string) (out []rule.Pattern) {
	for _, text := range texts {
		out = append(out, rule.Pattern{Text: text, Kind: rule.WordPattern})
	}
	return out
}

// known is a connection of which everything is known.
func known() rule.Facts {
	self := rule.Subject{Exe: "/usr/bin/git", Kind: event.ExecutableFile, SHA256: event.Digest{1}, Name: "git", Script: "/opt/a.py", ScriptSHA256: event.Digest{2},
		Cmdline: "git push", User: "ci", UID: 1000, HasUID: true, Cgroup: "/system.slice/ci.service", Unit: "ci.service", Container: rule.None, Package: "git",
		Reputation: event.ReputationMalicious}
	worker, shell := self, self
	worker.Exe, worker.User = "/opt/r/2/bin/Worker", "runner"
	shell.Exe, shell.User, shell.UID = "/usr/bin/sh", "root", 0
	return rule.Facts{Process: self, Ancestors: []rule.Subject{worker, shell}, Direction: event.Out, Proto: "tcp",
		From: rule.Endpoint{Addr: netip.MustParseAddr("192.168.1.5"), Port: 40000, HasPort: true},
		To: rule.Endpoint{Addr: netip.MustParseAddr("140.82.112.5"), Port: 443, HasPort: true, Country: "US",
			Names: []rule.Name{{Domain: "api.github.com", Source: event.NameDNS, Trusted: true}}},
		Novelty: []rule.Novelty{rule.NoveltyHash}}
}

type keyCase struct {
	name         string
	match        rule.Match
	miss, absent func(f *rule.Facts) // change known() so that it misses narrowly, or knows nothing
}

func by(p rule.ProcessMatch) rule.Match    { return rule.Match{Process: &p} }
func peer(e rule.EndpointMatch) rule.Match { return rule.Match{To: &e} }

func processCases() []keyCase {
	exe := func(v string) func(*rule.Facts) { return func(f *rule.Facts) { f.Process.Exe = v } }
	return []keyCase{
		{"exe", by(rule.ProcessMatch{Exe: paths("/usr/bin/git")}), exe("/usr/bin/git2"), exe("")},
		{"exe glob", by(rule.ProcessMatch{Exe: paths("/usr/*/git")}), exe("/usr/x/bin/git"), exe("")},
		{"exe globs", by(rule.ProcessMatch{Exe: paths("/opt/**", "**/git")}), exe("/usr/bin/agit"), exe("")},
		{"exe kind", by(rule.ProcessMatch{Exe: paths("/usr/bin/git")}),
			func(f *rule.Facts) { f.Process.Kind = event.ExecutableDeleted }, func(f *rule.Facts) { f.Process.Kind = 0 }},
		{"exe view", by(rule.ProcessMatch{Exe: paths("/usr/bin/git", "/usr/bin/s*")}), exe("container:x:/usr/bin/git"), exe("")},
		{"kind", by(rule.ProcessMatch{Kind: []event.ExecutableKind{event.ExecutableFile, event.ExecutableMemfd}}),
			func(f *rule.Facts) { f.Process.Kind = event.ExecutableDeleted }, func(f *rule.Facts) { f.Process.Kind = 0 }},
		{"sha256", by(rule.ProcessMatch{SHA256: []event.Digest{{1}, {3}}}),
			func(f *rule.Facts) { f.Process.SHA256 = event.Digest{1, 1} }, func(f *rule.Facts) { f.Process.SHA256 = event.Digest{} }},
		{"name", by(rule.ProcessMatch{Name: words("g?t", "gi*")}), func(f *rule.Facts) { f.Process.Name = "Git" }, func(f *rule.Facts) { f.Process.Name = "" }},
		{"script", by(rule.ProcessMatch{Script: paths("/opt/*.py")}), func(f *rule.Facts) { f.Process.Script = "/opt/b/a.py" }, func(f *rule.Facts) { f.Process.Script = "" }},
		{"script_sha256", by(rule.ProcessMatch{ScriptSHA256: []event.Digest{{2}}}),
			func(f *rule.Facts) { f.Process.ScriptSHA256 = event.Digest{1} }, func(f *rule.Facts) { f.Process.ScriptSHA256 = event.Digest{} }},
		{"cmdline", by(rule.ProcessMatch{Cmdline: words("* push*")}), func(f *rule.Facts) { f.Process.Cmdline = "gitpush" }, func(f *rule.Facts) { f.Process.Cmdline = "" }},
		{"user", by(rule.ProcessMatch{User: []string{"ci", "me"}}), func(f *rule.Facts) { f.Process.User = "cI" }, func(f *rule.Facts) { f.Process.User = "" }},
		{"uid", by(rule.ProcessMatch{UID: []rule.UIDRange{{First: 1000, Last: 1000}}}), func(f *rule.Facts) { f.Process.UID = 1001 }, func(f *rule.Facts) { f.Process.HasUID = false }},
		{"uid range", by(rule.ProcessMatch{UID: []rule.UIDRange{{First: 7, Last: 7}, {First: 1000, Last: 1999}}}),
			func(f *rule.Facts) { f.Process.UID = 2000 }, func(f *rule.Facts) { f.Process.HasUID = false }},
		{"cgroup", by(rule.ProcessMatch{Cgroup: paths("/system.slice/*")}), func(f *rule.Facts) { f.Process.Cgroup = "/system.slice/a/b" }, func(f *rule.Facts) { f.Process.Cgroup = "" }},
		{"unit", by(rule.ProcessMatch{Unit: words("ci.service")}), func(f *rule.Facts) { f.Process.Unit = rule.None }, func(f *rule.Facts) { f.Process.Unit = "" }},
		{"container none", by(rule.ProcessMatch{Container: words(rule.None)}), func(f *rule.Facts) { f.Process.Container = "c1" }, func(f *rule.Facts) { f.Process.Container = "" }},
		{"package", by(rule.ProcessMatch{Package: words("git")}), func(f *rule.Facts) { f.Process.Package = "modified:git" }, func(f *rule.Facts) { f.Process.Package = "" }},
		{"reputation", by(rule.ProcessMatch{Reputation: []event.Reputation{event.ReputationMalicious}}),
			func(f *rule.Facts) { f.Process.Reputation = event.ReputationSuspicious }, func(f *rule.Facts) { f.Process.Reputation = 0 }},
		{"reputations", by(rule.ProcessMatch{Reputation: []event.Reputation{event.ReputationMalicious, event.ReputationNotFound}}),
			func(f *rule.Facts) { f.Process.Reputation = event.ReputationUploaded }, func(f *rule.Facts) { f.Process.Reputation = 0 }},
		{"reputation of parent", by(rule.ProcessMatch{Parent: &rule.ProcessMatch{Reputation: []event.Reputation{event.ReputationMalicious}}}),
			func(f *rule.Facts) { f.Ancestors[0].Reputation = event.ReputationClean }, func(f *rule.Facts) { f.Ancestors[0].Reputation = 0 }},
		{"parent", by(rule.ProcessMatch{Parent: &rule.ProcessMatch{Exe: paths("/opt/r/*/bin/Worker"), User: []string{"runner"}}}),
			func(f *rule.Facts) { f.Ancestors[0].User = "root" }, func(f *rule.Facts) { f.Ancestors = nil }},
		{"grandparent", by(rule.ProcessMatch{Parent: &rule.ProcessMatch{Parent: &rule.ProcessMatch{Exe: paths("/usr/bin/sh")}}}),
			func(f *rule.Facts) { f.Ancestors[0], f.Ancestors[1] = f.Ancestors[1], f.Ancestors[0] }, func(f *rule.Facts) { f.Ancestors = f.Ancestors[:1] }},
		{"ancestor", by(rule.ProcessMatch{Ancestor: &rule.ProcessMatch{Exe: paths("/usr/bin/sh"), User: []string{"root"}}}),
			func(f *rule.Facts) { f.Ancestors[0].User, f.Ancestors[1].User = "root", "ci" }, func(f *rule.Facts) { f.Ancestors = nil }},
		{"ancestor of parent", by(rule.ProcessMatch{Parent: &rule.ProcessMatch{Ancestor: &rule.ProcessMatch{UID: []rule.UIDRange{{}}}}}),
			func(f *rule.Facts) { f.Ancestors[0].UID, f.Ancestors[1].UID = 0, 1 }, func(f *rule.Facts) { f.Ancestors[1].HasUID = false }},
		{"parent of ancestor", by(rule.ProcessMatch{Ancestor: &rule.ProcessMatch{User: []string{"runner"}, Parent: &rule.ProcessMatch{User: []string{"root"}}}}),
			func(f *rule.Facts) { f.Ancestors[1].User = "rooty" }, func(f *rule.Facts) { f.Ancestors = f.Ancestors[:1] }},
	}
}

func endCases() []keyCase {
	host := func(kind rule.HostKind, name string) rule.Match {
		return peer(rule.EndpointMatch{Host: []rule.Host{{Kind: kind, Name: name}}})
	}
	domain := func(v string) func(*rule.Facts) {
		return func(f *rule.Facts) { f.To.Names = []rule.Name{{Domain: v, Trusted: true}} }
	}
	noNames := func(f *rule.Facts) { f.To.Names, f.To.Addr = nil, netip.Addr{} }
	addr := func(v string) func(*rule.Facts) {
		return func(f *rule.Facts) { f.To.Names, f.To.Addr = nil, netip.MustParseAddr(v) }
	}
	noPort := func(f *rule.Facts) { f.To.HasPort, f.To.Port = false, 0 }
	port := func(v uint16) func(*rule.Facts) { return func(f *rule.Facts) { f.To.Port = v } }
	return []keyCase{
		{"host name", host(rule.HostName, "api.github.com"), domain("x.api.github.com"), noNames},
		{"host below", host(rule.HostBelow, "github.com"), domain("github.com"), noNames},
		{"host suffix", host(rule.HostSuffix, "github.com"), domain("xgithub.com"), noNames},
		{"host net", peer(rule.EndpointMatch{Host: []rule.Host{{Kind: rule.HostNet, Net: netip.MustParsePrefix("140.82.112.0/20")}}}), addr("140.82.128.0"), noNames},
		{"host list", host(rule.HostList, "l"), func(f *rule.Facts) { domain("github.com")(f); f.To.Addr = netip.MustParseAddr("9.9.9.9") }, noNames},
		{"port", peer(rule.EndpointMatch{Port: []rule.PortRange{{First: 443, Last: 443}, {First: 80, Last: 80}}}), port(444), noPort},
		{"port range", peer(rule.EndpointMatch{Port: []rule.PortRange{{First: 440, Last: 443}, {First: 8000, Last: 8099}}}), port(439), noPort},
		{"port zero", peer(rule.EndpointMatch{Port: []rule.PortRange{{First: 0, Last: 0}, {First: 443, Last: 443}}}), port(1), noPort},
		{"proto", peer(rule.EndpointMatch{Proto: []string{"tcp"}}), func(f *rule.Facts) { f.Proto = "udp" }, func(f *rule.Facts) { f.Proto = "" }},
		{"scope", peer(rule.EndpointMatch{Scope: []rule.Scope{rule.ScopeInternet}}), addr("10.0.0.1"), noNames},
		{"country", peer(rule.EndpointMatch{Country: []string{"US", "NO"}}), func(f *rule.Facts) { f.To.Country = "DE" }, func(f *rule.Facts) { f.To.Country = "" }},
		{"from", rule.Match{From: &rule.EndpointMatch{Scope: []rule.Scope{rule.ScopeLAN}}},
			func(f *rule.Facts) { f.From.Addr = netip.MustParseAddr("1.1.1.1") }, func(f *rule.Facts) { f.From.Addr = netip.Addr{} }},
		{"direction", rule.Match{Direction: []event.Direction{event.Out, event.Listen}}, func(f *rule.Facts) { f.Direction = event.In }, func(f *rule.Facts) { f.Direction = 0 }},
		{"novelty", rule.Match{Novelty: []rule.Novelty{rule.NoveltyHash}}, func(f *rule.Facts) { f.Novelty = []rule.Novelty{rule.NoveltyProgram} }, func(f *rule.Facts) { f.Novelty = nil }},
		{"novelties", rule.Match{Novelty: []rule.Novelty{rule.NoveltyHash, rule.NoveltyParent}}, func(f *rule.Facts) { f.Novelty = []rule.Novelty{rule.NoveltyProgram} }, func(f *rule.Facts) { f.Novelty = nil }},
	}
}

// TestKeys decides for every key a hit, a near miss and an absent fact; the
// same as an exception, which an absent fact does not meet either.
func TestKeys(t *testing.T) {
	for _, c := range append(processCases(), endCases()...) {
		t.Run(c.name, func(t *testing.T) {
			list := rule.NewList("l", []rule.Host{{Kind: rule.HostBelow, Name: "github.com"}, {Kind: rule.HostNet, Net: netip.MustParsePrefix("140.82.112.0/20")}})
			e, err := New(t.Context(), rule.NewSet([]rule.Rule{
				{ID: "match", Action: event.ActionAllow, Mode: event.ModeEnforce, Match: c.match},
				{ID: "unless", Action: event.ActionDeny, Mode: event.ModeEnforce, Except: []rule.Match{{Direction: []event.Direction{event.Listen}, Novelty: []rule.Novelty{rule.NoveltyListener}}, c.match}},
			}, nil, []*rule.List{list}, nil))
			if err != nil {
				t.Fatal(err)
			}
			for name, change := range map[string]func(*rule.Facts){"match": func(*rule.Facts) {}, "unless": c.miss, "unless ": c.absent} {
				f := known()
				change(&f)
				got, err := e.Votes(t.Context(), &f)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff([]string{strings.TrimSpace(name)}, got.Rules); diff != "" {
					t.Errorf("%q (-want +got):\n%s", name, diff)
				}
			}
		})
	}
}

// TestTrust believes an untrusted name for alerts and denials only.
func TestTrust(t *testing.T) {
	to := rule.Match{To: &rule.EndpointMatch{Host: []rule.Host{{Kind: rule.HostSuffix, Name: "github.com"}}}}
	set := rule.NewSet([]rule.Rule{
		{ID: "allow", Action: event.ActionAllow, Mode: event.ModeEnforce, Match: to},
		{ID: "deny", Action: event.ActionDeny, Mode: event.ModeEnforce, Match: to},
		{ID: "unless", Action: event.ActionAlert, Mode: event.ModeEnforce, Except: []rule.Match{to}},
	}, nil, nil, nil)
	e, err := New(t.Context(), set)
	if err != nil {
		t.Fatal(err)
	}
	for trusted, want := range map[bool][]string{true: {"allow", "deny"}, false: {"deny", "unless"}} {
		f := known()
		f.To.Names[0].Trusted = trusted
		got, err := e.Votes(t.Context(), &f)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got.Rules); diff != "" {
			t.Errorf("trusted %v (-want +got):\n%s", trusted, diff)
		}
	}
}

func paths(texts ...string) (out []rule.Pattern) {
	for _, text := range texts {
		out = append(out, rule.Pattern{Text: text, Kind: rule.PathPattern})
	}
	return out
}
