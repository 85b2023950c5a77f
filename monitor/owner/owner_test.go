package owner

import (
	"context"
	"crypto/sha256"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"snitch/monitor/event"
)

// host is a root directory and the Owners that look at it.
type host struct {
	*Owners
	t    *testing.T
	root string

	mu      sync.Mutex
	answers map[string]Answer // by path
}

func newHost(t *testing.T, root string) *host {
	t.Helper()
	h := &host{t: t, root: root, answers: map[string]Answer{}}
	h.Owners = New(Config{Root: root}, Deps{Answer: func(a Answer) {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.answers[a.Path] = a
	}})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- h.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	})
	return h
}

// executable is the file at path, as if it had just been executed.
func (h *host) executable(path string) event.Executable {
	h.t.Helper()
	text, err := os.ReadFile(filepath.Join("/", h.root, path))
	if err != nil {
		h.t.Fatal(err)
	}
	return event.Executable{Path: path, Kind: event.ExecutableFile, SHA256: sha256.Sum256(text), Reason: event.HashKnown}
}

// ask waits for the fact.
func (h *host) ask(exe event.Executable) string {
	h.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if fact, known := h.Lookup(exe); known {
			return fact
		}
	}
	h.t.Fatalf("no answer for %s", exe.Path)
	return ""
}

func (h *host) want(path, want string) {
	h.t.Helper()
	exe := h.executable(path)
	if got := h.ask(exe); got != want {
		h.t.Errorf("%s: got %q, want %q", path, got, want)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if got := h.answers[path]; got.Fact != want || got.SHA256 != exe.SHA256 {
		h.t.Errorf("%s: the callback said %+v, want %q", path, got, want)
	}
}

// write makes or replaces a file of the host, as a person with root would.
func (h *host) write(path, text string) {
	h.t.Helper()
	writeFile(h.t, filepath.Join(h.root, path), text)
}

func writeFile(t testing.TB, file, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
}

// TestUnknown: facts that need no database, and those that none can give.
func TestUnknown(t *testing.T) {
	h := newHost(t, t.TempDir())
	h.write("/usr/bin/hello", "x")
	if got := h.ask(h.executable("/usr/bin/hello")); got != "" {
		t.Errorf("without a database: got %q", got)
	}
	sum := event.Digest{1}
	for _, test := range []struct {
		exe   event.Executable
		want  string
		known bool
	}{
		{event.Executable{Kind: event.ExecutableMemfd, Path: "memfd:x", SHA256: sum}, None, true},
		{event.Executable{Kind: event.ExecutableKernel}, "", true},
		{event.Executable{Kind: event.ExecutableUnknown}, "", true},
		{event.Executable{}, "", true},
		{event.Executable{Kind: event.ExecutableFile, Path: "/bin/sh", View: "container:1", SHA256: sum}, "", true},
		{event.Executable{Kind: event.ExecutableFile, Path: "/bin/sh", View: event.ViewUnverified, SHA256: sum}, "", true},
		{event.Executable{Kind: event.ExecutableFile, Path: "sh", SHA256: sum}, "", true},
		{event.Executable{Kind: event.ExecutableFile, Path: "/bin/sh", Reason: event.HashPending}, "", false},
		{event.Executable{Kind: event.ExecutableFile, Path: "/bin/sh", Reason: event.HashDeadline}, "", false},
	} {
		if got, known := h.Lookup(test.exe); got != test.want || known != test.known {
			t.Errorf("%+v: got %q, %v, want %q, %v", test.exe, got, known, test.want, test.known)
		}
	}
	if stats := h.Stats(); len(stats.Databases) != 0 {
		t.Errorf("databases: %+v", stats.Databases)
	}
}

// TestLookupNeverWaits fills the queue while nobody empties it.
func TestLookupNeverWaits(t *testing.T) {
	o := New(Config{Root: t.TempDir()}, Deps{})
	for i := range 3 * maxWaiting {
		exe := event.Executable{Kind: event.ExecutableFile, Path: "/" + strings.Repeat("x", i), SHA256: event.Digest{1}}
		for range 2 {
			if _, known := o.Lookup(exe); known {
				t.Fatal("an answer from nobody")
			}
		}
	}
	if stats := o.Stats(); stats.Dropped < 2*maxWaiting || len(o.waiting) != maxWaiting {
		t.Errorf("dropped %d, waiting %d", stats.Dropped, len(o.waiting))
	}
}

func TestAnswersAreBounded(t *testing.T) {
	o := New(Config{Root: t.TempDir()}, Deps{})
	for i := range 5 * maxAnswers {
		o.remember(key{path: "/x", sha256: event.Digest{byte(i), byte(i >> 8)}}, None)
	}
	if n := len(o.now) + len(o.before); n > 2*maxAnswers {
		t.Errorf("%d answers", n)
	}
}

func TestAliases(t *testing.T) {
	root := t.TempDir()
	for link, target := range map[string]string{"bin": "usr/bin", "sbin": "usr/sbin", "usr/sbin": "bin", "lib": "/usr/lib"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(root, link)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(target, filepath.Join(root, link)); err != nil {
			t.Fatal(err)
		}
	}
	a := findAliases(root)
	for path, want := range map[string]string{"/bin/sh": "/usr/bin/sh", "/sbin/init": "/usr/bin/init", "/usr/sbin/x": "/usr/bin/x",
		"/lib/a/b": "/usr/lib/a/b", "/binary": "/binary", "/bin": "/bin", "/opt/bin/x": "/opt/bin/x", "/": "/", "": ""} {
		if got := a.canonical(path); got != want {
			t.Errorf("%q is %q, want %q", path, got, want)
		}
	}
}
