package main

import (
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"snitch/bpf/bpftest"
	"snitch/bpf/features"
	"snitch/monitor/event"
)

// nftables is a pair of network namespaces: a daemon denies by nftables in the
// client's, and peers listen in the server's.
type nftables struct {
	*enforcing
	pair *bpftest.Pair
}

func newNftables(t *testing.T) *nftables {
	t.Helper()
	if testing.Short() {
		t.Skip("short: runs the daemon")
	}
	return &nftables{pair: bpftest.NewPair(t), enforcing: &enforcing{t: t, group: bpftest.NewCgroup(t), rules: t.TempDir(), prog: place(t)}}
}

// listen makes a peer in the server's namespace.
func (n *nftables) listen() (address string, port int) {
	n.t.Helper()
	var l net.Listener
	err := n.pair.Server.Do(func() (err error) {
		l, err = net.Listen("tcp4", netip.AddrPortFrom(bpftest.ServerV4, 0).String())
		return err
	})
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() { _ = l.Close() })
	return l.Addr().String(), l.Addr().(*net.TCPAddr).Port
}

func (n *nftables) run(state string, args ...string) *daemonProcess {
	n.t.Helper()
	return startDaemonAt(n.t, n.pair.Client, state, nil, append([]string{"--backend", "nft", "--rules", n.rules, "--interval", "1h", "--cgroup", n.group.Dir()}, args...)...)
}

// TestNftDenies: the second backend denies in its network namespace, the log
// says so, and rules that packets cannot be matched by are refused by name.
func TestNftDenies(t *testing.T) {
	if !features.Detect(t.Context()).Has(features.NftCgroup) {
		t.Skip("missing feature: nft socket cgroupv2")
	}
	n := newNftables(t)
	open, _ := n.listen()
	denied, port := n.listen()
	file := filepath.Join(n.rules, "a.yaml")
	writeFile(t, file, fmt.Sprintf("version: 1\nrules:\n  - id: not-there\n    action: deny\n    process: {cgroup: [%s, %s/**]}\n    to: {port: %d}\n", n.group.Path(), n.group.Path(), port))
	state, config := tempState(t), filepath.Join(t.TempDir(), "config.yaml")
	writeFile(t, config, "version: 1\nreverse_dns: true\n") // whose helper is protected by a rule that packets can be matched by
	d := n.run(state, "--mode", "enforce", "--config", config)
	p := startProbe(t, n.prog, bpftest.Place{Cgroup: n.group, Net: n.pair.Client})
	p.expect(0, "tcp", open)
	p.expect(syscall.ECONNREFUSED, "tcp", denied)
	eventually(t, "it is in the log", func() bool {
		rows := records(t, d, port)
		return len(rows) == 1 && rows[0].Result == "denied" && rows[0].Action == "deny" && rows[0].Rule == "not-there" && rows[0].Exe == n.prog
	})
	st := d.status(t)
	if b := st.Enforce.Backend; b == nil || b.Name != "nft" || b.Mode != "enforce" || b.Denied == 0 {
		t.Errorf("status: %+v", b)
	}

	// What packets do not show is refused loudly, and what held goes on.
	writeFile(t, file, fmt.Sprintf("version: 1\nrules:\n  - id: by-program\n    action: deny\n    process: {exe: %s}\n    to: {port: %d}\n", n.prog, port))
	eventually(t, "the rule is refused", func() bool {
		e := d.status(t).Enforce
		return strings.Contains(e.Problem, "by-program") && strings.Contains(e.Problem, "exe") && strings.Contains(e.Problem, "a.yaml:5:15")
	})
	p.expect(syscall.ECONNREFUSED, "tcp", denied)
	eventually(t, "people are told", func() bool {
		if err := d.client.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		return slices.ContainsFunc(alertsOf(t, state), func(a event.Alert) bool { return strings.Contains(a.Reason, "by-program") })
	})
	d.signal(t, syscall.SIGTERM)
	d.end(t)
	p.expect(0, "tcp", denied)
}
