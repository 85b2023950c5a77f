package rule

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"snitch/monitor/event"
)

// TestCases holds what facts each way of writing them makes.
func TestCases(t *testing.T) {
	const src = `version: 1
cases:
  - name: all
    at: 2027-01-01T00:00:00+01:00
    when:
      process:
        exe: /usr/bin/git
        sha256: 1234567890123456789012345678901234567890123456789012345678901234
        name: git
        script: -m pip
        script_sha256: E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855
        cmdline: git clone *.git
        user: ci
        uid: 0
        cgroup: /system.slice
        unit: none
        container: c1
        package: modified:git
        reputation: not-found
        ancestors: [{exe: "container:c1:/bin/sh"}, {kind: kernel}, {uid: 5}]
      to: {domain: [API.github.com., x.example], domain_source: sni, ip: "::ffff:140.82.112.5", port: 443, proto: MPTCP, country: us}
      novelty: [hash, program]
    expect: {action: deny, rule: x, matches: [x, custom.y.z], reason: because}
  - name: parents
    when: {process: {exe: /a, kind: deleted, parent: {exe: /b, parent: {exe: /c}}}, from: "udp://[2001:db8::1]:53"}
    expect: {action: alert, rule: none, matches: none}
  - name: both ends
    when: {direction: in, from: "tcp://a.example:5000", to: "tcp://10.0.0.1:22"}
    expect: {action: allow}
  - name: listener
    when: {direction: listen, to: "tcp://0.0.0.0:22"}
    expect: {action: allow}
  - name: portless
    when: {to: "icmp://1.1.1.1"}
    expect: {action: allow}
  - name: claim
    when: {to: {domain: a.example, domain_trusted: false, proto: tcp}}
    expect: {action: allow}
`
	l, err := Parse("a_test.yaml", []byte(src))
	if err != nil {
		t.Fatal(err)
	}
	digest := func(s string) event.Digest {
		d, err := event.ParseDigest(s)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	addr := netip.MustParseAddr
	file := func(exe string) Subject { return Subject{Exe: exe, Kind: event.ExecutableFile} }
	want := []Case{
		{
			Name: "all", At: time.Date(2026, 12, 31, 23, 0, 0, 0, time.UTC),
			Facts: Facts{
				Process: Subject{
					Exe: "/usr/bin/git", Kind: event.ExecutableFile, Name: "git", Script: "-m pip", Cmdline: "git clone *.git", User: "ci", HasUID: true,
					SHA256:       digest("1234567890123456789012345678901234567890123456789012345678901234"),
					ScriptSHA256: digest("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
					Cgroup:       "/system.slice", Unit: None, Container: "c1", Package: "modified:git", Reputation: event.ReputationNotFound,
				},
				Ancestors: []Subject{file("container:c1:/bin/sh"), {Kind: event.ExecutableKernel}, {UID: 5, HasUID: true}},
				Direction: event.Out, Proto: "tcp", Novelty: []Novelty{NoveltyHash, NoveltyProgram},
				To: Endpoint{
					Addr: addr("140.82.112.5"), Port: 443, HasPort: true, Country: "US",
					Names: []Name{{"api.github.com", event.NameSNI, false}, {"x.example", event.NameSNI, false}},
				},
			},
			Expect: Expect{Action: event.ActionDeny, Rule: "x", Matches: []string{"x", "custom.y.z"}, Reason: "because"},
		},
		{
			Name: "parents",
			Facts: Facts{
				Process: Subject{Exe: "/a", Kind: event.ExecutableDeleted}, Ancestors: []Subject{file("/b"), file("/c")},
				Direction: event.In, Proto: "udp", From: Endpoint{Addr: addr("2001:db8::1"), Port: 53, HasPort: true},
			},
			Expect: Expect{Action: event.ActionAlert, Rule: None, Matches: []string{}},
		},
		{
			Name: "both ends",
			Facts: Facts{
				Direction: event.In, Proto: "tcp", From: Endpoint{Port: 5000, HasPort: true, Names: []Name{{"a.example", event.NameDNS, true}}},
				To: Endpoint{Addr: addr("10.0.0.1"), Port: 22, HasPort: true},
			},
			Expect: Expect{Action: event.ActionAllow},
		},
		{
			Name:   "listener",
			Facts:  Facts{Direction: event.Listen, Proto: "tcp", To: Endpoint{Addr: addr("0.0.0.0"), Port: 22, HasPort: true}},
			Expect: Expect{Action: event.ActionAllow},
		},
		{
			Name: "portless", Facts: Facts{Direction: event.Out, Proto: "icmp", To: Endpoint{Addr: addr("1.1.1.1")}},
			Expect: Expect{Action: event.ActionAllow},
		},
		{
			Name: "claim", Facts: Facts{Direction: event.Out, Proto: "tcp", To: Endpoint{Names: []Name{{"a.example", event.NameDNS, false}}}},
			Expect: Expect{Action: event.ActionAllow},
		},
	}
	got := l.Tests[0].Cases
	if diff := cmp.Diff(want, got, cmpopts.IgnoreTypes(Position{}), cmpopts.EquateComparable(netip.Addr{})); diff != "" {
		t.Errorf("cases (-want +got):\n%s", diff)
	}
	if got[0].Pos.String() != "a_test.yaml:3:5" || got[0].Expect.Pos.String() != "a_test.yaml:23:13" {
		t.Errorf("positions %s and %s", got[0].Pos, got[0].Expect.Pos)
	}
}
