package main

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"snitch/bpf/bpftest"
	"snitch/cmd/internal/control"
	"snitch/monitor/event"
	"snitch/monitor/store/query"
	"snitch/monitor/store/schema"
)

// enforcing is a cgroup of the test, the rules of its daemon, and two peers: one
// that prog may not reach, and one that it may.
type enforcing struct {
	t            *testing.T
	group        *bpftest.Cgroup
	rules        string
	prog         string
	denied, open *peer
}

// newEnforcing writes rules that deny prog one port. More rules follow more.
func newEnforcing(t *testing.T, more string) *enforcing {
	t.Helper()
	if testing.Short() {
		t.Skip("short: runs the daemon")
	}
	e := &enforcing{t: t, group: bpftest.NewCgroup(t), rules: t.TempDir(), prog: place(t), denied: newPeer(t), open: newPeer(t)}
	writeFile(t, filepath.Join(e.rules, "a.yaml"), fmt.Sprintf(`version: 1
rules:
  - id: not-there
    action: deny
    reason: nobody goes there
    process: {exe: %s}
    to: {port: %d}
  - id: elsewhere
    action: allow
    process: {exe: %s}
    to: {host: 127.0.0.0/8}
%s`, e.prog, e.denied.port(), e.prog, more))
	return e
}

// run starts a daemon that denies in the cgroup only.
func (e *enforcing) run(args ...string) *daemonProcess {
	e.t.Helper()
	return startDaemon(e.t, nil, append([]string{"--rules", e.rules, "--interval", "1h", "--cgroup", e.group.Dir()}, args...)...)
}

// again starts another with the same state directory.
func (e *enforcing) again(d *daemonProcess, args ...string) *daemonProcess {
	e.t.Helper()
	return startDaemonIn(e.t, d.state, nil, append([]string{"--rules", e.rules, "--interval", "1h", "--cgroup", e.group.Dir()}, args...)...)
}

// snitch runs a command that must succeed.
func (e *enforcing) snitch(args ...string) string {
	e.t.Helper()
	out, err := snitchCommand(args...).CombinedOutput()
	if err != nil {
		e.t.Fatalf("snitch %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// records are the rows of the log to a port of the loopback.
func records(t *testing.T, d *daemonProcess, port int) (rows []event.Record) {
	t.Helper()
	if err := control.NewClient(d.state).Flush(context.Background()); err != nil {
		t.Fatal(err)
	}
	return recorded(t, d.state, port)
}

func recorded(t *testing.T, state string, port int) (rows []event.Record) {
	t.Helper()
	q, err := (&LogOptions{State: state}).question(time.Now(), []string{fmt.Sprintf("rport=%d", port)})
	if err != nil {
		t.Fatal(err)
	}
	err = stored(context.Background(), state, q, func(r *event.Record) error { rows = append(rows, *r); return nil })
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

// unpinned fails when something is left in the kernel.
func (e *enforcing) unpinned() {
	e.t.Helper()
	eventually(e.t, "no program is attached", func() bool { return e.group.Unattached() == nil })
}

// TestEnforceDenies is the way of one denied attempt: an error at once, nothing
// at the peer, one row that says why, an alert, and an explanation.
func TestEnforceDenies(t *testing.T) {
	e := newEnforcing(t, "")
	d := e.run("--mode", "enforce")
	p := startProbe(t, e.prog, e.group.Dir())
	p.expect(0, "tcp", e.open.address())
	p.expect(syscall.EPERM, "tcp", e.denied.address())
	p.expect(syscall.EPERM, "udp", e.denied.address())
	<-e.open.came

	var rows []event.Record
	eventually(t, "both attempts are in the log", func() bool {
		rows = records(t, d, e.denied.port())
		return len(rows) >= 2 && !slices.ContainsFunc(rows, func(r event.Record) bool { return r.Result != "denied" })
	})
	for _, r := range rows {
		if r.Action != "deny" || r.Would != "deny" || r.Result != "denied" || r.Mode != "enforce" || r.Rule != "not-there" || r.Exe != e.prog || r.Sent != 0 {
			t.Errorf("%s: action %s, would %s, result %s, mode %s, rule %s, program %s, %d bytes", r.Proto, r.Action, r.Would, r.Result, r.Mode, r.Rule, r.Exe, r.Sent)
		}
	}
	if rows := records(t, d, e.open.port()); len(rows) != 1 || rows[0].Action != "allow" || rows[0].Mode != "enforce" {
		t.Errorf("the one that was allowed: %+v", rows)
	}
	if n := len(e.denied.came); n != 0 {
		t.Errorf("%d connections reached the peer", n)
	}
	if alerts := alertsOf(t, d.state); !slices.ContainsFunc(alerts, func(a event.Alert) bool { return a.Rule == "not-there" && a.Action == "deny" && a.Exe == e.prog }) {
		t.Errorf("alerts: %+v", alerts)
	}
	if out := e.snitch("policy", "explain", "--last", "--state", d.state); !strings.Contains(out, "not-there") || !strings.Contains(out, "nobody goes there") {
		t.Errorf("explained:\n%s", out)
	}
	if out := e.snitch("enforce", "status", "--state", d.state); !strings.Contains(out, "denies          cgroup, rules") || !strings.Contains(out, "2 denied") {
		t.Errorf("status:\n%s", out)
	}
	if st := d.status(t); st.Mode != "enforce" || st.Enforce.Source != "--mode" || len(st.Losses) != 0 && st.Losses["denials"].Count != 0 {
		t.Errorf("status: mode %s, %+v, losses %+v", st.Mode, st.Enforce, st.Losses)
	}
	d.signal(t, syscall.SIGTERM)
	d.end(t)
	e.unpinned()
	p.expect(0, "tcp", e.denied.address())
	if rows := recorded(t, d.state, e.denied.port()); len(rows) != 2 {
		t.Errorf("two attempts are %d rows", len(rows))
	}
}

func alertsOf(t *testing.T, state string) []event.Alert {
	t.Helper()
	db, err := query.Open(t.Context(), filepath.Join(state, schema.FileName), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	list, err := db.Alerts(t.Context(), query.AlertQuery{})
	if err != nil {
		t.Fatal(err)
	}
	return list
}
