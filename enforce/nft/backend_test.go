package nft_test

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"snitch/bpf/bpftest"
	"snitch/enforce"
	"snitch/enforce/nft"
	"snitch/monitor/event"
	"snitch/policy"
	"snitch/policy/rule"
)

var (
	_ enforce.Backend  = (*nft.Backend)(nil)
	_ enforce.Beater   = (*nft.Backend)(nil)
	_ enforce.Subjects = (*nft.Backend)(nil)
)

const stateDir = "/var/lib/snitch-test"

// newBackend makes a backend in a namespace of the test. The test closes it.
func newBackend(t testing.TB, ns *bpftest.Namespace) *nft.Backend {
	t.Helper()
	root, err := bpftest.CgroupRoot()
	if err != nil {
		t.Fatal(err)
	}
	b, err := nft.New(nft.Config{Table: nft.Name(stateDir), NetNS: ns.Fd(), Cgroups: root},
		nft.Deps{Log: slog.New(slog.DiscardHandler), Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// closing ends b with the test.
func closing(t testing.TB, b *nft.Backend) *nft.Backend {
	t.Cleanup(func() {
		if err := b.Close(context.Background(), false); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return b
}

func parse(t testing.TB, yaml string) *rule.Set {
	t.Helper()
	loaded, err := rule.Parse("rules.yaml", []byte("version: 1\n"+yaml))
	if err != nil {
		t.Fatal(err)
	}
	return loaded.Set
}

func enforced(set *rule.Set) enforce.Desired {
	return enforce.Desired{Mode: event.ModeEnforce, Policy: &policy.Policy{Set: set}, FailClosed: true}
}

func set(t testing.TB, b *nft.Backend, d enforce.Desired) {
	t.Helper()
	if err := b.Set(context.Background(), d); err != nil {
		t.Fatalf("set: %v", err)
	}
}

// tables lists what is in a namespace.
func tables(t testing.TB, ns *bpftest.Namespace) (out []string) {
	t.Helper()
	conn, err := nftables.New(nftables.WithNetNSFd(ns.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	all, err := conn.ListTables()
	if err != nil {
		t.Fatal(err)
	}
	for _, table := range all {
		out = append(out, table.Name)
	}
	return out
}

// foreign puts a table of somebody else into a namespace.
func foreign(t testing.TB, ns *bpftest.Namespace) {
	t.Helper()
	conn, err := nftables.New(nftables.WithNetNSFd(ns.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	table := conn.AddTable(&nftables.Table{Name: "theirs", Family: nftables.TableFamilyINet})
	chain := conn.AddChain(&nftables.Chain{Name: "output", Table: table, Type: nftables.ChainTypeFilter,
		Hooknum: nftables.ChainHookOutput, Priority: nftables.ChainPriorityFilter})
	conn.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: []expr.Any{&expr.Counter{}}})
	if err := conn.Flush(); err != nil {
		t.Fatal(err)
	}
}

// cgroupMatch is the expression that tells a socket's cgroup.
func cgroupMatch(ns *bpftest.Namespace) *bpftest.Feature {
	return &bpftest.Feature{Name: "nft socket cgroupv2", Since: "5.13", Config: "CONFIG_NFT_SOCKET", Probe: func() error {
		h, err := nft.OpenHold(nft.HoldConfig{Table: "snitch-probe", NetNS: ns.Fd(), Number: 1, CgroupLevel: 1, CgroupID: 1, DenyMark: 1})
		if err != nil {
			return err
		}
		return h.Close()
	}}
}

var server = netip.AddrPortFrom(bpftest.ServerV4, 443)

const denyServer = `
rules:
  - {id: no-server, action: deny, to: {host: 10.77.0.2, port: 443}}
`

// pairOf is a client, and a server that echoes.
func pairOf(t testing.TB) (*bpftest.Pair, *worker) {
	t.Helper()
	p := bpftest.NewPair(t)
	startWorker(t, bpftest.Place{Net: p.Server}).serve(t, 0, 443, 80, 5353)
	return p, startWorker(t, bpftest.Place{Net: p.Client})
}

// TestDenied sees what a denied program sees, at once.
func TestDenied(t *testing.T) {
	p, client := pairOf(t)
	b := closing(t, newBackend(t, p.Client))
	set(t, b, enforced(parse(t, denyServer)))
	for network, want := range map[string]unix.Errno{"tcp": unix.ECONNREFUSED, "udp": unix.EPERM} {
		got := client.do(t, ask{Op: "connect", Net: network, Addr: server})
		if got.Errno != want || got.Took > patience/2 {
			t.Errorf("%s: got %v after %v, want %v at once", network, got.Errno, got.Took, want)
		}
		t.Logf("%s: %v after %v", network, got.Errno, got.Took)
		if got := client.do(t, ask{Op: "connect", Net: network, Addr: netip.AddrPortFrom(bpftest.ServerV4, 80)}); !got.Echoed {
			t.Errorf("%s to another port: got %v, want an answer", network, got.Errno)
		}
	}
	hits, err := b.Hits()
	if err != nil {
		t.Fatal(err)
	}
	if got := hits["no-server"].Packets; got != 2 {
		t.Errorf("hits: got %d packets (%v), want 2", got, hits)
	}
	set(t, b, enforced(parse(t, denyServer))) // counters outlive the table
	if again, err := b.Hits(); err != nil || again["no-server"] != hits["no-server"] {
		t.Errorf("hits of a new table: got %v, %v, want %v", again, err, hits)
	}
	if got := b.Status().Denied; got != 2 {
		t.Errorf("denied: got %d, want 2", got)
	}
}

// TestTable holds that the table comes, is replaced and goes, and that those of
// others stay.
func TestTable(t *testing.T) {
	ns := bpftest.NewNamespace(t)
	foreign(t, ns)
	want := func(when string, names ...string) {
		t.Helper()
		got := tables(t, ns)
		for i, name := range got {
			if strings.HasPrefix(name, nft.Name(stateDir)+"-") { // a digit changes with each Set
				got[i] = nft.Name(stateDir)
			}
		}
		slices.SortFunc(got, func(a, b string) int { return strings.Compare(b, a) })
		if strings.Join(got, " ") != strings.Join(names, " ") {
			t.Errorf("%s: got tables %q, want %q", when, got, names)
		}
	}
	own := nft.Name(stateDir)
	b := newBackend(t, ns)
	want("before the first Set", "theirs")
	for range 3 {
		set(t, b, enforced(parse(t, denyServer)))
		want("enforced", "theirs", own)
	}
	if got := b.Status().Generation; got != 3 {
		t.Errorf("got generation %d, want 3", got)
	}
	set(t, b, enforce.Desired{Mode: event.ModeAudit})
	want("audit", "theirs")
	set(t, b, enforced(parse(t, denyServer)))
	if err := b.Close(context.Background(), true); err != nil {
		t.Fatal(err)
	}
	want("left behind", "theirs", own)

	again := newBackend(t, ns)
	set(t, again, enforced(parse(t, denyServer)))
	want("taken over", "theirs", own)
	if err := again.Close(context.Background(), false); err != nil {
		t.Fatal(err)
	}
	want("closed", "theirs")
	if err := nft.Remove(nft.Config{Table: own, NetNS: ns.Fd()}); err != nil {
		t.Errorf("remove what is not there: %v", err)
	}
	want("removed", "theirs")
}

// TestProtected: the rules that snitch adds of its own can be honoured here, if
// they name its helper by its user.
func TestProtected(t *testing.T) {
	session := enforce.Session{Peer: bpftest.ServerV4, Local: netip.AddrPortFrom(bpftest.ClientV4, 22)}
	for exe, refused := range map[string]bool{"": false, "/usr/bin/snitch": true} {
		p := enforce.Protected{Helper: &enforce.Helper{Exe: exe, UID: 990}, Sessions: []enforce.Session{session}}
		s, err := p.Merge(parse(t, denyServer+"confine:\n  - {id: all, process: any}\n"))
		if err != nil {
			t.Fatal(err)
		}
		if got := nft.Refused(s); len(got) > 0 != refused {
			t.Errorf("helper %q: got %v", exe, got)
		}
	}
}

// TestRefused holds that what cannot be honoured is named, and changes nothing.
func TestRefused(t *testing.T) {
	p, client := pairOf(t)
	b := closing(t, newBackend(t, p.Client))
	set(t, b, enforced(parse(t, denyServer)))
	err := b.Set(context.Background(), enforced(parse(t, `
rules:
  - {id: by-name, action: deny, to: {host: example.org}}
  - {id: by-program, action: allow, process: {exe: /usr/bin/git}, to: {port: 443}}
  - {id: told, action: alert, process: {exe: /usr/bin/git}}
`)))
	var refused *nft.RefusedError
	if !errors.As(err, &refused) {
		t.Fatalf("got %v, want a RefusedError", err)
	}
	want := []string{`rules.yaml:4:38: rule by-name: to.host: "example.org"`, "rules.yaml:5:47: rule by-program: process.exe: "}
	for _, w := range want {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("got %q, want %q in it", err, w)
		}
	}
	if len(refused.Rules) != 2 {
		t.Errorf("got %v, want two rules: alerts deny nothing", refused.Rules)
	}
	audit := enforced(parse(t, "rules:\n  - {id: by-name, action: deny, to: {host: example.org}}\n"))
	audit.Mode = event.ModeAudit
	defer func() {
		set(t, b, audit)
		if got := b.Status(); len(got.Unheld) != 1 || got.Mode != event.ModeAudit || len(got.Hooks) != 0 {
			t.Errorf("audit: got %+v, want the rule that enforce would refuse, and no hooks", got)
		}
	}()
	if got := client.do(t, ask{Op: "connect", Net: "tcp", Addr: server}); got.Errno != unix.ECONNREFUSED {
		t.Errorf("after a refused Set: got %v, want what held before", got.Errno)
	}
}
