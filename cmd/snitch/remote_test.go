package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"snitch/cmd/internal/web/api"
	"snitch/monitor/export/remote/servertest"
	"snitch/monitor/store/query"
	"snitch/monitor/store/schema"
)

// hosts is a PostgreSQL server with the tables of `snitch remote schema` and an
// account that may add rows, and a configuration that sends there by TLS.
type hosts struct {
	*servertest.Server
	config string
}

func newHosts(t *testing.T) *hosts {
	t.Helper()
	f := &hosts{Server: servertest.Start(t, servertest.Postgres)}
	f.Exec(t, "", "CREATE DATABASE fleet")
	f.Exec(t, "", "CREATE ROLE snitch LOGIN PASSWORD 'open sesame'")
	tables, err := snitchCommand("remote", "schema", "postgres", "--writer", "snitch").Output()
	if err != nil {
		t.Fatal(err)
	}
	f.Exec(t, "fleet", string(tables))
	dir := t.TempDir()
	f.config = filepath.Join(dir, "config.yaml")
	writeFile(t, filepath.Join(dir, "password"), "open sesame\n")
	writeFile(t, filepath.Join(dir, "ca.pem"), string(f.CA))
	writeFile(t, f.config, fmt.Sprintf("version: 1\ninterval: 200ms\nremote:\n  url: postgres://snitch@localhost:%d/fleet\n  password_file: %s/password\n  ca_file: %s/ca.pem\n  host: web-1\nmetrics: {listen: socket}\n", f.Port, dir, dir))
	return f
}

func (f *hosts) number(t *testing.T, query string) int64 {
	t.Helper()
	n, err := strconv.ParseInt(f.Exec(t, "fleet", query), 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return n
}

func (f *hosts) daemon(t *testing.T, state string) *daemonProcess {
	t.Helper()
	return startDaemonIn(t, state, nil, "--config", f.config)
}

// TestRemoteRecord: a real daemon sends by TLS, through a process that may
// nothing; the server dies and the daemon is killed, and at the end both records
// agree to the byte. Prometheus is told.
func TestRemoteRecord(t *testing.T) {
	if testing.Short() {
		t.Skip("short: starts PostgreSQL and daemons")
	}
	f, state := newHosts(t), tempState(t)
	out, err := snitchCommand("remote", "check", "--config", f.config).CombinedOutput()
	if err != nil || !strings.HasPrefix(string(out), "ok: postgres on localhost:") || !strings.Contains(string(out), "with TLS") || strings.Contains(string(out), "more than it needs") {
		t.Fatalf("check: %v\n%s", err, out)
	}
	talkALittle := func() {
		for range 5 {
			if _, err := exchange(1000, 2000); err != nil {
				t.Fatal(err)
			}
		}
	}
	arrives := func(d *daemonProcess) {
		before := d.status(t).Remote.Rows
		talkALittle()
		eventually(t, "rows arrive", func() bool {
			r := d.status(t).Remote
			return r.Problem == "" && r.Rows > before+5
		})
	}
	d := f.daemon(t, state)
	arrives(d)
	unprivilegedSender(t, d)
	scrape(t, state)

	f.Kill(t)
	talkALittle()
	eventually(t, "the outage is told", func() bool {
		r := d.status(t).Remote
		return r.Problem != "" && r.Waiting > 5 && r.WaitingBytes > 0
	})
	d.signal(t, syscall.SIGKILL)
	_ = d.Wait() // killed
	f.Server.Start(t)
	d = f.daemon(t, state)
	arrives(d)
	d.signal(t, syscall.SIGTERM)
	d.end(t)
	f.agree(t, state)
	f.shown(t)
}

// agree: what the server has and what still waits is what the record here has.
func (f *hosts) agree(t *testing.T, state string) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(state, schema.FileName)+"?mode=ro")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	here := func(query string) (n int64) {
		if err := db.QueryRowContext(t.Context(), query).Scan(&n); err != nil {
			t.Fatalf("%s: %v", query, err)
		}
		return n
	}
	for _, column := range []string{"sent", "received"} {
		all, waits := here("SELECT sum("+column+") FROM connection"), here("SELECT ifnull(sum("+column+"), 0) FROM outbox")
		there := f.number(t, "SELECT sum("+column+")::bigint FROM snitch_connection WHERE host = 'web-1'")
		if all != waits+there || there < 5*1000 {
			t.Errorf("%s: %d here, %d on the server and %d on the way", column, all, there, waits)
		}
	}
	if got, want := f.number(t, "SELECT count(*) FROM snitch_connection WHERE first")+0, here("SELECT count(*) FROM connection"); got > want || got < 10 {
		t.Errorf("%d connections on the server, %d here", got, want)
	}
	if n := f.number(t, "SELECT count(*) FROM (SELECT 1 FROM snitch_connection GROUP BY host, run, id HAVING count(*) FILTER (WHERE first) <> 1) x"); n != 0 {
		t.Errorf("%d connections begin twice, or never", n)
	}
	if n := here("SELECT count(*) FROM loss WHERE cause = 20"); n != 0 {
		t.Errorf("%d losses", n)
	}
}

