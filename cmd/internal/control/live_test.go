package control

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"snitch/monitor/event"
)

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
