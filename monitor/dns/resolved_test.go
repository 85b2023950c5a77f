package dns

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"snitch/monitor/event"
)

// rawRecord is a resource record as resolved sends it: uncompressed, base64.
func rawRecord(t testing.TB, r rr) string {
	t.Helper()
	msg := pack(t, dnsmessage.Message{Answers: []dnsmessage.Resource{r(t)}})
	return base64.StdEncoding.EncodeToString(msg[headerLen:])
}

// result is one message of the monitor with the fields and the order of
// systemd 252 to 257.
func result(t testing.TB, state string, collected, question []string, rrs ...rr) string {
	t.Helper()
	keys := func(names []string) (out []map[string]any) {
		for _, n := range names {
			out = append(out, map[string]any{"class": 1, "type": 1, "name": n})
		}
		return out
	}
	var items []map[string]any
	for _, r := range rrs {
		items = append(items, map[string]any{"raw": rawRecord(t, r), "ifindex": 2,
			"rr": map[string]any{"key": keys([]string{"x"})[0], "address": []int{1, 2, 3, 4}}})
	}
	p := map[string]any{"state": state, "question": keys(question), "answer": items}
	if collected != nil {
		p["collectedQuestions"] = keys(collected)
	}
	out, err := json.Marshal(map[string]any{"parameters": p, "continues": true})
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

const ready = `{"parameters":{"ready":true},"continues":true}`

// varlinkServer speaks the monitor's protocol over a real socket: it reads the
// call, checks it, sends each string as one message and then hangs up, or waits
// for the client to do so.
func varlinkServer(t *testing.T, socket string, hangUp bool, messages func(connection int) []string) (stop func()) {
	t.Helper()
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := 0; ; i++ {
			c, err := l.Accept()
			if err != nil {
				return
			}
			if err := serveVarlink(c, hangUp, messages(i)); err != nil {
				t.Error(err)
			}
		}
	}()
	return func() { l.Close(); <-done }
}

func serveVarlink(c net.Conn, hangUp bool, messages []string) error {
	defer c.Close()
	r := bufio.NewReader(c)
	call, err := r.ReadString(0)
	if err != nil {
		return fmt.Errorf("read call: %w", err)
	}
	var m struct {
		Method string
		More   bool
	}
	if err := json.Unmarshal([]byte(call[:len(call)-1]), &m); err != nil {
		return fmt.Errorf("call %q: %w", call, err)
	}
	if m.Method != "io.systemd.Resolve.Monitor.SubscribeQueryResults" || !m.More {
		return fmt.Errorf("call: got %q, want a subscription", call)
	}
	for _, text := range messages {
		if _, err := io.WriteString(c, text+"\x00"); err != nil {
			return nil // the client ended
		}
	}
	if !hangUp {
		_, _ = r.ReadByte()
	}
	return nil
}

// run starts Run and returns what stops and joins it.
func (b *book) run() (stop func()) {
	ctx, cancel := context.WithCancel(b.t.Context())
	done := make(chan error)
	go func() { done <- b.Run(ctx) }()
	return func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				b.t.Errorf("Run: got %v, want nil", err)
			}
		case <-time.After(5 * time.Second):
			b.t.Error("Run did not return within 5 s of the end of its context")
		}
	}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within 5 s: %s", what)
		}
	}
}

