package control

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"snitch/monitor/event"
)

// TestMain makes the test binary a client when it is started as one: other
// users are other processes.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "enforce" {
		e, err := NewClient(os.Args[2]).Enforce(context.Background(), EnforceOrder{Do: EnforceOff})
		fmt.Print(e.Mode, err)
		os.Exit(0)
	}
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

	mu     sync.Mutex // guards what follows
	alerts []string
	orders []EnforceOrder
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
	s := New(Config{Access: access, Hub: hub, Log: slog.New(slog.DiscardHandler), Enforce: f.enforce,
		Flush:  func(context.Context) error { f.flushes.Add(1); return nil },
		Reload: func() error { return errors.New("a.yaml:1:1: no") },
		SetAlerts: func(_ context.Context, ids []int64, state event.AlertState) error {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.alerts = append(f.alerts, fmt.Sprint(state, ids))
			return nil
		},
		Status: func(context.Context) (Status, error) { return Status{Tier: "test"}, nil }, Doctor: f.doctor})
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
	return startAs(t, "ask", dir, cred)
}

func startAs(t *testing.T, word, dir string, cred *syscall.Credential) string {
	t.Helper()
	// A copy that every user may execute.
	cmd := exec.Command("/proc/self/exe", word, dir)
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

// TestChanges checks what clients may change, and how it is refused.
func TestChanges(t *testing.T) {
	f := serve(t, 0)
	c := NewClient(f.dir)
	if err := c.Reload(t.Context()); err == nil || !strings.Contains(err.Error(), "a.yaml:1:1: no") {
		t.Errorf("reload: %v", err)
	}
	ids := make([]int64, maxAlerts+1)
	for i := range ids {
		ids[i] = int64(i + 1)
	}
	if err := c.SetAlerts(t.Context(), ids, event.AlertSeen); err != nil {
		t.Fatal(err)
	}
	set := func() []string {
		f.mu.Lock()
		defer f.mu.Unlock()
		return slices.Clone(f.alerts)
	}
	if got := set(); len(got) != 2 || got[1] != "seen [129]" {
		t.Errorf("alerts were set by %q", got)
	}
	for _, path := range []string{"?state=seen", "?state=gone&id=1", "?id=1", "?state=seen&id=0", "?state=seen&id=x"} {
		if err := c.post(t.Context(), "/v1/alerts"+path); err == nil {
			t.Errorf("%s was taken", path)
		}
	}
	if got := set(); len(got) != 2 {
		t.Errorf("a refused request was carried out: %q", got)
	}
}
