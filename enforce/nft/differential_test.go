package nft_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"snitch/bpf/bpftest"
	"snitch/enforce/nft"
	"snitch/monitor/event"
	"snitch/policy/rule"
	"snitch/policy/table"
)

var policies = flag.Int("policies", 25, "how many random policies the differential test draws")

const connectionsPerPolicy = 24

// field is where the differential test is played: clients in several cgroups,
// and one server on both ends of the link.
type field struct {
	pair    *bpftest.Pair
	at      []string // paths of the clients' cgroups
	clients []*worker
	server  string // path of the servers' cgroup
	ports   []uint16
	hosts   []netip.Addr
}

const serverUID = 1001

func newField(t *testing.T) *field {
	f := &field{pair: bpftest.NewPair(t), ports: []uint16{80, 443, 5353},
		hosts: []netip.Addr{bpftest.ServerV4, bpftest.ServerV6, netip.MustParseAddr("127.0.0.1"), bpftest.ClientV4, netip.IPv6Loopback()}}
	bpftest.Need(t, cgroupMatch(f.pair.Client))
	root := bpftest.NewCgroup(t)
	a := child(t, root, "a")
	for _, c := range []*bpftest.Cgroup{a, child(t, a, "x"), child(t, root, "b")} {
		f.at = append(f.at, c.Path())
		f.clients = append(f.clients, startWorker(t, bpftest.Place{Net: f.pair.Client, Cgroup: c}))
		f.server = c.Path()
		if len(f.at) == 3 {
			for _, ns := range []*bpftest.Namespace{f.pair.Client, f.pair.Server} {
				startWorker(t, bpftest.Place{Net: ns, Cgroup: c}).serve(t, serverUID, f.ports...)
			}
		}
	}
	return f
}

