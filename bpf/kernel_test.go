package bpf

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"snitch/bpf/bpftest"
	"snitch/bpf/features"
)

// enter moves this process into a cgroup of the test's own, and back at its end.
func enter(t testing.TB) string {
	t.Helper()
	root, err := bpftest.CgroupRoot()
	if err != nil {
		t.Fatal(err)
	}
	self := []byte(strconv.Itoa(os.Getpid()))
	c := bpftest.NewCgroup(t)
	t.Cleanup(func() {
		if err := os.WriteFile(filepath.Join(root, "cgroup.procs"), self, 0); err != nil {
			t.Errorf("leave cgroup: %v", err)
		}
	})
	if err := os.WriteFile(filepath.Join(c.Dir(), "cgroup.procs"), self, 0); err != nil {
		t.Fatalf("enter cgroup: %v", err)
	}
	return c.Dir()
}

// load loads the reference tier for the test's cgroup only.
func load(t testing.TB, cfg Config) *Kernel {
	t.Helper()
	return loadIn(t, enter(t), cfg)
}

func loadIn(t testing.TB, cgroup string, cfg Config) *Kernel {
	t.Helper()
	cfg.Tier = features.TierReference
	needTier(t, cfg.Tier)
	cfg.Cgroup, cfg.Filter = cgroup, true
	k, err := Load(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := k.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return k
}

// ledger sums flows by what tests tell apart.
type ledger map[ledgerKey]*ledgerRow

type ledgerKey struct {
	pid    uint32
	kind   uint8
	proto  uint16
	remote netip.AddrPort
}

type ledgerRow struct {
	FlowValue
	flows int
}

func (k ledgerKey) String() string {
	return fmt.Sprintf("pid %d kind %d proto %d %s", k.pid, k.kind, k.proto, k.remote)
}

func (l ledger) add(f *Flow) {
	addr := netip.AddrFrom16(f.Key.Raddr).Unmap()
	key := ledgerKey{f.Key.Id.Pid, f.Key.Kind, f.Key.Proto, netip.AddrPortFrom(addr, f.Key.Rport)}
	row := l[key]
	if row == nil {
		row = &ledgerRow{FlowValue: f.Value}
		row.Sent, row.Received, row.SentOps, row.RecvOps = 0, 0, 0, 0
		l[key] = row
	}
	row.flows++
	row.Sent += f.Value.Sent
	row.Received += f.Value.Received
	row.SentOps += f.Value.SentOps
	row.RecvOps += f.Value.RecvOps
	row.Result = f.Value.Result
	row.Flags |= f.Value.Flags
}

func (l ledger) String() string {
	s := ""
	for k, r := range l {
		s += fmt.Sprintf("  %s: sent %d (%d) received %d (%d) result %d flags %d local %s:%d\n", k, r.Sent, r.SentOps,
			r.Received, r.RecvOps, r.Result, r.Flags, netip.AddrFrom16(r.Laddr).Unmap(), r.Lport)
	}
	return s
}

// drain adds all that is there to l.
func drain(t testing.TB, k *Kernel, l ledger) {
	t.Helper()
	if err := k.Drain(l.add); err != nil {
		t.Fatal(err)
	}
}

func noLosses(t testing.TB, k *Kernel) {
	t.Helper()
	losses, err := k.Losses()
	if err != nil {
		t.Fatal(err)
	}
	for cause, l := range losses {
		if cause == LossMissed && l.Count != 0 {
			t.Logf("the kernel skipped %d runs", l.Count) // 7.x does; the test judges the sums
		} else if l.Count != 0 {
			t.Errorf("loss %d: %+v, want none", cause, l)
		}
	}
	if losses[LossMissed].Count == 0 {
		expectHealed(t, k, 0, 0)
	}
}
