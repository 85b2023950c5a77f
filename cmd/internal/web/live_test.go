package web_test

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"snitch/cmd/internal/control"
	"snitch/monitor/event"
)

// daemon is the control socket of a daemon, with what the test publishes.
type daemon struct {
	hub  *control.Hub
	stop func()
	mu   sync.Mutex
	set  map[int64]event.AlertState
}

func startDaemon(t *testing.T, dir string) *daemon {
	t.Helper()
	d := &daemon{hub: control.NewHub(func(uint32) string { return "anna" }), set: map[int64]event.AlertState{}}
	s := control.New(control.Config{Access: control.Access{Group: -1}, Hub: d.hub,
		Status: func(context.Context) (control.Status, error) {
			return control.Status{Running: true, Version: "test", Mode: "audit"}, nil
		},
		Flush:  func(context.Context) error { return nil },
		Reload: func() error { return nil },
		SetAlerts: func(_ context.Context, ids []int64, state event.AlertState) error {
			d.mu.Lock()
			defer d.mu.Unlock()
			for _, id := range ids {
				d.set[id] = state
			}
			return nil
		},
		Log: slog.New(slog.DiscardHandler)})
	l, err := control.Listen(dir, control.Access{Group: -1})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, l) }()
	d.stop = sync.OnceFunc(func() {
		cancel()
		d.hub.Close()
		if err := <-ended; err != nil {
			t.Errorf("daemon: %v", err)
		}
		if err := control.Remove(dir); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(d.stop)
	return d
}

func connectionOf(id uint64, name string) event.Connection {
	return event.Connection{ID: id, Opened: time.Now(), Last: time.Now(), Direction: event.Out, Family: event.AFInet, Proto: event.ProtoTCP,
		Process: &event.Process{Name: name, Executable: event.Executable{Path: "/usr/bin/" + name, Kind: event.ExecutableFile}},
		Remote:  netip.MustParseAddrPort("192.0.2.1:443")}
}

// stream reads the events of one page.
type stream struct {
	t    *testing.T
	body io.ReadCloser
	in   *bufio.Reader
}

func (p *page) live(query string) (*stream, int) {
	p.t.Helper()
	r, err := http.NewRequestWithContext(p.t.Context(), http.MethodGet, p.address+"/api/live"+query, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	r.AddCookie(&http.Cookie{Name: "snitch-0", Value: p.cookie})
	resp, err := p.client.Do(r)
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { _ = resp.Body.Close() })
	return &stream{p.t, resp.Body, bufio.NewReader(resp.Body)}, resp.StatusCode
}

// next is the next event of a kind; others are passed over.
func (s *stream) next(kind string) string {
	s.t.Helper()
	name := ""
	for {
		line, err := s.in.ReadString('\n')
		if err != nil {
			s.t.Fatalf("wait for %s: %v", kind, err)
		}
		line = strings.TrimSuffix(line, "\n")
		if v, ok := strings.CutPrefix(line, "event: "); ok {
			name = v
		} else if v, ok := strings.CutPrefix(line, "data: "); ok && name == kind {
			return v
		}
	}
}

// rows waits until connections with these names came.
func (s *stream) rows(names ...string) {
	s.t.Helper()
	want := map[string]bool{}
	for _, n := range names {
		want[n] = true
	}
	for len(want) > 0 {
		var rows []control.Message
		if err := json.Unmarshal([]byte(s.next("rows")), &rows); err != nil {
			s.t.Fatal(err)
		}
		for _, m := range rows {
			delete(want, m.Record.Name)
		}
	}
}

func (s *stream) connected(want bool) {
	s.t.Helper()
	for {
		var st struct{ Connected bool }
		if err := json.Unmarshal([]byte(s.next("state")), &st); err != nil {
			s.t.Fatal(err)
		}
		if st.Connected == want {
			return
		}
	}
}

// TestLive follows the daemon through its end and the next one's start.
func TestLive(t *testing.T) {
	dir := t.TempDir()
	d := startDaemon(t, dir)
	p := serve(t, dir, &judge{})
	all, _ := p.live("")
	some, _ := p.live("?f=" + url.QueryEscape("name=curl"))
	all.connected(true)
	some.connected(true)
	d.hub.Publish([]event.Connection{connectionOf(1, "git"), connectionOf(2, "curl")})
	all.rows("git", "curl")
	some.rows("curl")
	d.hub.Publish([]event.Connection{connectionOf(3, "wget")})
	d.hub.Publish([]event.Connection{connectionOf(4, "curl")})
	var rows []control.Message
	if err := json.Unmarshal([]byte(some.next("rows")), &rows); err != nil {
		t.Fatal(err)
	}
	if len(rows) != 1 || rows[0].Record.Name != "curl" {
		t.Errorf("through the filter came %+v", rows)
	}
	d.stop()
	all.connected(false)
	d = startDaemon(t, dir)
	all.connected(true)
	d.hub.Publish([]event.Connection{connectionOf(1, "ssh")})
	all.rows("ssh")
}

// TestHundredClients lets as many listen as may, and one more.
func TestHundredClients(t *testing.T) {
	dir := t.TempDir()
	d := startDaemon(t, dir)
	p := serve(t, dir, &judge{})
	streams := make([]*stream, 100)
	for i := range streams {
		var code int
		if streams[i], code = p.live(""); code != http.StatusOK {
			t.Fatalf("client %d got %d", i+1, code)
		}
	}
	for _, s := range streams {
		s.connected(true)
	}
	if _, code := p.live(""); code != http.StatusServiceUnavailable {
		t.Errorf("client 101 got %d", code)
	}
	if got := d.hub.Live().Clients; got != 1 {
		t.Errorf("the daemon has %d readers, want 1", got)
	}
	d.hub.Publish([]event.Connection{connectionOf(1, "git")})
	for _, s := range streams {
		s.rows("git")
	}
	if code, _, _ := p.do("GET", "/", nil); code != http.StatusOK {
		t.Errorf("beside them a page answered %d", code)
	}
}

// TestSlowReader takes nothing while more happens than fits: it loses some, is
// told, and holds up nobody.
func TestSlowReader(t *testing.T) {
	dir := t.TempDir()
	d := startDaemon(t, dir)
	p := serve(t, dir, &judge{})
	slow, _ := p.live("")
	slow.connected(true)
	quick, _ := p.live("")
	quick.connected(true)
	seen := make(chan struct{})
	go func() {
		defer close(seen)
		quick.rows("after")
	}()
	const each = 500
	for i := range 40 {
		batch := make([]event.Connection, each)
		for j := range batch {
			batch[j] = connectionOf(uint64(i*each+j+1), "busy")
		}
		d.hub.Publish(batch)
	}
	told := make(chan struct{})
	go func() {
		defer close(told)
		slow.next("lost")
	}()
	patience := time.After(2 * time.Minute)
	again := time.NewTicker(100 * time.Millisecond) // the daemon itself may drop one
	defer again.Stop()
	for id := uint64(1 << 40); told != nil || seen != nil; id++ {
		select {
		case <-told:
			told = nil
		case <-seen:
			seen = nil
		case <-again.C:
			d.hub.Publish([]event.Connection{connectionOf(id, "after")})
		case <-patience:
			t.Fatalf("told of losses: %v, the other page goes on: %v", told == nil, seen == nil)
		}
	}
}

// TestAcknowledge changes alerts through the daemon.
func TestAcknowledge(t *testing.T) {
	dir := t.TempDir()
	d := startDaemon(t, dir)
	p := serve(t, dir, &judge{})
	code, body, _ := p.do("POST", "/api/alerts", strings.NewReader(`{"ids":[3,7],"state":"seen"}`))
	if code != http.StatusOK {
		t.Fatalf("answered %d: %s", code, body)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.set) != 2 || d.set[3] != event.AlertSeen || d.set[7] != event.AlertSeen {
		t.Errorf("the daemon was told %v", d.set)
	}
}

// TestNextPage leaves one page and opens the next, while the reader of the
// daemon still waits.
func TestNextPage(t *testing.T) {
	dir := t.TempDir()
	d := startDaemon(t, dir)
	p := serve(t, dir, &judge{})
	for i := range 3 {
		s, _ := p.live("")
		s.connected(true)
		d.hub.Publish([]event.Connection{connectionOf(uint64(i+1), "git")})
		s.rows("git")
		if err := s.body.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
