package reputation

import (
	"bytes"
	"context"
	"crypto/sha256"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"snitch/monitor/event"
)

const waiting = time.Minute

// harness is a Service with a real helper at the other end of a pipe.
type harness struct {
	*Service
	server *server

	mu      sync.Mutex
	learned []string
	refused int

	ahead atomic.Int64 // of the clock
}

func start(t *testing.T, s *server, change func(*Config)) *harness {
	t.Helper()
	cfg := Config{Server: Server{URL: s.URL, Key: testKey, CA: s.ca}, File: filepath.Join(t.TempDir(), "reputation.json"), Interval: time.Millisecond, MaxUpload: 1 << 20}
	if change != nil {
		change(&cfg)
	}
	h := &harness{server: s}
	h.Service = New(cfg, Deps{Speak: speak(t), Log: slog.New(slog.DiscardHandler),
		Now: func() time.Time { return time.Now().Add(time.Duration(h.ahead.Load())) },
		Learned: func(a Answer, p *event.Process) {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.learned = append(h.learned, p.Executable.Path+" "+a.Verdict.String())
		},
		Refused: func(string) { h.mu.Lock(); h.refused++; h.mu.Unlock() }})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = h.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return h
}

// speak starts a helper, and another when a conversation went wrong.
func speak(t *testing.T) func(context.Context, func(io.ReadWriteCloser, bool) error) error {
	var conn net.Conn
	var all sync.WaitGroup
	t.Cleanup(func() {
		if conn != nil {
			conn.Close()
		}
		all.Wait()
	})
	return func(_ context.Context, use func(io.ReadWriteCloser, bool) error) error {
		fresh := conn == nil
		if fresh {
			here, there := net.Pipe()
			conn = here
			all.Go(func() { _ = Helper(context.Background(), there, there); there.Close() })
		}
		err := use(conn, fresh)
		if err != nil {
			conn.Close()
			conn = nil
		}
		return err
	}
}

func (h *harness) told() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.learned)
}

func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(waiting); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if done() {
			return
		}
	}
	t.Fatalf("not in time: %s", what)
}

// program makes a file and a process that runs it.
func program(t *testing.T, content string) *event.Process {
	t.Helper()
	path := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(path, []byte(content), 0o755); err != nil {
		t.Fatal(err)
	}
	return &event.Process{Executable: event.Executable{Path: path, Kind: event.ExecutableFile, SHA256: sha256.Sum256([]byte(content)), Reason: event.HashKnown}}
}

func TestVerdicts(t *testing.T) {
	s := newServer(t)
	bad, odd, good, none := program(t, "bad"), program(t, "odd"), program(t, "good"), program(t, "none")
	s.knows(bad.Executable.SHA256, 40, 2, 30)
	s.knows(odd.Executable.SHA256, 0, 1, 60)
	s.knows(good.Executable.SHA256, 0, 0, 70)
	h := start(t, s, nil)
	want := map[*event.Process]event.Reputation{bad: event.ReputationMalicious, odd: event.ReputationSuspicious, good: event.ReputationClean, none: event.ReputationNotFound}
	for p := range want {
		h.Look(p)
		h.Look(p) // asked once
	}
	h.Look(nil)
	h.Look(&event.Process{})
	until(t, "all are known", func() bool { return len(h.told()) == len(want) })
	for p, v := range want {
		h.Look(p)
		if got := h.Of(p.Executable.SHA256).Verdict; got != v {
			t.Errorf("%s: %q, want %q", p.Executable.Path, got, v)
		}
	}
	if n := len(s.questions()); n != len(want) {
		t.Errorf("%d questions: %q", n, s.questions())
	}
	if st := h.Stats(); st.Known != 4 || st.Asked != 4 || st.Waiting != 0 || st.Failed != 0 || st.Uploaded != 0 || st.Error != "" {
		t.Errorf("%+v", st)
	}
	if _, ok := s.has(none.Executable.SHA256); ok {
		t.Error("a file was given away that nobody wanted to")
	}
}

// TestKept: verdicts of an earlier run are not asked again, until they are old.
func TestKept(t *testing.T) {
	s := newServer(t)
	p := program(t, "x")
	s.knows(p.Executable.SHA256, 1, 0, 1)
	file := filepath.Join(t.TempDir(), "r.json")
	first := start(t, s, func(c *Config) { c.File = file })
	first.Look(p)
	until(t, "it is known", func() bool { return len(first.told()) == 1 })
	until(t, "it is kept", func() bool { _, err := os.Stat(file); return err == nil })
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info, err)
	}
	second := start(t, s, func(c *Config) { c.File = file })
	if got := second.Of(p.Executable.SHA256).Verdict; got != event.ReputationMalicious {
		t.Errorf("got %q", got)
	}
	second.Look(p) // a bad one that runs again is told, and not asked
	until(t, "it is told", func() bool { return len(second.told()) == 1 })
	if n := len(s.questions()); n != 1 {
		t.Errorf("%d questions", n)
	}
	second.ahead.Store(int64(31 * 24 * time.Hour))
	second.Look(p)
	until(t, "an old one is asked again", func() bool { return len(s.questions()) == 2 })
}

