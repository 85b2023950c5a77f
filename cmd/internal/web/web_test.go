package web_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"snitch/cmd/internal/control"
	"snitch/cmd/internal/web"
	"snitch/cmd/internal/web/api"
	"snitch/cmd/internal/web/gate"
	"snitch/cmd/internal/web/webtest"
	"snitch/monitor/store/query"
	"snitch/monitor/store/schema"
)

var until = time.Date(2026, 11, 20, 16, 0, 0, 0, time.UTC)

// seeded is the database of all tests, which only read it.
var seeded = sync.OnceValues(func() (string, error) {
	dir := seedDir
	return dir, webtest.Seed(context.Background(), dir, webtest.SeedOptions{Connections: 3000, Days: 2, Until: until})
})

var seedDir string // made by TestMain

// judge is the rules as a test wants them.
type judge struct {
	api.Judge
	why func(opened time.Time, rule string) (api.Why, error)
	try func(ctx context.Context, c api.Candidate) (api.Trial, error)
}

func (j *judge) Rules(context.Context) (api.Rules, error) {
	return api.Rules{Revision: "r1", Entries: []api.RuleEntry{{ID: "no-paste-sites", Kind: "rule", Action: "deny"}, {ID: "old-proxy", Kind: "rule", Action: "allow"}}}, nil
}

func (j *judge) Why(_ context.Context, opened time.Time, rule string) (api.Why, error) {
	return j.why(opened, rule)
}

func (j *judge) Try(ctx context.Context, c api.Candidate) (api.Trial, error) { return j.try(ctx, c) }

type page struct {
	t       *testing.T
	address string
	client  *http.Client
	cookie  string
}

// serve starts a server for a state directory, and signs in.
func serve(t *testing.T, state string, j *judge) *page {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	daemon := control.NewClient(state)
	var db *query.DB
	var once sync.Mutex
	open := func(ctx context.Context) (*query.DB, error) {
		once.Lock()
		defer once.Unlock()
		if db != nil {
			return db, nil
		}
		var err error
		db, err = query.Open(ctx, filepath.Join(state, schema.FileName), nil)
		return db, err
	}
	keys := gate.NewKeys(time.Now)
	log := slog.New(slog.DiscardHandler)
	s, err := web.New(web.Config{Gate: gate.Config{Keys: keys, Cookie: "snitch-0"}, Feed: daemon, Version: "test", Log: log,
		API: api.Config{DB: open, Daemon: daemon, Judge: j, Log: log}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, l) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("serve: %v", err)
		}
		if db != nil {
			_ = db.Close()
		}
	})
	p := &page{t: t, address: "http://" + l.Addr().String(), client: &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
	t.Cleanup(p.client.CloseIdleConnections)
	resp, err := p.client.Get(p.address + "/?token=" + keys.Token())
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	for _, c := range resp.Cookies() {
		p.cookie = c.Value
	}
	if p.cookie == "" {
		t.Fatal("signing in gave no cookie")
	}
	return p
}