// shown: snitch web shows what the server has of two hosts.
func (f *hosts) shown(t *testing.T) {
	t.Helper()
	f.Exec(t, "", "CREATE ROLE looker LOGIN PASSWORD 'look'")
	tables, err := snitchCommand("remote", "schema", "postgres", "--reader", "looker").Output()
	if err != nil {
		t.Fatal(err)
	}
	f.Exec(t, "fleet", string(tables))
	for _, table := range []string{"snitch_batch", "snitch_connection"} { // another host that did the same
		f.Exec(t, "fleet", fmt.Sprintf("CREATE TEMP TABLE x AS SELECT * FROM %[1]s; UPDATE x SET batch = md5(batch), host = 'db-2'; INSERT INTO %[1]s SELECT * FROM x", table))
	}
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "password"), "look")
	writeFile(t, filepath.Join(dir, "ca.pem"), string(f.CA))
	at := filepath.Join(dir, "web.sock")
	startWeb(t, "--socket", at, "--db", fmt.Sprintf("postgres://looker@localhost:%d/fleet", f.Port), "--db-password-file", filepath.Join(dir, "password"), "--db-ca-file", filepath.Join(dir, "ca.pem"))
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", at)
	}}}
	get := func(path string, to any) int {
		t.Helper()
		res, err := client.Get("http://localhost" + path)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if err := json.NewDecoder(res.Body).Decode(to); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		return res.StatusCode
	}
	var g query.Groups
	eventually(t, "the fleet was read", func() bool { return get("/api/groups?last=all&by=host", &g) == http.StatusOK })
	if len(g.Rows) != 2 {
		t.Fatalf("hosts: %+v", g.Rows)
	}
	for _, r := range g.Rows {
		where := fmt.Sprintf("FROM snitch_connection WHERE host = '%s'", r.Keys[0])
		if sent, n := f.number(t, "SELECT sum(sent)::bigint "+where), f.number(t, "SELECT count(*) FILTER (WHERE first) "+where); int64(r.Sent) != sent || int64(r.Connections) != n {
			t.Errorf("%+v; the server has %d bytes of %d connections", r, sent, n)
		}
	}
	all := g.Total
	if get("/api/groups?last=all&by=exe&f=host%3Ddb-2", &g); g.Total.Sent*2 != all.Sent || g.Total.Connections*2 != all.Connections {
		t.Errorf("of one host %+v, of both %+v", g.Total, all)
	}
	var fleet api.Fleet
	if get("/api/fleet", &fleet); len(fleet.Hosts) != 2 || fleet.Problem != "" || fleet.Read.IsZero() {
		t.Errorf("fleet: %+v", fleet)
	}
	var problem api.Problem
	if code := get("/api/status", &problem); code != http.StatusNotImplemented {
		t.Errorf("the daemon of a fleet answered %d: %+v", code, problem)
	}
}

// unprivilegedSender finds the process that speaks to the server.
func unprivilegedSender(t *testing.T, d *daemonProcess) {
	t.Helper()
	st := d.status(t)
	if !slices.Contains(st.Broker.Helpers, "remote-sql") {
		t.Fatalf("helpers: %v", st.Broker.Helpers)
	}
	lists, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", st.Broker.PID))
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, list := range lists {
		children, err := os.ReadFile(list)
		if err != nil {
			t.Fatal(err)
		}
		for _, pid := range strings.Fields(string(children)) {
			status := "/proc/" + pid + "/status"
			if procField(t, status, "Name") != "snitch-remote-s" {
				continue
			}
			found = true
			for name, want := range map[string]string{"CapEff": "0000000000000000", "CapPrm": "0000000000000000", "NoNewPrivs": "1", "Seccomp": "2", "Groups": ""} {
				if got := procField(t, status, name); got != want {
					t.Errorf("sender: %s is %q, want %q", name, got, want)
				}
			}
			if uid := strings.Fields(procField(t, status, "Uid")); slices.Contains(uid, "0") {
				t.Errorf("sender runs as %v", uid)
			}
		}
	}
	if !found {
		t.Error("the sender is no child of the broker")
	}
}

// scrape reads the metrics as Prometheus does.
func scrape(t *testing.T, state string) {
	t.Helper()
	for _, name := range []string{"snitch_up", "snitch_remote_rows_total", "snitch_remote_enabled", "snitch_connections_total", "snitch_sent_bytes_total",
		"snitch_decisions_total", "snitch_decision_seconds_count", "snitch_database_commit_seconds_total", "snitch_rules", "snitch_memory_bytes"} {
		eventually(t, name+" is above 0", func() bool { return above(t, state)[name] })
	}
}

// above are the metrics that are more than 0.
func above(t *testing.T, state string) map[string]bool {
	t.Helper()
	socket := filepath.Join(state, metricsSocket)
	if info, err := os.Stat(socket); err != nil || info.Mode().Perm() != 0o660 {
		t.Fatalf("socket: %v %v", info, err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://localhost/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for line := range strings.Lines(string(body)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		name, _, _ = strings.Cut(name, "{")
		if v, err := strconv.ParseFloat(value, 64); err == nil && v > 0 {
			found[name] = true
		}
	}
	return found
}
