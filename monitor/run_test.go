package monitor

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"sync"
	"testing"
	"time"

	"snitch/bpf"
	"snitch/bpf/bpftest"
	"snitch/monitor/digest"
	"snitch/monitor/dns"
	"snitch/monitor/event"
	"snitch/monitor/process"
)

// TestMain is also the program that makes traffic: "dial ADDRESS".
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "dial" {
		if err := dial(os.Args[2]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

const (
	clientSends    = 123456
	clientReceives = 4321
)

func dial(address string) error {
	c, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := c.Write(make([]byte, clientSends)); err != nil {
		return err
	}
	n, err := io.Copy(io.Discard, c)
	if err == nil && n != clientReceives {
		err = fmt.Errorf("received %d bytes", n)
	}
	return err
}

// rooms are a monitor and all that it joins, on this kernel.
type rooms struct {
	monitor *Monitor
	mu      sync.Mutex
	rows    map[uint64]event.Connection
	execs   []event.ExecSeen
}

func (r *rooms) take(b Batch) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range b.Connections {
		r.rows[c.ID] = c
	}
	r.execs = append(r.execs, b.Execs...)
}

// open starts a monitor for the sockets of one cgroup; stop ends it and
// returns when its last batch was published.
func open(t *testing.T, cgroup *bpftest.Cgroup) (r *rooms, stop func()) {
	t.Helper()
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	losses := NewLosses()
	kernel, err := bpf.Load(bpf.Config{Cgroup: cgroup.Dir(), Filter: true, FlowEntries: 1024})
	if err != nil {
		t.Fatal(err)
	}
	hasher, err := digest.New(digest.Config{}, digest.Deps{Log: log, Loss: losses.Count})
	if err != nil {
		t.Fatal(err)
	}
	table, err := process.New(process.Config{}, process.Deps{Hasher: hasher, Log: log, Loss: losses.Count})
	if err != nil {
		t.Fatal(err)
	}
	names, err := dns.New(dns.Config{}, dns.Deps{Log: log, Loss: losses.Count})
	if err != nil {
		t.Fatal(err)
	}
	r = &rooms{rows: map[uint64]event.Connection{}}
	r.monitor = New(Config{DrainInterval: 50 * time.Millisecond, EveryExec: true},
		Deps{Kernel: kernel, Processes: table, Names: names, Losses: losses, Sink: r.take, Log: log})
	ctx, cancel := context.WithCancel(context.Background())
	ready, done, hashing := make(chan struct{}), make(chan error, 1), make(chan error, 1)
	go func() { hashing <- hasher.Run(ctx) }()
	go func() { done <- r.monitor.Run(ctx, func() { close(ready) }) }()
	select {
	case <-ready:
	case err := <-done:
		t.Fatalf("monitor ended before it was ready: %v", err)
	}
	return r, sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
		<-hashing
		if err := kernel.Close(); err != nil {
			t.Errorf("close kernel: %v", err)
		}
		if err := hasher.Close(); err != nil {
			t.Errorf("close hasher: %v", err)
		}
		table.Close()
	})
}

// TestRunJoins makes one connection by a process of its own and wants all of
// its facts.
func TestRunJoins(t *testing.T) {
	cgroup := bpftest.NewCgroup(t)
	r, stop := open(t, cgroup)
	defer stop()
	peer := serve(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, "dial", peer.String())
	cmd.Stderr = t.Output()
	if err := bpftest.Start(cmd, bpftest.Place{Cgroup: cgroup}); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("client: %v", err)
	}
	stop()

	var rows []event.Connection
	for _, row := range r.rows {
		if row.Process.ID.PID == uint32(cmd.Process.Pid) {
			rows = append(rows, row)
		}
	}
	if len(rows) != 1 {
		t.Fatalf("%d rows of the client, want 1: %+v", len(rows), rows)
	}
	row := rows[0]
	if row.Sent != clientSends || row.Received != clientReceives {
		t.Errorf("sent %d, received %d; want %d and %d", row.Sent, row.Received, clientSends, clientReceives)
	}
	if row.Direction != event.Out || row.Proto != event.ProtoTCP || row.Remote != peer || row.Result != event.ResultClosed || !row.Closed {
		t.Errorf("row is %v %d %v %v closed %v", row.Direction, row.Proto, row.Remote, row.Result, row.Closed)
	}
	p := row.Process
	if p.Executable.Path != self || p.Executable.View != "" || p.Executable.SHA256 != sum(t, self) {
		t.Errorf("executable is %+v", p.Executable)
	}
	if !slices.Equal(p.Args, cmd.Args) {
		t.Errorf("arguments are %q, want %q", p.Args, cmd.Args)
	}
	if p.Parent == nil || p.Parent.ID.PID != uint32(os.Getpid()) || p.Parent.Executable.Path != self {
		t.Errorf("parent is %+v", p.Parent)
	}
	if p.Cgroup.Path != cgroup.Path() {
		t.Errorf("cgroup is %q, want %q", p.Cgroup.Path, cgroup.Path())
	}
	if !slices.ContainsFunc(r.execs, func(e event.ExecSeen) bool { return e.Process.ID == p.ID }) {
		t.Error("the client's exec was not told")
	}
}

// serve takes one connection, sends clientReceives bytes and reads to the end.
func serve(t *testing.T) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			done <- err
			return
		}
		defer c.Close()
		if _, err := io.ReadFull(c, make([]byte, clientSends)); err != nil {
			done <- err
			return
		}
		_, err = c.Write(make([]byte, clientReceives))
		done <- err
	}()
	t.Cleanup(func() {
		l.Close()
		if err := <-done; err != nil {
			t.Errorf("server: %v", err)
		}
	})
	return netip.MustParseAddrPort(l.Addr().String())
}

func sum(t *testing.T, path string) event.Digest {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return sha256.Sum256(b)
}