func state(t *testing.T) string {
	t.Helper()
	dir, err := seeded()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// do asks and returns the status and the body.
func (p *page) do(method, path string, body io.Reader) (int, []byte, http.Header) {
	p.t.Helper()
	r, err := http.NewRequestWithContext(p.t.Context(), method, p.address+path, body)
	if err != nil {
		p.t.Fatal(err)
	}
	r.AddCookie(&http.Cookie{Name: "snitch-0", Value: p.cookie})
	resp, err := p.client.Do(r)
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return resp.StatusCode, b, resp.Header
}

// span is the range that holds all that was seeded.
func span() string {
	return fmt.Sprintf("since=%d&until=%d", until.Add(-72*time.Hour).UnixMilli(), until.Add(time.Hour).UnixMilli())
}

func ask[T any](p *page, path string) T {
	p.t.Helper()
	code, body, _ := p.do(http.MethodGet, path, nil)
	var v T
	if code != http.StatusOK {
		p.t.Fatalf("%s answered %d: %s", path, code, body)
	}
	if err := json.Unmarshal(body, &v); err != nil {
		p.t.Fatalf("%s: %v in %s", path, err, body)
	}
	return v
}

// TestAnswersAgree asks the same in several ways.
func TestAnswersAgree(t *testing.T) {
	p := serve(t, state(t), &judge{})
	o := ask[query.Overview](p, "/api/overview?"+span())
	if o.Now.Connections != 3000 {
		t.Errorf("the overview tells %d connections, want 3000", o.Now.Connections)
	}
	g := ask[query.Groups](p, "/api/groups?by=exe&"+span())
	if g.Total.Connections != o.Now.Connections || g.Total.Bytes() != o.Now.Sent+o.Now.Received {
		t.Errorf("by program it is %d connections with %d bytes, the overview tells %d with %d", g.Total.Connections, g.Total.Bytes(), o.Now.Connections, o.Now.Sent+o.Now.Received)
	}
	s := ask[query.Series](p, "/api/series?by=exe&"+span())
	var bytes uint64
	for _, l := range s.Lines {
		for i := range l.Sent {
			bytes += l.Sent[i] + l.Received[i]
		}
	}
	if bytes != g.Total.Bytes() {
		t.Errorf("the series adds up to %d bytes, the groups to %d", bytes, g.Total.Bytes())
	}
	one := ask[query.Groups](p, "/api/groups?by=domain&f="+url.QueryEscape("exe=/usr/bin/curl")+"&"+span())
	list := ask[api.Connections](p, "/api/connections?limit=1000&f="+url.QueryEscape("exe=/usr/bin/curl")+"&"+span())
	if uint64(len(list.Rows)) != one.Total.Connections || len(list.Rows) == 0 || list.More {
		t.Errorf("curl has %d connections in the list (more: %v), %d in groups", len(list.Rows), list.More, one.Total.Connections)
	}
	for i := 1; i < len(list.Rows); i++ {
		if list.Rows[i].Time.After(list.Rows[i-1].Time) {
			t.Fatalf("row %d is newer than the one before", i)
		}
	}
	d := ask[query.ExecutableDetail](p, "/api/executable?key="+url.QueryEscape("/usr/bin/curl"))
	if d.Path != "/usr/bin/curl" || len(d.Lineages) == 0 {
		t.Errorf("of curl it is told %+v", d)
	}
}

// TestEveryField groups by every field that says it can be, and filters by what
// comes out, hostile values among them.
func TestEveryField(t *testing.T) {
	p := serve(t, state(t), &judge{})
	n := 0
	for _, f := range ask[[]api.FieldInfo](p, "/api/fields") {
		if !f.Group {
			continue
		}
		n++
		g := ask[query.Groups](p, "/api/groups?by="+f.Name+"&limit=3&"+span())
		if g.Total.Connections == 0 || len(g.Rows) == 0 {
			t.Errorf("by %s there is nothing", f.Name)
		}
	}
	if n < 15 {
		t.Errorf("only %d fields can be grouped by", n)
	}
	name := ask[api.Connections](p, "/api/connections?f="+url.QueryEscape("exe=/tmp/"+webtest.HostileName)+"&"+span())
	if len(name.Rows) == 0 || name.Rows[0].Exe != "/tmp/"+webtest.HostileName {
		t.Errorf("the hostile program is not found: %d rows", len(name.Rows))
	}
}

// TestHostileTextStaysData looks at the bytes of an answer with hostile names.
func TestHostileTextStaysData(t *testing.T) {
	p := serve(t, state(t), &judge{})
	code, body, h := p.do(http.MethodGet, "/api/connections?f="+url.QueryEscape("name~img")+"&limit=5&"+span(), nil)
	if code != http.StatusOK || h.Get("Content-Type") != "application/json" {
		t.Fatalf("answered %d as %q", code, h.Get("Content-Type"))
	}
	if !strings.Contains(string(body), "onerror") {
		t.Error("the hostile program is not in the answer")
	}
	for _, bad := range []string{"\x1b", "\u202e", "\u2066"} {
		if strings.Contains(string(body), bad) {
			t.Errorf("the answer holds %q itself", bad)
		}
	}
}

// TestRefusals asks what has no answer. Each says why, in JSON.
func TestRefusals(t *testing.T) {
	p := serve(t, state(t), &judge{})
	for _, c := range []struct {
		method, path, body string
		code               int
		says               string
	}{
		{"GET", "/api/groups?by=secret", "", 400, "secret"},
		{"GET", "/api/groups", "", 400, "by"},
		{"GET", "/api/groups?by=exe&by=domain&by=uid", "", 400, "3 fields"},
		{"GET", "/api/groups?by=exe&order=random", "", 400, "random"},
		{"GET", "/api/groups?by=exe&limit=99999999", "", 400, "limit"},
		{"GET", "/api/groups?by=exe&f=" + url.QueryEscape("nofield=1"), "", 400, "nofield"},
		{"GET", "/api/overview?last=soon", "", 400, "last"},
		{"GET", "/api/overview?since=yesterday&until=5", "", 400, "since"},
		{"GET", "/api/overview?since=10&until=5", "", 400, "until"},
		{"GET", "/api/series?by=" + strings.Repeat("x", 5000), "", 400, "nothing to group by"},
		{"GET", "/api/alerts?state=open", "", 400, "open"},
		{"GET", "/api/alerts?id=-1", "", 400, "id"},
		{"GET", "/api/executable", "", 400, "key"},
		{"GET", "/api/executable?key=/no/such/program", "", 404, "does not know"},
		{"GET", "/api/why?alert=99999", "", 404, "no alert"},
		{"GET", "/api/why", "", 400, "which"},
		{"GET", "/api/draft?time=2020-01-01T00:00:00Z&action=burn", "", 400, "action"},
		{"GET", "/api/draft?time=2020-01-01T00:00:00Z&action=allow", "", 404, "no longer"},
		{"GET", "/api/export?format=xls", "", 400, "format"},
		{"GET", "/api/place?addr=nowhere", "", 400, "no address"},
		{"GET", "/api/live?f=nofield", "", 400, "nofield"},
		{"POST", "/api/alerts", `{"ids":[1],"state":"gone"}`, 400, "gone"},
		{"POST", "/api/alerts", `{"ids":[],"state":"seen"}`, 400, "0 alerts"},
		{"POST", "/api/alerts", `{"ids":[1],"state":"seen","x":1}`, 400, "unknown field"},
		{"POST", "/api/alerts", `{"ids":[1],"state":"seen"} {}`, 400, "more than one"},
		{"POST", "/api/alerts", `{"ids":[1],"state":"seen"}`, 503, "daemon is not running"},
		{"POST", "/api/try", `{"text":""}`, 400, "no rules"},
		{"POST", "/api/try", `{"text":"` + strings.Repeat("x", 300<<10) + `"}`, 413, "256 KiB"},
	} {
		code, body, _ := p.do(c.method, c.path, strings.NewReader(c.body))
		var problem api.Problem
		if err := json.Unmarshal(body, &problem); err != nil || code != c.code || !strings.Contains(problem.Text, c.says) {
			t.Errorf("%s %.60s answered %d %s, want %d with %q", c.method, c.path, code, body, c.code, c.says)
		}
	}
	if code, _, _ := p.do("POST", "/", nil); code != http.StatusMethodNotAllowed {
		t.Errorf("POST / answered %d", code)
	}
	if code, _, _ := p.do("GET", "/../../etc/passwd", nil); code != http.StatusNotFound && code != http.StatusMovedPermanently && code != http.StatusTemporaryRedirect {
		t.Errorf("a path out of the tree answered %d", code)
	}
}

// TestOversize sends too much of everything.
func TestOversize(t *testing.T) {
	p := serve(t, state(t), &judge{try: func(context.Context, api.Candidate) (api.Trial, error) { return api.Trial{}, nil }})
	code, _, _ := p.do("POST", "/api/try", strings.NewReader(`{"text":"`+strings.Repeat("x", 2<<20)+`"}`))
	if code != http.StatusBadRequest && code != http.StatusRequestEntityTooLarge {
		t.Errorf("a body of 2 MiB answered %d", code)
	}
	conn, err := net.Dial("tcp", strings.TrimPrefix(p.address, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: localhost\r\nX: %s\r\n\r\n", strings.Repeat("x", 64<<10)); err != nil {
		t.Fatal(err)
	}
	answer, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil || !strings.Contains(answer, "431") {
		t.Errorf("a header of 64 KiB answered %q, %v", answer, err)
	}
}

// TestSlowClient sends its request a byte at a time, and is cut off.
func TestSlowClient(t *testing.T) {
	if testing.Short() {
		t.Skip("short: waits for a deadline of seconds")
	}
	p := serve(t, state(t), &judge{})
	conn, err := net.Dial("tcp", strings.TrimPrefix(p.address, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: "); err != nil {
		t.Fatal(err)
	}
	if err := conn.SetReadDeadline(time.Now().Add(60 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, conn); err != nil {
		var timeout net.Error
		if errors.As(err, &timeout) && timeout.Timeout() {
			t.Error("a client that says nothing was kept for a minute")
		}
	}
}