func TestResolvedMonitor(t *testing.T) {
	b := newBook(t)
	second := netip.MustParseAddr("2001:db8::11")
	third := netip.MustParseAddr("203.0.113.12")
	stop := varlinkServer(t, b.cfg.ResolvedSocket, false, func(int) []string {
		return []string{ready,
			result(t, "success", nil, []string{"One.Example"}, addrRR("one.example", web, 60), addrRR("foreign.example", third, 60)),
			// the monitor's answer after a chain of aliases over two queries
			result(t, "success", []string{"www.two.example"}, []string{"cdn.two.test"}, addrRR("cdn.two.test", second, 60)),
			result(t, "rcode-failure", nil, []string{"three.example"}, addrRR("three.example", third, 60)),
			"not json", `{"parameters":{"state":"success"},"continues":true}`,
			`{"parameters":{"state":"success","question":[{"class":1,"type":1,"name":"x.example"}],"answer":[{"raw":"!"}]},"continues":true}`,
			`{"continues":true,"parameters":{"state":"success","pad":"` + strings.Repeat("x", maxVarlink) + `"}}`,
			result(t, "success", nil, []string{"printer.local"}, addrRR("printer.local", third, 60)),
		}
	})
	defer stop()
	defer b.run()()
	eventually(t, "all answers", func() bool { return b.Stats().ResolvedAnswers == 3 })
	b.want(alice, web, "one.example", event.NameResolved)
	b.want(alice, second, "www.two.example", event.NameResolved)
	b.want(alice, third, "printer.local", event.NameResolved)
	if s := b.Stats(); s.Resolved != "connected" || s.ResolvedBad != 4 || s.Foreign != 1 {
		t.Errorf("got %q, %d bad, %d foreign, want connected, 4, 1", s.Resolved, s.ResolvedBad, s.Foreign)
	}
	if e := b.Candidates(alice, 1, event.ProtoTCP, web, b.clock)[0]; !e.Configured || !e.Valid {
		t.Errorf("DNS name: got %+v, want configured and valid", e)
	}
	b.resolvedSays("printer", third)
	for _, e := range b.Candidates(alice, 1, event.ProtoTCP, third, b.clock) {
		if !e.Configured {
			continue
		}
		t.Errorf("name of the local network: got %+v, want not configured", e)
	}
}

func TestResolvedIsConnectedAgain(t *testing.T) {
	b := newBook(t)
	stop := varlinkServer(t, b.cfg.ResolvedSocket, true, func(i int) []string {
		return []string{ready, result(t, "success", nil, []string{fmt.Sprintf("n%d.example", i)}, addrRR(fmt.Sprintf("n%d.example", i), web, 60))}
	})
	defer stop()
	defer b.run()()
	eventually(t, "a second connection", func() bool { return b.Stats().ResolvedAnswers >= 2 })
	b.want(alice, web, "n1.example", event.NameResolved)
}

func TestResolvedAbsent(t *testing.T) {
	b := newBook(t)
	stop := b.run()
	eventually(t, "a word about it", func() bool { return strings.Contains(b.Stats().Resolved, "no such file") })
	stop()
}

func TestResolvedRefuses(t *testing.T) {
	b := newBook(t)
	stop := varlinkServer(t, b.cfg.ResolvedSocket, true, func(int) []string {
		return []string{`{"error":"org.varlink.service.MethodNotFound","parameters":{}}`}
	})
	defer stop()
	defer b.run()()
	eventually(t, "the refusal", func() bool { return strings.Contains(b.Stats().Resolved, "MethodNotFound") })
}

func TestReadVarlink(t *testing.T) {
	long := strings.Repeat("x", 9000)
	r := bufio.NewReaderSize(strings.NewReader("a\x00"+long+"\x00\x00"+long+"y\x00b\x00cut"), 16)
	for i, want := range []struct {
		msg string
		err error
	}{{"a", nil}, {long, nil}, {"", nil}, {"", errTooLong}, {"b", nil}, {"", io.EOF}} {
		msg, err := readVarlink(r, len(long))
		if string(msg) != want.msg || !errors.Is(err, want.err) {
			t.Errorf("message %d: got %d bytes, %v, want %d, %v", i, len(msg), err, len(want.msg), want.err)
		}
	}
}

func BenchmarkResolvedMessage(b *testing.B) {
	n, err := New(Config{NetNS: hostNS, ResolvedSocket: filepath.Join(b.TempDir(), "s")}, Deps{})
	if err != nil {
		b.Fatal(err)
	}
	msg := []byte(result(b, "success", nil, []string{"one.example"}, addrRR("one.example", web, 60)))
	for b.Loop() {
		if err := n.resolvedMessage(bytes.Clone(msg), func() {}); err != nil {
			b.Fatal(err)
		}
	}
}