func child(t *testing.T, c *bpftest.Cgroup, name string) *bpftest.Cgroup {
	t.Helper()
	made, err := c.Child(name)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// TestDifferential holds the kernel against the decisions: real connections
// under random policies of the keys that packets show.
func TestDifferential(t *testing.T) {
	f := newField(t)
	here, there := closing(t, newBackend(t, f.pair.Client)), closing(t, newBackend(t, f.pair.Server))
	var tried, denied, late int
	for seed := range *policies {
		g := &gen{rand.New(rand.NewPCG(uint64(seed), 1)), f}
		s := g.set()
		set(t, here, enforced(s))
		set(t, there, enforced(s))
		compiled := table.Compile(s)
		for range connectionsPerPolicy {
			c := g.connection()
			out, in := decide(compiled, c.facts(f, event.Out)), decide(compiled, c.facts(f, event.In))
			got := f.clients[c.client].do(t, c.ask)
			tried++
			if problem := disagrees(c.ask, out, in, got); problem != "" {
				t.Fatalf("seed %d: %s in cgroup %s: %s\nout: %s by %q, in: %s by %q\n%s", seed, c.ask, f.at[c.client], problem,
					out.Action, out.Rule, in.Action, in.Rule, dump(s))
			}
			if !got.Echoed {
				denied++
			}
			if got.Took > patience/2 {
				late++
			}
		}
	}
	t.Logf("%d connections under %d policies, %d denied, %d of them after a time-out of the peer", tried, *policies, denied, late)
	if denied < tried/10 || denied > tried*9/10 {
		t.Error("nearly all connections ended the same way: the test says little")
	}
}

// disagrees compares what happened with the two decisions, "" if they agree.
func disagrees(a ask, out, in rule.Decision, got answer) string {
	allowed := out.Action != event.ActionDeny && in.Action != event.ActionDeny
	if got.Echoed != allowed {
		return fmt.Sprintf("echoed: got %t (%v), want %t", got.Echoed, got.Errno, allowed)
	}
	if out.Action != event.ActionDeny {
		return ""
	}
	want := map[string]unix.Errno{"tcp": unix.ECONNREFUSED, "udp": unix.EPERM}[a.Net]
	if got.Errno != want || got.Took > patience/2 {
		return fmt.Sprintf("got %v after %v, want %v at once", got.Errno, got.Took, want)
	}
	return ""
}

func decide(c *table.Table, f rule.Facts) rule.Decision {
	return c.Set().Combine(c.Votes(&f), time.Now())
}

// connection is one that a client tries.
type connection struct {
	ask    ask
	client int
}

func (c connection) facts(f *field, d event.Direction) rule.Facts {
	subject := rule.Subject{Exe: "/bin/worker", Kind: event.ExecutableFile, UID: c.ask.UID, HasUID: true, Cgroup: f.at[c.client]}
	if d == event.In {
		subject.UID, subject.Cgroup = serverUID, f.server
	}
	if subject.User = "nobody's"; subject.UID == 0 {
		subject.User = "root"
	}
	to := rule.Endpoint{Addr: c.ask.Addr.Addr(), Port: c.ask.Addr.Port(), HasPort: true}
	from := rule.Endpoint{Addr: to.Addr, Port: 40000, HasPort: true}
	switch to.Addr {
	case bpftest.ServerV4:
		from.Addr = bpftest.ClientV4
	case bpftest.ServerV6:
		from.Addr = bpftest.ClientV6
	}
	return rule.Facts{Process: subject, Direction: d, Proto: c.ask.Net, To: to, From: from}
}

// gen draws policies and connections.
type gen struct {
	*rand.Rand
	f *field
}

func (g *gen) chance(p float64) bool { return g.Float64() < p }

// some draws one to three of all.
func some[T any](g *gen, all []T) []T {
	out := slices.Clone(all)
	g.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out[:min(len(out), 1+g.IntN(3))]
}

var uids = []uint32{0, 1000, serverUID, 70000}

func (g *gen) connection() connection {
	return connection{client: g.IntN(len(g.f.clients)), ask: ask{Op: "connect", Net: []string{"tcp", "udp"}[g.IntN(2)],
		UID: uids[g.IntN(len(uids))], Addr: netip.AddrPortFrom(g.f.hosts[g.IntN(len(g.f.hosts))], g.f.ports[g.IntN(len(g.f.ports))])}}
}

func (g *gen) set() *rule.Set {
	list := rule.NewList("near", []rule.Host{{Kind: rule.HostNet, Net: netip.MustParsePrefix("fd77::/16")}, {Kind: rule.HostNet, Net: netip.MustParsePrefix("10.77.0.2/31")}})
	var rules []rule.Rule
	for i := range 1 + g.IntN(6) {
		r := rule.Rule{ID: fmt.Sprintf("r%d", i), Mode: event.ModeEnforce, Match: g.match(),
			Action: []event.Action{event.ActionAllow, event.ActionAllow, event.ActionDeny, event.ActionDeny, event.ActionAlert}[g.IntN(5)]}
		if g.chance(0.1) {
			r.Mode = event.ModeAudit
		}
		if g.chance(0.1) {
			r.Expires = time.Now().Add(time.Duration(g.IntN(2)*2-1) * time.Hour)
		}
		for r.Action != event.ActionAllow && g.chance(0.3) {
			r.Except = append(r.Except, g.match())
		}
		if len(nft.Refused(rule.NewSet([]rule.Rule{r}, nil, []*rule.List{list}, nil))) == 0 {
			rules = append(rules, r)
		}
	}
	var confine []rule.Confine
	if g.chance(0.5) {
		c := rule.Confine{ID: "confined", Mode: event.ModeEnforce, Process: g.process()}
		for g.chance(0.3) {
			if p := g.process(); p != nil {
				c.Except = append(c.Except, *p)
			}
		}
		confine = append(confine, c)
	}
	return rule.NewSet(rules, confine, []*rule.List{list}, nil)
}

func (g *gen) match() rule.Match {
	m := rule.Match{Process: g.process(), To: g.end(g.ports)}
	if g.chance(0.3) {
		m.From = g.end(g.sourcePorts)
	}
	if g.chance(0.5) {
		m.Direction = some(g, []event.Direction{event.Out, event.Out, event.In})
	}
	return m
}

func (g *gen) process() *rule.ProcessMatch {
	var p rule.ProcessMatch
	if g.chance(0.4) {
		for _, uid := range some(g, uids) {
			p.UID = append(p.UID, rule.UIDRange{First: uid, Last: uid + uint32(g.IntN(2))})
		}
	}
	if g.chance(0.1) {
		p.User = []string{"root"}
		p.UID = append(p.UID, rule.UIDRange{First: 0, Last: 5})
	}
	if g.chance(0.4) {
		for _, text := range some(g, []string{g.f.at[0], g.f.at[0] + "/**", g.f.at[1], g.f.at[2], "/**", "/nowhere"}) {
			p.Cgroup = append(p.Cgroup, rule.Pattern{Text: text, Kind: rule.PathPattern})
		}
	}
	if p.IsZero() {
		return nil
	}
	return &p
}

func (g *gen) ports() (out []rule.PortRange) {
	for _, port := range some(g, g.f.ports) {
		out = append(out, rule.PortRange{First: port, Last: port + uint16(g.IntN(1000))})
	}
	return out
}

// sourcePorts are ranges that hold every port that the kernel may choose, or
// none of them.
func (g *gen) sourcePorts() []rule.PortRange {
	return some(g, []rule.PortRange{{First: 1, Last: 1000}, {First: 1, Last: 1}, {First: 1024, Last: 65535}})
}

func (g *gen) end(ports func() []rule.PortRange) *rule.EndpointMatch {
	var e rule.EndpointMatch
	if g.chance(0.4) {
		hosts := []rule.Host{{Kind: rule.HostList, Name: "near"}}
		for _, p := range []string{"10.77.0.2/32", "10.0.0.0/8", "127.0.0.0/8", "fd77::/64", "::/0", "0.0.0.0/0", "10.77.0.0/31"} {
			hosts = append(hosts, rule.Host{Kind: rule.HostNet, Net: netip.MustParsePrefix(p)})
		}
		e.Host = some(g, hosts)
	}
	if g.chance(0.4) {
		e.Port = ports()
	}
	if g.chance(0.3) {
		e.Proto = some(g, []string{"tcp", "udp", "icmp"})
	}
	if g.chance(0.2) {
		e.Scope = some(g, []rule.Scope{rule.ScopeLoopback, rule.ScopeLAN, rule.ScopeInternet})
	}
	if e.IsZero() {
		return nil
	}
	return &e
}

func dump(s *rule.Set) string {
	b, err := rule.Marshal(s, rule.Comments{})
	if err != nil {
		var out strings.Builder
		for _, r := range s.Rules {
			fmt.Fprintf(&out, "%+v\n", r)
		}
		return out.String() + err.Error()
	}
	return string(b)
}
