package rule

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"snitch/monitor/event"
)

// TestReadEveryKey reads a rule with every key there is, written in the ways
// that are normalised.
func TestReadEveryKey(t *testing.T) {
	const src = `version: 1
lists: {ads: [Ads.example, 10.9.0.0/16]}
confine:
  - {id: lock, mode: audit, reason: why not, expires: 2027-01-01T01:00:00+01:00, process: {exe: /usr/bin/git}, except: [{process: {uid: 0}}]}
  - {id: all, process: any}
rules:
  - id: full
    action: deny
    mode: audit
    reason: "  because  "
    expires: 2027-06-30T12:00:00.5Z
    process:
      exe: [/usr/bin/git, "/opt/*/bin/**", "container:*:/bin/sh"]
      kind: [file, deleted]
      sha256: E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855
      name: [git, "g*"]
      script: [none, -m pip, /opt/s.py]
      script_sha256: 1234567890123456789012345678901234567890123456789012345678901234
      cmdline: "* push *"
      user: ci
      uid: [0, 1000-1999]
      cgroup: /system.slice/**
      unit: none
      container: c1
      package: [git, modified:*, none]
      reputation: [malicious, not-found]
      parent: {exe: /bin/sh, parent: {name: init}}
      ancestor: {user: root}
    from: {scope: lan}
    to:
      host: [GitHub.com., "*.Bücher.example", .x.example, 10.0.0.1, "::ffff:10.0.0.0/104", 2001:db8::/32, "@ads"]
      port: [443, 8000-8099]
      proto: [TCP, mptcp, ip-47]
      scope: [internet, loopback, lan]
      country: [de, "NO", no]
    direction: [out, in]
    novelty: [program, hash, parent, destination]
    except:
      - {to: {port: 80}}
      - {from: {port: 80}}
      - {direction: listen, to: {port: 80}}
`
	l, err := Parse("a.yaml", []byte(src))
	if err != nil {
		t.Fatal(err)
	}
	path := func(s string) Pattern { return Pattern{s, PathPattern} }
	word := func(s string) Pattern { return Pattern{s, WordPattern} }
	marked := func(s string) Pattern { return Pattern{s, MarkedPattern} }
	sum := func(s string) []event.Digest {
		d, _ := event.ParseDigest(s)
		return []event.Digest{d}
	}
	net := func(s string) Host { return Host{Kind: HostNet, Net: netip.MustParsePrefix(s)} }
	port80 := &EndpointMatch{Port: []PortRange{{80, 80}}}
	want := Rule{
		ID: "full", Action: event.ActionDeny, Mode: event.ModeAudit, Reason: "because", Expires: time.Date(2027, 6, 30, 12, 0, 0, 5e8, time.UTC),
		Match: Match{
			Process: &ProcessMatch{
				Exe:    []Pattern{path("/usr/bin/git"), path("/opt/*/bin/**"), path("container:*:/bin/sh")},
				Kind:   []event.ExecutableKind{event.ExecutableFile, event.ExecutableDeleted},
				SHA256: sum("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"), Name: []Pattern{word("git"), word("g*")},
				Script: []Pattern{path("none"), path("-m pip"), path("/opt/s.py")}, ScriptSHA256: sum("1234567890123456789012345678901234567890123456789012345678901234"),
				Cmdline: []Pattern{word("* push *")}, User: []string{"ci"}, UID: []UIDRange{{0, 0}, {1000, 1999}}, Cgroup: []Pattern{path("/system.slice/**")},
				Unit: []Pattern{marked("none")}, Container: []Pattern{marked("c1")}, Package: []Pattern{marked("git"), marked("modified:*"), marked("none")},
				Reputation: []event.Reputation{event.ReputationMalicious, event.ReputationNotFound},
				Parent:     &ProcessMatch{Exe: []Pattern{path("/bin/sh")}, Parent: &ProcessMatch{Name: []Pattern{word("init")}}},
				Ancestor:   &ProcessMatch{User: []string{"root"}},
			},
			From: &EndpointMatch{Scope: []Scope{ScopeLAN}},
			To: &EndpointMatch{
				Host: []Host{
					{Kind: HostName, Name: "github.com"}, {Kind: HostBelow, Name: "xn--bcher-kva.example"}, {Kind: HostSuffix, Name: "x.example"},
					net("10.0.0.1/32"), net("10.0.0.0/8"), net("2001:db8::/32"), {Kind: HostList, Name: "ads"},
				},
				Port: []PortRange{{443, 443}, {8000, 8099}}, Proto: []string{"tcp", "ip-47"}, Scope: []Scope{ScopeInternet, ScopeLoopback, ScopeLAN}, Country: []string{"DE", "NO"},
			},
			Direction: []event.Direction{event.Out, event.In}, Novelty: []Novelty{NoveltyProgram, NoveltyHash, NoveltyParent, NoveltyDestination},
		},
		Except: []Match{
			{To: port80, Direction: []event.Direction{event.Out}}, {From: port80, Direction: []event.Direction{event.In}},
			{To: port80, Direction: []event.Direction{event.Listen}},
		},
		Pos: Position{"a.yaml", 7, 5},
	}
	opts := cmp.Options{cmpopts.IgnoreUnexported(Rule{}), cmpopts.EquateComparable(netip.Prefix{})}
	if diff := cmp.Diff([]Rule{want}, l.Set.Rules, opts); diff != "" {
		t.Errorf("rules (-want +got):\n%s", diff)
	}
	confine := []Confine{
		{ID: "all", Mode: event.ModeEnforce, Pos: Position{"a.yaml", 5, 5}},
		{
			ID: "lock", Mode: event.ModeAudit, Reason: "why not", Expires: time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC), Process: &ProcessMatch{Exe: []Pattern{path("/usr/bin/git")}},
			Except: []ProcessMatch{{UID: []UIDRange{{0, 0}}}}, Pos: Position{"a.yaml", 4, 5},
		},
	}
	if diff := cmp.Diff(confine, l.Set.Confine, opts); diff != "" {
		t.Errorf("confine (-want +got):\n%s", diff)
	}
	for path, want := range map[string]string{
		"": "a.yaml:7:5", "to.host": "a.yaml:31:7", "to.host[1]": "a.yaml:31:27", "process.parent.exe": "a.yaml:27:16",
		"except[1].from.port": "a.yaml:40:17", "process.nothing[7].here": "a.yaml:12:5", "nothing": "a.yaml:7:5",
	} {
		if got := l.Set.Rules[0].At(path).String(); got != want {
			t.Errorf("At(%q) = %s, want %s", path, got, want)
		}
	}
}

// TestEmptyMatches: a set that no reader made may have matches without a
// condition, which mean anything.
func TestEmptyMatches(t *testing.T) {
	s := NewSet([]Rule{{ID: "a", Action: event.ActionDeny, Match: Match{Process: &ProcessMatch{}, To: &EndpointMatch{}}, Except: []Match{{}}}},
		[]Confine{{ID: "c", Process: &ProcessMatch{}, Except: []ProcessMatch{{}}}}, nil, nil)
	if s.Revision == "" || s.Rule("a") == nil || s.Confined("c") == nil {
		t.Errorf("got %+v", s)
	}
}
