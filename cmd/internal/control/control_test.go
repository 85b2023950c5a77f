package control

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"snitch/monitor/event"
)

// TestMain makes the test binary a client when it is started as one: other
// users are other processes.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "ask" {
		st, err := NewClient(os.Args[2]).Status(context.Background())
		switch {
		case errors.Is(err, ErrForbidden):
			fmt.Print("forbidden")
		case errors.Is(err, ErrNotRunning):
			fmt.Print("not running")
		case err != nil:
			fmt.Print(err)
		default:
			fmt.Print("answered: ", st.Tier)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

const testGroup = 60123 // nobody's

type fixture struct {
	dir  string
	hub  *Hub
	stop context.CancelFunc
	done chan error

	flushes atomic.Int32
}

// serve runs a server on a socket in a directory that everybody may search:
// what is tested is the socket.
func serve(t *testing.T, mode os.FileMode) *fixture {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "snitch-control-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	access := Access{Group: testGroup}
	l, err := Listen(dir, access)
	if err != nil {
		t.Fatalf("listen (these tests run as root): %v", err)
	}
	if mode != 0 {
		if err := os.Chmod(filepath.Join(dir, SocketName), mode); err != nil {
			t.Fatal(err)
		}
	}
	hub := NewHub(func(uid uint32) string { return fmt.Sprint("user", uid) })
	f := &fixture{dir: dir, hub: hub, done: make(chan error, 1)}
	s := New(Config{Access: access, Hub: hub, Log: slog.New(slog.DiscardHandler),
		Flush:  func(context.Context) error { f.flushes.Add(1); return nil },
		Status: func(context.Context) (Status, error) { return Status{Tier: "test"}, nil }})
	ctx, cancel := context.WithCancel(t.Context())
	f.stop = cancel
	go func() { f.done <- s.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-f.done; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return f
}

func askAs(t *testing.T, dir string, cred *syscall.Credential) string {
	t.Helper()
	// A copy that every user may execute.
	cmd := exec.Command("/proc/self/exe", "ask", dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: cred}
	cmd.Dir = "/"
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("ask as %+v: %v %s", cred, err, out)
	}
	return string(out)
}

func TestWhoMayAsk(t *testing.T) {
	for name, c := range map[string]struct {
		cred *syscall.Credential
		mode os.FileMode // of the socket; 0: as made
		want string
	}{
		"root":                         {&syscall.Credential{}, 0, "answered: test"},
		"group member":                 {&syscall.Credential{Uid: 65534, Gid: testGroup}, 0, "answered: test"},
		"supplementary group":          {&syscall.Credential{Uid: 65534, Gid: 65534, Groups: []uint32{5, testGroup, 9}}, 0, "answered: test"},
		"stranger":                     {&syscall.Credential{Uid: 65534, Gid: 65534, Groups: []uint32{5}}, 0, "forbidden"},
		"stranger, mode does not help": {&syscall.Credential{Uid: 65534, Gid: 65534, Groups: []uint32{5}}, 0o666, "forbidden"},
		"group, open mode":             {&syscall.Credential{Uid: 65534, Gid: 65534, Groups: []uint32{testGroup}}, 0o666, "answered: test"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := askAs(t, serve(t, c.mode).dir, c.cred); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestSocketModeAndGroup(t *testing.T) {
	info, err := os.Lstat(filepath.Join(serve(t, 0).dir, SocketName))
	if err != nil {
		t.Fatal(err)
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || info.Mode() != os.ModeSocket|0o660 || st.Gid != testGroup || st.Uid != 0 {
		t.Errorf("socket is %v of %+v", info.Mode(), info.Sys())
	}
}

func TestListen(t *testing.T) {
	const outside = "/nonexistent-target"
	for name, c := range map[string]struct {
		before func(t *testing.T, path string)
		want   string // in the error; "" for none
	}{
		"nothing there": {func(*testing.T, string) {}, ""},
		"stale socket": {func(t *testing.T, path string) {
			l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
			if err != nil {
				t.Fatal(err)
			}
			l.SetUnlinkOnClose(false)
			_ = l.Close()
		}, ""},
		"somebody listens": {func(t *testing.T, path string) {
			l, err := net.Listen("unix", path)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = l.Close() })
		}, ErrInUse.Error()},
		"a file": {func(t *testing.T, path string) {
			if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
				t.Fatal(err)
			}
		}, "is no socket"},
		"a symbolic link": {func(t *testing.T, path string) {
			if err := os.Symlink(outside, path); err != nil {
				t.Fatal(err)
			}
		}, "is no socket"},
		"planted private name": {func(t *testing.T, path string) {
			planted := filepath.Join(filepath.Dir(path), fmt.Sprintf(".%s.%d", SocketName, os.Getpid()))
			if err := os.Symlink(outside, planted); err != nil {
				t.Fatal(err)
			}
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), strings.Repeat("long", 40)) // longer than a socket address
			if err := os.Mkdir(dir, 0o750); err != nil {
				t.Fatal(err)
			}
			short := filepath.Join("/tmp", fmt.Sprintf("snitch-l%d", os.Getpid()))
			if err := os.Symlink(dir, short); err != nil {
				t.Fatal(err)
			}
			defer os.Remove(short)
			c.before(t, filepath.Join(short, SocketName))
			l, err := Listen(dir, Access{Group: -1})
			if c.want != "" {
				if err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("got %v, want %q", err, c.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			conn, err := net.Dial("unix", filepath.Join(short, SocketName))
			if err != nil {
				t.Fatal(err)
			}
			_ = conn.Close()
			entries, err := os.ReadDir(dir)
			if err != nil || len(entries) != 1 {
				t.Errorf("left behind: %v %v", entries, err)
			}
			if err := Remove(dir); err != nil {
				t.Error(err)
			}
		})
	}
}

// raw sends bytes as they are and returns the whole answer.
func raw(t *testing.T, dir, request string) string {
	t.Helper()
	conn, err := net.Dial("unix", filepath.Join(dir, SocketName))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(conn, request) // it may be cut off
	got, _ := io.ReadAll(conn)
	return string(got)
}

func TestBadRequests(t *testing.T) {
	f := serve(t, 0)
	const tail = " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
	for name, c := range map[string]struct{ request, want string }{
		"no such path":     {"GET /v1/secrets" + tail + "\r\n", " 404 "},
		"no such version":  {"GET /v2/status" + tail + "\r\n", " 404 "},
		"another method":   {"POST /v1/status" + tail + "Content-Length: 0\r\n\r\n", " 405 "},
		"a body":           {"GET /v1/status" + tail + "Content-Length: 5\r\n\r\nhello", " 413 "},
		"chunked body":     {"GET /v1/status" + tail + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", " 413 "},
		"huge header":      {"GET /v1/status" + tail + "X: " + strings.Repeat("x", 1<<20) + "\r\n\r\n", " 431 "},
		"no http":          {strings.Repeat("\xff\x00", 100) + "\r\n\r\n", " 400 "},
		"never ends":       {"GET /v1/status" + tail, ""}, // cut off after headerWithin
		"traversal":        {"GET /v1/../../etc/passwd" + tail + "\r\n", " 307 "},
		"status, for once": {"GET /v1/status" + tail + "\r\n", `"tier":"test"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := raw(t, f.dir, c.request); !strings.Contains(got, c.want) {
				t.Errorf("answer %.300q lacks %q", got, c.want)
			}
		})
	}
}

func TestNotRunning(t *testing.T) {
	dir := t.TempDir()
	c := NewClient(dir)
	if _, err := c.Status(t.Context()); !errors.Is(err, ErrNotRunning) {
		t.Errorf("no socket: %v", err)
	}
	l, err := Listen(dir, Access{Group: -1})
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	if _, err := c.Live(t.Context()); !errors.Is(err, ErrNotRunning) {
		t.Errorf("stale socket: %v", err)
	}
}

func connections(from, to uint64) []event.Connection {
	var out []event.Connection
	for id := from; id < to; id++ {
		out = append(out, event.Connection{ID: id, UID: 7, Sent: id, Process: &event.Process{Name: "a\x1b[2J\u202eb", Args: []string{"x"}}})
	}
	return out
}

func TestLive(t *testing.T) {
	f := serve(t, 0)
	f.hub.Publish(connections(1, 3)) // nobody listens
	feed, err := NewClient(f.dir).Live(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer feed.Close()
	if n := f.flushes.Load(); n != 1 {
		t.Errorf("%d flushes before the feed began, want 1", n)
	}
	f.hub.Publish(connections(10, 13))
	for want := uint64(10); want < 13; want++ {
		m, err := feed.Next()
		if err != nil {
			t.Fatal(err)
		}
		if m.Type != TypeConnection || m.ID != want || m.Record.Sent != want || m.Record.User != "user7" || m.Record.Name != "a\x1b[2J\u202eb" {
			t.Errorf("got %+v %+v", m, m.Record)
		}
	}
	f.stop()
	if m, err := feed.Next(); err != nil || m.Type != TypeBye {
		t.Errorf("at the end: %+v, %v", m, err)
	}
	if _, err := feed.Next(); !errors.Is(err, io.EOF) {
		t.Errorf("after the end: %v", err)
	}
}

// TestLiveOutlastsRequestDeadline: the deadline of a request is not that of its
// answer.
func TestLiveOutlastsRequestDeadline(t *testing.T) {
	if testing.Short() {
		t.Skip("short: waits longer than the deadline of a request")
	}
	f := serve(t, 0)
	feed, err := NewClient(f.dir).Live(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer feed.Close()
	time.Sleep(answerWithin + time.Second)
	f.hub.Publish(connections(5, 6))
	if m, err := feed.Next(); err != nil || m.ID != 5 {
		t.Errorf("got %+v, %v", m, err)
	}
}

func TestNothingUnprintableOnTheWire(t *testing.T) {
	f := serve(t, 0)
	conn, err := net.Dial("unix", filepath.Join(f.dir, SocketName))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "GET /v1/live HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	for f.hub.Live().Clients == 0 {
		time.Sleep(time.Millisecond)
	}
	f.hub.Publish(connections(1, 2))
	r := bufio.NewReader(conn)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if strings.ContainsAny(line, "\x1b\u202e") {
			t.Fatalf("unprintable: %q", line)
		}
		if strings.Contains(line, `"type":"connection"`) {
			if !strings.Contains(line, `a\u001b[2J\u202eb`) {
				t.Errorf("name is missing: %s", line)
			}
			return
		}
	}
}

// TestSlowClient: a client that takes nothing costs a bounded queue, never
// time, and is told exactly what it missed.
func TestSlowClient(t *testing.T) {
	f := serve(t, 0)
	feed, err := NewClient(f.dir).Live(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer feed.Close()
	const all = 30000
	began := time.Now()
	for id := uint64(1); id <= all; id += 100 {
		f.hub.Publish(connections(id, id+100))
	}
	if took := time.Since(began); took > 30*time.Second { // a publisher that waits for the client waits for ever
		t.Errorf("publishing waited: %s", took)
	}
	var got, lost, last uint64
	for got+lost < all {
		m, err := feed.Next()
		if err != nil {
			t.Fatal(err)
		}
		switch m.Type {
		case TypeConnection:
			if m.ID != last+1 {
				t.Fatalf("%d follows %d", m.ID, last)
			}
			last = m.ID
			got++
		case TypeLost:
			lost += m.Lost
			last += m.Lost
		}
	}
	if lost == 0 || got+lost != all || f.hub.Lost() != lost {
		t.Errorf("published %d, got %d, lost %d, counted %d", all, got, lost, f.hub.Lost())
	}
}

func TestTooManyLiveClients(t *testing.T) {
	f := serve(t, 0)
	c := NewClient(f.dir)
	var feeds []*Feed
	for range maxSubscribers {
		feed, err := c.Live(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		feeds = append(feeds, feed)
	}
	if _, err := c.Live(t.Context()); err == nil || !strings.Contains(err.Error(), ErrTooMany.Error()) {
		t.Errorf("client %d: %v", maxSubscribers+1, err)
	}
	if _, err := c.Status(t.Context()); err != nil {
		t.Errorf("status meanwhile: %v", err)
	}
	for _, feed := range feeds {
		_ = feed.Close()
	}
	for range 200 {
		if f.hub.Live().Clients == 0 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("%d clients are still there", f.hub.Live().Clients)
}

func TestFlush(t *testing.T) {
	f := serve(t, 0)
	if err := NewClient(f.dir).Flush(t.Context()); err != nil || f.flushes.Load() != 1 {
		t.Errorf("%v, %d flushes", err, f.flushes.Load())
	}
}

func TestHubClose(t *testing.T) {
	hub := NewHub(func(uint32) string { return "" })
	sub, err := hub.Subscribe()
	if err != nil {
		t.Fatal(err)
	}
	hub.Publish(connections(1, 2))
	hub.Close()
	if out, err := sub.Next(t.Context()); err != nil || len(out) != 1 {
		t.Errorf("what waited: %v %v", out, err)
	}
	if _, err := sub.Next(t.Context()); !errors.Is(err, ErrEnded) {
		t.Errorf("then: %v", err)
	}
	sub.Close()
	sub.Close()
	if _, err := hub.Subscribe(); !errors.Is(err, ErrEnded) {
		t.Errorf("later: %v", err)
	}
}

func TestStatusRoundTrip(t *testing.T) {
	b, err := json.Marshal(Status{Running: true, Losses: map[string]Loss{"hash": {Count: 1}}})
	if err != nil {
		t.Fatal(err)
	}
	var back Status
	if err := json.Unmarshal(b, &back); err != nil || !back.Running || back.Losses["hash"].Count != 1 {
		t.Errorf("%+v %v", back, err)
	}
	if strings.Contains(string(b), "0001-01-01") && strings.Contains(string(b), "last_write") {
		t.Errorf("zero times are shown: %s", b)
	}
}