func TestUpload(t *testing.T) {
	s := newServer(t)
	small, large, huge := program(t, "small"), program(t, strings.Repeat("large", 7<<20)), program(t, strings.Repeat("h", 41<<20))
	exchanged, link, fifo, inside := program(t, "before"), program(t, "link"), program(t, "fifo"), program(t, "inside")
	must(t, os.WriteFile(exchanged.Executable.Path, []byte("after!"), 0o755))
	must(t, os.Rename(link.Executable.Path, link.Executable.Path+".real"))
	must(t, os.Symlink(link.Executable.Path+".real", link.Executable.Path))
	must(t, os.Remove(fifo.Executable.Path))
	must(t, unix.Mkfifo(fifo.Executable.Path, 0o755))
	inside.Executable.View = "container:1"
	h := start(t, s, func(c *Config) { c.Upload, c.MaxUpload = true, 40<<20 })
	all := []*event.Process{small, large, huge, exchanged, link, fifo, inside}
	for _, p := range all {
		h.Look(p)
	}
	until(t, "all are known", func() bool { return len(h.told()) == len(all) })
	for _, p := range []*event.Process{small, large} {
		if n, ok := s.has(p.Executable.SHA256); !ok || h.Of(p.Executable.SHA256).Verdict != event.ReputationUploaded {
			t.Errorf("%s was not uploaded: %d %q", p.Executable.Path, n, h.Of(p.Executable.SHA256).Verdict)
		}
	}
	if got := h.Stats().Uploaded; got != 2 || len(s.took) != 2 {
		t.Errorf("%d uploaded, the server has %v", got, s.took)
	}
	for _, p := range all[2:] {
		if v := h.Of(p.Executable.SHA256).Verdict; v != event.ReputationNotFound {
			t.Errorf("%s is %q", p.Executable.Path, v)
		}
	}
}

// TestExchanged: a file that becomes another one while it is sent is never whole
// at the server, and the helper goes on.
func TestExchanged(t *testing.T) {
	s := newServer(t)
	c, err := newClient(Server{URL: s.URL, Key: testKey, CA: s.ca})
	must(t, err)
	if re := c.upload(t.Context(), event.Digest{1}, 5, strings.NewReader("other")); re.Kind != kindUpload || !strings.Contains(re.Error, "not the one that ran") {
		t.Errorf("%+v", re)
	}
	if len(s.took) != 0 {
		t.Errorf("the server has %v", s.took)
	}
}

// TestPlaceOfLargeFiles: the server may not send a file elsewhere.
func TestPlaceOfLargeFiles(t *testing.T) {
	s := newServer(t)
	c, err := newClient(Server{URL: s.URL, Key: testKey, CA: s.ca})
	must(t, err)
	for _, place := range []string{"https://elsewhere.example/", "http://" + strings.TrimPrefix(s.URL, "https://"), "://", "https://u@" + strings.TrimPrefix(s.URL, "https://")} {
		s.place = place
		if re := c.upload(t.Context(), event.Digest{1}, maxDirect+1, strings.NewReader("")); re.Kind != kindUpload {
			t.Errorf("%s: %+v", place, re)
		}
	}
}

// TestRests: after a refusal it is asked again, and answered; a key that is not
// taken ends it.
func TestRests(t *testing.T) {
	s := newServer(t)
	p := program(t, "x")
	s.knows(p.Executable.SHA256, 0, 0, 9)
	s.say(answer{code: http.StatusTooManyRequests, header: map[string]string{"Retry-After": "1"}}, answer{code: http.StatusInternalServerError},
		answer{code: http.StatusOK, body: "nonsense"}, answer{code: http.StatusFound, header: map[string]string{"Location": s.URL + "/api/v3/files/x"}},
		answer{code: http.StatusOK, body: `{"data":{"attributes":{"sha256":"` + strings.Repeat("0", 64) + `"}}}`}, answer{code: http.StatusOK, body: strings.Repeat(" ", maxResponse+1)})
	h := start(t, s, nil)
	began := time.Now()
	h.Look(p)
	until(t, "it is known", func() bool { return len(h.told()) == 1 })
	if st := h.Stats(); st.Failed != 6 || st.Error != "" || h.Of(p.Executable.SHA256).Verdict != event.ReputationClean {
		t.Errorf("%+v %q", st, h.Of(p.Executable.SHA256).Verdict)
	}
	if took := time.Since(began); took < time.Second {
		t.Errorf("it did not rest as the server wanted: %s", took)
	}
	s.say(answer{code: http.StatusForbidden})
	h.Look(program(t, "y"))
	until(t, "it is off", func() bool { h.mu.Lock(); defer h.mu.Unlock(); return h.refused == 1 })
	h.Look(program(t, "z"))
	if st := h.Stats(); st.Waiting != 0 || !strings.Contains(st.Error, "403") {
		t.Errorf("%+v", st)
	}
}

