package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"snitch/cmd/internal/web/webtest"
)

// TestWebLive watches a real daemon with real traffic, and acknowledges what it
// raises.
func TestWebLive(t *testing.T) {
	if testing.Short() {
		t.Skip("short: drives a browser")
	}
	rules := t.TempDir()
	ok(t, os.WriteFile(filepath.Join(rules, "p.yaml"), []byte("version: 1\n\nrules:\n  - id: loopback-told\n    action: alert\n    reason: the test wants to know\n    process: any\n    to: {host: 127.0.0.7}\n"), 0o644))
	d := startDaemon(t, nil, "--rules", rules)
	w := startWeb(t, "--state", d.state)
	b := browser(t)
	ok(t, b.Open(w.address))
	ok(t, b.Open(w.origin+"/live?f=raddr%3D127.0.0.7"))
	ok(t, b.Wait(`document.querySelector(".live-state").innerText == "Live"`))
	l, err := net.Listen("tcp", "127.0.0.7:0")
	ok(t, err)
	defer l.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = c.Write(make([]byte, 3000))
			_ = c.Close()
		}
	}()
	dial := func() {
		c, err := net.Dial("tcp", l.Addr().String())
		ok(t, err)
		_, _ = c.Read(make([]byte, 4096))
		_ = c.Close()
	}
	dial()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	ok(t, b.Wait(fmt.Sprintf(`document.querySelector(".conns")?.innerText.includes("127.0.0.7:%s")`, port)))
	// A second tab of the same page shares the stream: the daemon has one reader.
	ok(t, b.Open(w.origin+"/"))
	ok(t, b.Wait(`document.querySelector(".strip, .dot.on")`))
	eventually(t, "one reader", func() bool { return d.status(t).Live.Clients == 1 })
	// The alert, on the rail and on its page; acknowledged it is gone.
	ok(t, b.Open(w.origin+"/alerts?text=loopback-told"))
	ok(t, b.Wait(`document.querySelector(".alert")?.innerText.includes("loopback-told") || (dispatchEvent(new KeyboardEvent("keydown", {key: "r"})), false)`))
	ok(t, b.Click(`.alert .actions button`))
	ok(t, b.Has("No alert matches."))
	ok(t, b.Open(w.origin+"/alerts?state=seen&text=loopback-told"))
	ok(t, b.Has("loopback-told"))
	ok(t, b.Open(w.origin+"/health"))
	ok(t, b.Has("Programs in the kernel"))
	ok(t, b.Has("Lockdown"))
	_ = l.Close()
	<-done
	b.Complaints() // what the daemon's connections to be told of are, depends on the machine
}

// TestWebSocket asks through a unix socket, by the credentials of the peer.
func TestWebSocket(t *testing.T) {
	dir := t.TempDir()
	ok(t, webtest.Seed(t.Context(), dir, webtest.SeedOptions{Connections: 50, Days: 1, Until: time.Now()}))
	at := filepath.Join(dir, "web.sock")
	w := startWeb(t, "--state", dir, "--socket", at)
	if w.address != "unix:"+at {
		t.Errorf("it printed %q", w.address)
	}
	info, err := os.Stat(at)
	ok(t, err)
	if info.Mode().Perm() != 0o660 {
		t.Errorf("the socket has mode %o", info.Mode().Perm())
	}
	c := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", at)
	}}}
	defer c.CloseIdleConnections()
	for host, want := range map[string]int{"snitch": 200, "localhost": 200, "evil.example": 421} {
		resp, err := c.Get("http://" + host + "/api/overview?last=all")
		ok(t, err)
		_ = resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("as %s it answered %d, want %d", host, resp.StatusCode, want)
		}
	}
}
