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
	"snitch/enforce"
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

// probe runs a program in the cgroup.
func (e *enforcing) probe(path string) *prober {
	e.t.Helper()
	return startProbe(e.t, path, bpftest.Place{Cgroup: e.group})
}

// run starts a daemon that denies in the cgroup only.
func (e *enforcing) run(args ...string) *daemonProcess {
	e.t.Helper()
	state := tempState(e.t)
	e.t.Cleanup(func() { removePins(e.t, state) })
	return startDaemonIn(e.t, state, nil, append([]string{"--rules", e.rules, "--interval", "1h", "--cgroup", e.group.Dir()}, args...)...)
}

// removePins removes what a test that failed left.
func removePins(t *testing.T, state string) {
	t.Helper()
	for _, r := range removers() {
		if err := r.remove(context.Background(), state); err != nil {
			t.Errorf("remove %s: %v", r.what, err)
		}
	}
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
	if err := d.client.Flush(context.Background()); err != nil {
		t.Fatal(err)
	}
	return recorded(t, d.state, port)
}

func recorded(t *testing.T, state string, port int) (rows []event.Record) {
	t.Helper()
	q, err := (&LogOptions{recordOptions: recordOptions{State: state}}).question(time.Now(), []string{fmt.Sprintf("rport=%d", port)})
	if err != nil {
		t.Fatal(err)
	}
	err = stored(context.Background(), filepath.Join(state, schema.FileName), q, func(r *event.Record) error { rows = append(rows, *r); return nil })
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
	p := e.probe(e.prog)
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

// TestEnforceOnConfirmRestart is the way from audit to enforce: rolled back when
// nobody confirms, kept over a restart and an exchange when somebody does.
func TestEnforceOnConfirmRestart(t *testing.T) {
	e := newEnforcing(t, "")
	d := e.run()
	p := e.probe(e.prog)
	p.expect(0, "tcp", e.denied.address())
	eventually(t, "audit says what it would have done", func() bool {
		rows := records(t, d, e.denied.port())
		return len(rows) == 1 && rows[0].Would == "deny" && rows[0].Action == "alert" && rows[0].Mode == "audit"
	})

	out := e.snitch("enforce", "on", "--yes", "--confirm", "8s", "--state", d.state)
	if !strings.Contains(out, "ROLLED BACK in") {
		t.Errorf("on: %s", out)
	}
	p.expect(syscall.EPERM, "tcp", e.denied.address())
	eventually(t, "it is rolled back", func() bool { errno, _ := p.try("tcp", e.denied.address()); return errno == 0 })
	if st := d.status(t); st.Enforce.Mode != "audit" || st.Enforce.Backend.Mode != "audit" {
		t.Errorf("rolled back: %+v", st.Enforce)
	}

	e.snitch("enforce", "on", "--yes", "--confirm", "10m", "--state", d.state)
	e.snitch("enforce", "confirm", "--state", d.state)
	d.sealed(t) // also with programs that were loaded long after the start
	p.expect(syscall.EPERM, "tcp", e.denied.address())
	d.signal(t, syscall.SIGTERM)
	d.end(t)
	p.expect(0, "tcp", e.denied.address()) // fail-open: a stop in order ends it
	d = e.again(d)
	p.expect(syscall.EPERM, "tcp", e.denied.address())

	// Another takes over: not one attempt passes meanwhile.
	came, failed := len(e.denied.came), 0
	stop, ended := make(chan struct{}), make(chan int)
	go func() {
		for tried := 0; ; tried++ {
			select {
			case <-stop:
				ended <- tried
				return
			default:
				p.try("tcp", e.denied.address())
				if errno, _ := p.try("tcp", e.open.address()); errno != 0 {
					failed++
				}
			}
		}
	}()
	d.signal(t, syscall.SIGUSR2)
	d.end(t)
	d = e.again(d)
	close(stop)
	if tried := <-ended; tried < 10 || failed > 0 || len(e.denied.came) != came {
		t.Errorf("of %d attempts while one took over from the other %d passed that are denied, %d failed that are allowed", tried, len(e.denied.came)-came, failed)
	}
	p.expect(syscall.EPERM, "tcp", e.denied.address())
	e.snitch("enforce", "off", "--state", d.state)
	p.expect(0, "tcp", e.denied.address())
	d.signal(t, syscall.SIGTERM)
	d.end(t)
	e.unpinned()
}

// TestReloadCuts: a connection that new rules forbid ends, and the log says by
// what.
func TestReloadCuts(t *testing.T) {
	e := newEnforcing(t, "")
	d := e.run("--mode", "enforce")
	p := e.probe(e.prog)
	if errno, _ := p.try("keep", e.open.address()); errno != 0 {
		t.Fatalf("connect: %v", errno)
	}
	writeFile(t, filepath.Join(e.rules, "b.yaml"), fmt.Sprintf("version: 1\nrules:\n  - {id: no-more, action: deny, process: {exe: %s}, to: {port: %d}}\n", e.prog, e.open.port()))
	eventually(t, "it is cut", func() bool { errno, _ := p.try("use", "-"); return errno == syscall.ECONNABORTED })
	eventually(t, "the log says so", func() bool {
		rows := records(t, d, e.open.port())
		return len(rows) == 1 && rows[0].Result == "denied" && rows[0].Action == "deny" && rows[0].Rule == "no-more" && rows[0].Sent > 0
	})
	d.signal(t, syscall.SIGTERM)
	d.end(t)
	e.unpinned()
}

// kill ends a daemon as nobody can prevent.
func (e *enforcing) kill(d *daemonProcess) {
	e.t.Helper()
	d.signal(e.t, syscall.SIGKILL)
	_ = d.Wait() // killed
}

// TestKilledFailOpen: without a daemon everything passes, soon; panic leaves
// nothing in the kernel, and a later daemon does not deny.
func TestKilledFailOpen(t *testing.T) {
	e := newEnforcing(t, "")
	d := e.run("--mode", "enforce")
	p := e.probe(e.prog)
	p.expect(syscall.EPERM, "tcp", e.denied.address())
	e.kill(d)
	p.expect(0, "tcp", e.open.address())
	eventually(t, "everything passes", func() bool { errno, _ := p.try("tcp", e.denied.address()); return errno == 0 })
	if err := e.group.Unattached(); err == nil {
		t.Error("what was pinned is gone: this test tells nothing about panic")
	}
	if out := e.snitch("enforce", "panic", "--state", d.state); !strings.Contains(out, "daemon   not running") || !strings.Contains(out, "removed  programs in cgroups") {
		t.Errorf("panic: %s", out)
	}
	e.unpinned()
	d = e.again(d, "--mode", "enforce")
	p.expect(0, "tcp", e.denied.address())
	d.signal(t, syscall.SIGTERM)
	d.end(t)
}

// confineAll denies all that no rule allows.
const confineAll = "confine:\n  - {id: all, process: any}\n"

// TestKilledFailClosed: without a daemon the tables go on, and what they do not
// know is refused; the next daemon takes over; a stop in order leaves it so.
func TestKilledFailClosed(t *testing.T) {
	e := newEnforcing(t, confineAll)
	other := place(t)
	d := e.run("--mode", "enforce")
	p := e.probe(e.prog)
	check := func(when string) {
		t.Helper()
		t.Log(when)
		p.expect(0, "tcp", e.open.address())
		p.expect(syscall.EPERM, "tcp", e.denied.address())
	}
	check("alive")
	if st := d.status(t); !st.Enforce.FailClosed || !st.Enforce.Backend.FailClosed {
		t.Errorf("everything is confined: %+v", st.Enforce)
	}
	e.kill(d)
	check("just killed")
	time.Sleep(enforce.BeatTimeout + time.Second)
	check("dead")
	q := e.probe(other)
	q.expect(syscall.EPERM, "tcp", e.open.address()) // nobody lives who knows it
	d = e.again(d, "--mode", "enforce")
	check("taken over")
	eventually(t, "the program that came meanwhile is judged by the rules", func() bool {
		rows := records(t, d, e.open.port())
		q.expect(syscall.EPERM, "tcp", e.open.address())
		return slices.ContainsFunc(rows, func(r event.Record) bool { return r.Exe == other && r.Rule == "all" && r.Action == "deny" })
	})
	d.signal(t, syscall.SIGTERM)
	d.end(t)
	check("stopped in order")
	d = e.again(d)
	e.snitch("enforce", "off", "--state", d.state)
	p.expect(0, "tcp", e.denied.address())
	d.signal(t, syscall.SIGTERM)
	d.end(t)
	e.unpinned()
}

// TestPromoteDenies: a rule that only watched votes once it is promoted, by a
// daemon that notices by itself.
func TestPromoteDenies(t *testing.T) {
	e := newEnforcing(t, "")
	file := filepath.Join(e.rules, "b.yaml")
	writeFile(t, file, fmt.Sprintf("version: 1\nrules:\n  - id: watched\n    action: deny\n    mode: audit\n    process: {exe: %s}\n    to: {port: 9, host: 127.0.0.9}\n", e.prog))
	d := e.run("--mode", "enforce")
	p := e.probe(e.prog)
	p.expect(syscall.ECONNREFUSED, "tcp", "127.0.0.9:9")
	eventually(t, "it is counted", func() bool {
		rows := records(t, d, 9)
		return len(rows) == 1 && rows[0].Rule == "elsewhere" && slices.Contains(rows[0].Matches, "watched")
	})
	e.snitch("enforce", "promote", "watched", "--most", "1", "--rules", e.rules, "--state", d.state)
	eventually(t, "it is denied", func() bool { errno, _ := p.try("tcp", "127.0.0.9:9"); return errno == syscall.EPERM })
	d.signal(t, syscall.SIGTERM)
	d.end(t)
	e.unpinned()
}
