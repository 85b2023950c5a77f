package bpf

import (
	"errors"
	"iter"
	"maps"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/cilium/ebpf/btf"
	"golang.org/x/sys/unix"
)

// The Go types have the sizes and offsets that clang gave the C types.
func TestVerdictLayout(t *testing.T) {
	spec, err := loadVerdict()
	if err != nil {
		t.Fatal(err)
	}
	for name, v := range map[string]any{
		"process_id": VerdictID{}, "verdict_control": verdictVerdictControl{}, "verdict_subject": VerdictSubject{},
		"verdict_pending": VerdictPending{}, "verdict_image": VerdictImage{}, "verdict_group_key": VerdictGroupKey{},
		"verdict_group": VerdictGroup{}, "verdict_place_key": VerdictPlaceKey{}, "verdict_address_key": VerdictAddressKey{},
		"verdict_row_key": VerdictRowKey{}, "verdict_entry": VerdictEntry{}, "verdict_decision_key": VerdictDecisionKey{},
		"verdict_decision": VerdictDecision{}, "verdict_event": VerdictEvent{}, "query": verdictQuery{},
	} {
		var c *btf.Struct
		if err := spec.Types.TypeByName(name, &c); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		compareLayout(t, c, reflect.TypeOf(v))
	}
}

// verdicts loads for a cgroup of the test; nothing is attached.
func verdicts(t testing.TB, cfg VerdictConfig) *Verdicts {
	t.Helper()
	v, err := LoadVerdicts(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := v.Close(false); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return v
}

func one[K, V any](k K, v V) iter.Seq2[K, V] { return func(yield func(K, V) bool) { yield(k, v) } }

// uniform is a generation in which class 1 gets one verdict wherever it goes.
func uniform(t testing.TB, v *Verdicts, verdict uint8) (uint32, *VerdictTables) {
	t.Helper()
	tables, err := v.NewTables(VerdictSizes{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tables.Close() })
	groups := map[VerdictGroupKey]VerdictGroup{}
	for d := uint8(1); d <= 3; d++ {
		groups[VerdictGroupKey{Class: 1, Direction: d}] = VerdictGroup{Id: 7}
	}
	row := VerdictRowKey{Bits: 96}
	row.Row[3] = 7
	withPort := row
	withPort.Row[11] = 1
	entry := VerdictEntry{Verdict: verdict, Rule: 3}
	err = errors.Join(tables.PutRows(one(row, entry)), tables.PutRows(one(withPort, entry)),
		tables.PutRows(one(VerdictRowKey{Bits: 112, Row: row.Row}, entry)), tables.PutGroups(maps.All(groups)))
	if err != nil {
		t.Fatal(err)
	}
	generation, err := v.Stage(tables, 0)
	if err != nil {
		t.Fatal(err)
	}
	return generation, tables
}

func flip(t testing.TB, v *Verdicts, generation uint32, tables *VerdictTables) {
	t.Helper()
	if err := v.Flip(generation, tables); err != nil {
		t.Fatal(err)
	}
}

// attached attaches to the test's cgroup and switches enforcement on, under a
// first generation in which class 1 gets verdict; nobody is of a class yet.
func attached(t testing.TB, v *Verdicts, verdict uint8) uint32 {
	t.Helper()
	generation, tables := uniform(t, v, verdict)
	flip(t, v, generation, tables)
	v.SetDefaults(VerdictDefaults{BeatLimit: time.Hour, Undecided: VerdictAllow})
	if err := errors.Join(v.Beat(), v.Attach()); err != nil {
		t.Fatal(err)
	}
	v.SetMode(true)
	return generation
}

// self is this process as the kernel knows it: an attempt of an unknown process
// tells.
func self(t testing.TB, v *Verdicts) VerdictID {
	t.Helper()
	_ = connectErr("udp4", "127.0.0.1:9")
	var id VerdictID
	for deadline := time.Now().Add(5 * time.Second); id.Start == 0 && time.Now().Before(deadline); {
		err := v.Poll(100*time.Millisecond, func(e *VerdictEvent) {
			if e.Type == VerdictAsked && e.Flags&VerdictUnknown != 0 && int(e.Id.Pid) == os.Getpid() {
				id = e.Id
			}
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if id.Start == 0 {
		t.Fatal("no event of an unknown process")
	}
	return id
}

func subjectOf(generation, class uint32) VerdictSubject {
	s := VerdictSubject{}
	s.Class[generation&1], s.Child[generation&1], s.Generation[generation&1] = class, class, generation
	return s
}

func connectErr(network, addr string) error {
	c, err := net.DialTimeout(network, addr, time.Second)
	if err == nil {
		if network == "udp" {
			_, err = c.Write([]byte("x"))
		}
		c.Close()
	}
	return err
}

// listeners are a TCP and a UDP socket at a loopback address that stay open for
// the test; the UDP one is returned too.
func listeners(t testing.TB, host string) (tcp string, udp net.PacketConn) {
	t.Helper()
	config := net.ListenConfig{}
	config.SetMultipathTCP(false)
	ln, err := config.Listen(t.Context(), "tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	udp, err = net.ListenPacket("udp", net.JoinHostPort(host, "0"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { udp.Close() })
	return ln.Addr().String(), udp
}

// What a class may not do fails at once with EPERM, on every way to say it, and
// a flip changes it.
func TestVerdictsDenyAndFlip(t *testing.T) {
	cgroup := enter(t)
	ways := map[string]func() error{}
	for _, host := range []string{"127.0.0.1", "::1"} {
		tcp, udp := listeners(t, host)
		ways["tcp "+host] = func() error { return connectErr("tcp", tcp) }
		ways["udp "+host] = func() error { return connectErr("udp", udp.LocalAddr().String()) }
		sender, err := net.ListenPacket("udp", net.JoinHostPort(host, "0"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { sender.Close() })
		ways["sendto "+host] = func() error {
			_, err := sender.WriteTo([]byte("x"), udp.LocalAddr())
			return err
		}
	}
	ways["listen"] = func() error {
		ln, err := net.Listen("tcp4", "127.0.0.1:34567")
		if err == nil {
			ln.Close()
		}
		return err
	}
	ways["raw"] = func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_ICMP)
		if err == nil {
			unix.Close(fd)
		}
		return err
	}
	v := verdicts(t, VerdictConfig{Cgroup: cgroup})
	generation := attached(t, v, VerdictDeny)
	id := self(t, v)
	expect := func(want error) {
		t.Helper()
		for name, way := range ways {
			began := time.Now()
			if err := way(); !errors.Is(err, want) {
				t.Errorf("%s: %v, want %v", name, err, want)
			}
			if took := time.Since(began); took > 500*time.Millisecond {
				t.Errorf("%s took %s", name, took)
			}
		}
	}
	expect(nil) // nobody has decided: the default passes
	if err := v.PutSubject(id, subjectOf(generation, 1)); err != nil {
		t.Fatal(err)
	}
	expect(unix.EPERM)
	for range 3 {
		for verdict, want := range map[uint8]error{VerdictAllow: nil, VerdictDeny: unix.EPERM} {
			next, tables := uniform(t, v, verdict)
			if err := v.PutSubject(id, subjectOf(next, 1)); err != nil {
				t.Fatal(err)
			}
			flip(t, v, next, tables)
			expect(want)
		}
	}
	v.SetMode(false)
	expect(nil)
	counts, err := v.Counts()
	if err != nil {
		t.Fatal(err)
	}
	if counts[CountDenied] < uint64(4*len(ways)) || counts[CountNoStorage] != 0 || counts[CountBadPacket] != 0 {
		t.Errorf("counts %v", counts)
	}
}

// What is pinned goes on judging when its process is gone, and the next process
// takes over with what it knew; then nothing is left.
func TestVerdictsSurvive(t *testing.T) {
	cgroup := enter(t)
	tcp, _ := listeners(t, "127.0.0.1")
	pins := filepath.Join("/sys/fs/bpf", "snitch-test-"+filepath.Base(cgroup))
	t.Cleanup(func() {
		if err := RemoveVerdicts(pins); err != nil {
			t.Error(err)
		}
	})
	first, err := LoadVerdicts(VerdictConfig{Cgroup: cgroup, Pins: pins})
	if err != nil {
		t.Fatal(err)
	}
	generation := attached(t, first, VerdictDeny)
	id := self(t, first)
	staged, _ := uniform(t, first, VerdictAllow) // it is gone before it flips
	err = errors.Join(first.PutSubject(id, subjectOf(generation, 1)), first.Close(true))
	if err != nil {
		t.Fatal(err)
	}
	if err := connectErr("tcp", tcp); !errors.Is(err, unix.EPERM) {
		t.Errorf("after the process: %v, want EPERM", err)
	}
	second, err := LoadVerdicts(VerdictConfig{Cgroup: cgroup, Pins: pins})
	if err != nil {
		t.Fatal(err)
	}
	if !second.Enforcing() || second.Generation() != generation {
		t.Errorf("taken over: enforcing %t, generation %d; want true, %d", second.Enforcing(), second.Generation(), generation)
	}
	if next := second.NextGeneration(); next <= staged || next&1 == generation&1 {
		t.Errorf("the next generation is %d, where %d was staged and %d is in use", next, staged, generation)
	}
	if err := errors.Join(second.Beat(), second.Attach()); err != nil {
		t.Fatal(err)
	}
	if err := connectErr("tcp", tcp); !errors.Is(err, unix.EPERM) {
		t.Errorf("after the take-over: %v, want EPERM", err)
	}
	if err := second.Close(false); err != nil {
		t.Error(err)
	}
	if err := connectErr("tcp", tcp); err != nil {
		t.Errorf("after the end: %v", err)
	}
	if _, err := os.Stat(pins); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("pins are left: %v", err)
	}
}

// Without a beat the kernel side does by itself what was configured.
func TestVerdictsWithoutABeat(t *testing.T) {
	cgroup := enter(t)
	tcp, _ := listeners(t, "127.0.0.1")
	v := verdicts(t, VerdictConfig{Cgroup: cgroup})
	generation := attached(t, v, VerdictDeny)
	id := self(t, v)
	const limit = 50 * time.Millisecond
	for _, c := range []struct {
		name         string
		closed, dead bool
		class        uint32
		want         error
	}{
		{"alive, denied", false, false, 1, unix.EPERM},
		{"dead and open, denied", false, true, 1, nil},
		{"dead and closed, denied", true, true, 1, unix.EPERM},
		{"alive and closed, unknown", true, false, 0, nil},
		{"dead and closed, unknown", true, true, 0, unix.EPERM},
	} {
		if err := v.PutSubject(id, subjectOf(generation, c.class)); err != nil {
			t.Fatal(err)
		}
		v.SetDefaults(VerdictDefaults{BeatLimit: limit, FailClosed: c.closed, Undecided: VerdictAllow})
		if err := v.Beat(); err != nil {
			t.Fatal(err)
		}
		if c.dead {
			time.Sleep(2 * limit)
		}
		if err := connectErr("tcp", tcp); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
}
