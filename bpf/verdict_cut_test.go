package bpf

import (
	"maps"
	"net"
	"net/netip"
	"os"
	"slices"
	"testing"

	"snitch/bpf/features"
)

// After a flip exactly the open connections that it forbids are listed, each
// once, by the storage of sockets and by descriptor.
func TestForbidden(t *testing.T) {
	for _, c := range []struct {
		name  string
		held  bool
		needs []features.Feature
	}{
		{"storage", false, []features.Feature{features.StorageIterator}},
		{"held", true, []features.Feature{features.FileIterator, features.TracingStorage}},
	} {
		t.Run(c.name, func(t *testing.T) {
			report := features.Detect(t.Context())
			for _, need := range c.needs {
				if !report.Has(need) {
					t.Skipf("missing feature: %s", need)
				}
			}
			v := verdicts(t, VerdictConfig{Cgroup: enter(t), held: c.held})
			generation := attached(t, v, VerdictAllow)
			id := self(t, v)
			if err := v.PutSubject(id, subjectOf(generation, 1)); err != nil {
				t.Fatal(err)
			}
			open := map[netip.AddrPort]struct{}{}
			for _, host := range []string{"127.0.0.1", "::1"} {
				tcp, udp := listeners(t, host)
				for network, addr := range map[string]string{"tcp": tcp, "udp": udp.LocalAddr().String()} {
					conn := dialFor(t, network, addr)
					open[netip.MustParseAddrPort(conn.LocalAddr().String())] = struct{}{}
				}
			}
			if got := forbidden(t, v); len(got) != 0 {
				t.Errorf("before the flip %v are listed", got)
			}
			next, tables := uniform(t, v, VerdictDeny)
			if err := v.PutSubject(id, subjectOf(next, 1)); err != nil {
				t.Fatal(err)
			}
			flip(t, v, next, tables)
			want := slices.SortedFunc(maps.Keys(open), netip.AddrPort.Compare)
			if got := forbidden(t, v); !slices.Equal(got, want) {
				t.Errorf("after the flip %v are listed, want %v", got, want)
			}
		})
	}
}

// dialFor opens a connection for the test, with a second descriptor of it.
func dialFor(t *testing.T, network, addr string) net.Conn {
	t.Helper()
	dialer := net.Dialer{}
	dialer.SetMultipathTCP(false)
	conn, err := dialer.DialContext(t.Context(), network, addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	again, err := conn.(interface {
		File() (f *os.File, err error)
	}).File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { again.Close() })
	return conn
}

// forbidden are the local ends of the connections this process began that are
// listed: who holds the other ends of TCP, if nobody accepts them, depends.
func forbidden(t *testing.T, v *Verdicts) (ends []netip.AddrPort) {
	t.Helper()
	err := v.Forbidden(func(e *VerdictEvent) {
		if e.Hook != VerdictAtCut || e.Interface != 0 {
			t.Errorf("an event makes no sense: %+v", e)
		}
		if e.Direction == uint8(verdictVerdictDirectionVERDICT_OUT) {
			ends = append(ends, netip.AddrPortFrom(netip.AddrFrom16(e.Laddr).Unmap(), e.Lport))
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(ends, netip.AddrPort.Compare)
	return ends
}
