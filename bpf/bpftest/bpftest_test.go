package bpftest

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

func TestPairCarriesTraffic(t *testing.T) {
	CheckDescriptors(t)
	p := NewPair(t)
	for _, at := range []netip.Addr{ServerV4, ServerV6} {
		t.Run(at.String(), func(t *testing.T) {
			var l net.Listener
			err := p.Server.Do(func() (err error) {
				l, err = net.Listen("tcp", netip.AddrPortFrom(at, 0).String())
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			var c net.Conn
			err = p.Client.Do(func() (err error) {
				c, err = net.DialTimeout("tcp", l.Addr().String(), 5*time.Second)
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			if err := c.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// A SYN to the blackhole gets no answer of any kind.
func TestBlackholeIsSilent(t *testing.T) {
	p := NewPair(t)
	err := p.Client.Do(func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		tv := unix.NsecToTimeval((200 * time.Millisecond).Nanoseconds())
		if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &tv); err != nil {
			return err
		}
		return unix.Connect(fd, &unix.SockaddrInet4{Port: 80, Addr: BlackholeV4.As4()})
	})
	if !errors.Is(err, unix.EINPROGRESS) {
		t.Errorf("connect says %v, want EINPROGRESS after its own time-out", err)
	}
}

func TestStartPutsProcessInPlace(t *testing.T) {
	ns, cg := NewNamespace(t), NewCgroup(t)
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestHelperWhere$", "-test.v")
	cmd.Env = append(os.Environ(), "BPFTEST_HELPER=1")
	var out strings.Builder
	cmd.Stdout = &out
	if err := Start(cmd, Place{Net: ns, Cgroup: cg}); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	want, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(out.String(), want) || !strings.Contains(out.String(), "net:[") {
		t.Errorf("process is in the test's own network namespace:\n%s", out.String())
	}
	if !strings.Contains(out.String(), "0::"+cg.Path()+"\n") {
		t.Errorf("process is not in cgroup %s:\n%s", cg.Path(), out.String())
	}
}

func TestHelperWhere(t *testing.T) {
	if os.Getenv("BPFTEST_HELPER") == "" {
		return // not a test: the process that TestStartPutsProcessInPlace starts
	}
	ns, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	cg, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s\n%s", ns, cg)
}

func TestHeldFindsAndMisses(t *testing.T) {
	cg := NewCgroup(t)
	prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.CGroupSKB, License: "GPL", AttachType: ebpf.AttachCGroupInetEgress,
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 1), asm.Return()}})
	if err != nil {
		t.Fatal(err)
	}
	defer prog.Close()
	l, err := link.AttachCgroup(link.CgroupOptions{Path: cg.Dir(), Attach: ebpf.AttachCGroupInetEgress, Program: prog})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	held, err := HeldBy(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if len(held.Links) != 1 || len(held.Programs) != 1 {
		t.Errorf("found links %v and programs %v, want one of each", held.Links, held.Programs)
	}
	if err := held.Gone(0); err == nil {
		t.Error("nothing is said to be left while link and program are open")
	}
	if err := cg.Unattached(); err == nil {
		t.Error("nothing is said to be attached to the cgroup")
	}
	if err := errors.Join(l.Close(), prog.Close()); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(held.Gone(5*time.Second), cg.Unattached()); err != nil {
		t.Error(err)
	}
}

func TestNewDescriptorsAreNamed(t *testing.T) {
	got := newDescriptors(map[string]string{"3": "a", "4": "b"}, map[string]string{"3": "a", "4": "c", "5": "d"})
	if want := []string{"4 c", "5 d"}; strings.Join(got, ",") != strings.Join(want, ",") {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestExpectedMissing(t *testing.T) {
	t.Setenv("SNITCH_MISSING", "a,b")
	for _, c := range []struct {
		name    string
		feature Feature
		want    bool
	}{
		{"listed", Feature{Name: "b"}, true},
		{"not listed", Feature{Name: "c"}, false},
		{"too new", Feature{Name: "c", Since: "99.0"}, true},
		{"old enough", Feature{Name: "c", Since: "4.0"}, false},
		{"gone", Feature{Name: "c", Until: "4.0"}, true},
		{"still there", Feature{Name: "c", Until: "99.0"}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := c.feature.expectedMissing(); (got != "") != c.want {
				t.Errorf("got reason %q, want one: %v", got, c.want)
			}
		})
	}
}

func TestOlderThan(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{{"5.10.0-1", "5.11", true}, {"6.1.0", "5.19", false}, {"6.12-rc1", "6.12", false}, {"6.2", "6.12", true}, {"7", "7.1", true}} {
		if got := olderThan(c.a, c.b); got != c.want {
			t.Errorf("olderThan(%q, %q) = %v, want %v", c.a, c.b, got, c.want)
		}
	}
}
