package rule

import (
	"net/netip"
	"testing"

	"snitch/monitor/event"
)

// TestReadsSeparate changes one fact at a time: the input changes exactly when
// a rule reads the fact.
func TestReadsSeparate(t *testing.T) {
	base := Facts{Process: Subject{Exe: "/bin/a", Kind: event.ExecutableFile, User: "u", UID: 1, HasUID: true, Unit: "x"},
		Ancestors: []Subject{{Exe: "/bin/p"}, {Exe: "/bin/q"}}, Direction: event.Out, Proto: "tcp",
		To: Endpoint{Addr: netip.MustParseAddr("192.0.2.1"), Port: 443, HasPort: true, Names: []Name{{Domain: "a.example"}}}}
	changes := map[string]func(*Facts){
		"exe":      func(f *Facts) { f.Process.Exe = "/bin/b" },
		"sha256":   func(f *Facts) { f.Process.SHA256[3] = 1 },
		"word":     func(f *Facts) { f.Process.Reputation = event.ReputationClean },
		"uid":      func(f *Facts) { f.Process.HasUID = false },
		"unit":     func(f *Facts) { f.Process.Unit = "y" },
		"parent":   func(f *Facts) { f.Ancestors = []Subject{{Exe: "/bin/r"}, {Exe: "/bin/q"}} },
		"ancestor": func(f *Facts) { f.Ancestors = []Subject{{Exe: "/bin/p"}, {Exe: "/bin/r"}} },
		"addr":     func(f *Facts) { f.To.Addr = netip.MustParseAddr("192.0.2.2") },
		"port":     func(f *Facts) { f.To.Port = 80 },
		"name":     func(f *Facts) { f.To.Names = []Name{{Domain: "b.example"}} },
		"trusted":  func(f *Facts) { f.To.Names = []Name{{Domain: "a.example", Trusted: true}} },
	}
	exe := []Pattern{{Text: "/bin/a", Kind: PathPattern}}
	for name, c := range map[string]struct {
		match Match
		seen  []string
	}{
		"nothing":  {Match{}, nil},
		"exe":      {Match{Process: &ProcessMatch{Exe: exe}}, []string{"exe"}},
		"sha256":   {Match{Process: &ProcessMatch{SHA256: []event.Digest{{1}}}}, []string{"sha256"}},
		"word":     {Match{Process: &ProcessMatch{Reputation: []event.Reputation{event.ReputationMalicious}}}, []string{"word"}},
		"uid":      {Match{Process: &ProcessMatch{UID: []UIDRange{{0, 0}}}}, []string{"uid"}},
		"unit":     {Match{Process: &ProcessMatch{Unit: exe}}, []string{"unit"}},
		"parent":   {Match{Process: &ProcessMatch{Parent: &ProcessMatch{Exe: exe}}}, []string{"parent"}},
		"ancestor": {Match{Process: &ProcessMatch{Ancestor: &ProcessMatch{Exe: exe}}}, []string{"parent", "ancestor"}},
		"address":  {Match{To: &EndpointMatch{Host: []Host{{Kind: HostNet, Net: netip.MustParsePrefix("192.0.2.2/32")}}}}, []string{"addr"}},
		"network":  {Match{To: &EndpointMatch{Host: []Host{{Kind: HostNet, Net: netip.MustParsePrefix("192.0.2.0/24")}}}}, nil}, // both are in it
		"scope":    {Match{To: &EndpointMatch{Scope: []Scope{ScopeLAN}}}, nil},                                                  // both have the same
		"list":     {Match{To: &EndpointMatch{Host: []Host{{Kind: HostList, Name: "l"}}}}, []string{"addr", "name", "trusted"}},
		"name":     {Match{To: &EndpointMatch{Host: []Host{{Kind: HostName}}}}, []string{"name", "trusted"}},
		"port":     {Match{To: &EndpointMatch{Port: []PortRange{{80, 80}}}}, []string{"port"}},
		"ports":    {Match{To: &EndpointMatch{Port: []PortRange{{1, 79}}}}, nil}, // both are outside
	} {
		t.Run(name, func(t *testing.T) {
			reads := (&Set{Rules: []Rule{{Match: c.match}}, Lists: map[string]*List{
				"l": NewList("l", []Host{{Kind: HostNet, Net: netip.MustParsePrefix("192.0.2.2/32")}})}}).Reads()
			seen := map[string]bool{}
			for _, s := range c.seen {
				seen[s] = true
			}
			for change, do := range changes {
				other := base
				do(&other)
				if got := reads.Input(&base) != reads.Input(&other); got != seen[change] {
					t.Errorf("a change of %s is seen: %v, want %v", change, got, seen[change])
				}
			}
		})
	}
}

// TestScopesAreCells checks that no range has addresses of two scopes: its
// first and its last one, and some between.
func TestScopesAreCells(t *testing.T) {
	var c cells
	c.add(&EndpointMatch{Scope: []Scope{ScopeLAN}}, nil)
	c.sort()
	scopes := map[int]Scope{}
	check := func(a netip.Addr) {
		if !a.IsValid() || a.Is4In6() {
			return
		}
		if known, ok := scopes[c.addr(a)]; ok && known != ScopeOf(a) {
			t.Errorf("%v has scope %v, others of its range have %v", a, ScopeOf(a), known)
		}
		scopes[c.addr(a)] = ScopeOf(a)
	}
	for _, a := range c.addrs {
		check(a)
		check(a.Prev())
		check(a.Next())
	}
	for i := range 1 << 16 {
		check(netip.AddrFrom4([4]byte{byte(i >> 8), byte(i), 1, 1}))
		check(netip.AddrFrom16([16]byte{byte(i >> 8), byte(i), 1}))
	}
}