// TestImpostor: a server that the authority does not vouch for gets no key.
func TestImpostor(t *testing.T) {
	s, other := newServer(t), newServer(t)
	h := start(t, s, func(c *Config) {
		c.Server.CA = []byte("-----BEGIN CERTIFICATE-----\nnone\n-----END CERTIFICATE-----\n")
	})
	h.Look(program(t, "x"))
	until(t, "it fails", func() bool { return h.Stats().Failed > 0 })
	if len(s.questions()) > 0 {
		t.Errorf("asked %q", s.questions())
	}
	_ = other
}

func TestCheckURL(t *testing.T) {
	for _, good := range []string{"https://www.virustotal.com", "https://proxy.example:8443/", "http://127.0.0.1:1", "http://[::1]"} {
		if _, err := CheckURL(good); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for _, bad := range []string{"", "www.virustotal.com", "http://www.virustotal.com", "http://localhost", "https://u:p@x", "https://x/path", "https://x?y", "ftp://127.0.0.1", "https://"} {
		if _, err := CheckURL(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

// TestStateTricks: verdicts are read from a file of our own only; what is damaged
// is not used, and is replaced.
func TestStateTricks(t *testing.T) {
	for name, make := range map[string]func(t *testing.T, file string){
		"damaged": func(t *testing.T, file string) { must(t, os.WriteFile(file, []byte("{"), 0o600)) },
		"newer":   func(t *testing.T, file string) { must(t, os.WriteFile(file, []byte(`{"version":2}`), 0o600)) },
		"invented": func(t *testing.T, file string) {
			must(t, os.WriteFile(file, []byte(`{"version":1,"answers":[{"sha256":"`+strings.Repeat("a", 64)+`","verdict":"fine"}]}`), 0o600))
		},
		"open to all": func(t *testing.T, file string) {
			must(t, os.WriteFile(file, []byte(`{"version":1}`), 0o600))
			must(t, os.Chmod(file, 0o666))
		},
		"symlink": func(t *testing.T, file string) {
			must(t, os.WriteFile(file+".real", []byte(`{"version":1}`), 0o600))
			must(t, os.Symlink(file+".real", file))
		},
		"fifo": func(t *testing.T, file string) { must(t, unix.Mkfifo(file, 0o600)) },
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "r.json")
			make(t, file)
			if got, err := Load(file); err == nil || len(got) != 0 {
				t.Errorf("got %v, %v", got, err)
			}
			d := event.Digest{1}
			must(t, save(file, map[event.Digest]Answer{d: {SHA256: d, Verdict: event.ReputationClean}}))
			if got, err := Load(file); err != nil || got[d].Verdict != event.ReputationClean {
				t.Errorf("after saving: %v, %v", got, err)
			}
		})
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// FuzzHelper: what comes instead of questions ends the helper and nothing else.
func FuzzHelper(f *testing.F) {
	frame := func(parts ...string) []byte {
		var b bytes.Buffer
		for _, p := range parts {
			_ = writeFrame(&b, []byte(p))
		}
		return b.Bytes()
	}
	f.Add(frame(`{"url":"http://127.0.0.1:1","key":"k"}`, `{"op":"look"}`))
	f.Add(frame(`{"url":"http://127.0.0.1:1","key":"k"}`, `{"op":"upload","size":9}`, "123"))
	f.Add([]byte("\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if bytes.Contains(b, []byte("url")) && !bytes.Contains(b, []byte(`"http://127.0.0.1:1"`)) {
			return // it would speak to whoever the fuzzer names
		}
		_ = Helper(t.Context(), bytes.NewReader(b), io.Discard)
	})
}

// FuzzStates: whatever is in the file, only whole verdicts are used.
func FuzzStates(f *testing.F) {
	f.Add([]byte(`{"version":1,"answers":[{"sha256":"` + strings.Repeat("a", 64) + `","verdict":"clean"}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		answers, err := decode(b)
		if err != nil && len(answers) > 0 {
			t.Fatal("an error and answers")
		}
		for d, a := range answers {
			if d.IsZero() || a.Verdict == event.ReputationUnasked {
				t.Fatalf("%v %+v", d, a)
			}
		}
	})
}
