package scenario

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"snitch/bpf/bpftest"
)

// daemon is one `snitch run` of a test.
type daemon struct{ *bpftest.Daemon }

// startDaemon runs snitch on a state directory, watching cg. If the test ends
// before stop, the daemon is killed; if it fails, the daemon's words are shown.
func startDaemon(tb testing.TB, snitch, state string, cg *bpftest.Cgroup, flags ...string) *daemon {
	tb.Helper()
	return startDaemonIn(tb, nil, snitch, state, cg, flags...)
}

// startDaemonIn does so in a network namespace, nil for the test's own.
func startDaemonIn(tb testing.TB, ns *bpftest.Namespace, snitch, state string, cg *bpftest.Cgroup, flags ...string) *daemon {
	tb.Helper()
	var inner *bpftest.Daemon
	start := func() (err error) {
		inner, err = bpftest.StartDaemon(snitch, state, patience(2*time.Minute), append([]string{"--cgroup", cg.Dir()}, flags...)...)
		return err
	}
	var err error
	if ns == nil {
		err = start()
	} else {
		err = ns.Do(start)
	}
	if err != nil {
		tb.Fatal(err)
	}
	d := &daemon{inner}
	tb.Cleanup(func() {
		if !d.Ended() {
			_ = d.Kill()
		}
		if said := d.Said(); tb.Failed() && said != "" {
			tb.Logf("the daemon said:\n%s", said)
		}
	})
	return d
}

// stop asks for an orderly end with exit code 0, which takes a second where
// nobody else wants the processors, and checks that nothing is left in the kernel.
func (d *daemon) stop(tb testing.TB, cg *bpftest.Cgroup) {
	tb.Helper()
	if _, err := d.Stop(patience(time.Minute)); err != nil {
		tb.Error(err)
	}
	d.checkGone(tb, cg)
}

// checkGone is for a daemon that has ended, in whatever way.
func (d *daemon) checkGone(tb testing.TB, cg *bpftest.Cgroup) {
	tb.Helper()
	if held := d.Held(); len(held.Programs) == 0 || len(held.Maps) == 0 {
		tb.Errorf("the running daemon held programs %v and maps %v: the leak check saw nothing", held.Programs, held.Maps)
	}
	if err := errors.Join(d.Held().Gone(patience(time.Minute)), cg.Unattached()); err != nil {
		tb.Errorf("after the daemon ended: %v", err)
	}
}

// record is what the suite reads of a line of `snitch log --json`; the names
// are the contract of docs/log.md.
type record struct {
	Time   time.Time `json:"time"`
	Action string    `json:"action"`
	Would  string    `json:"would"`
	Rule   string    `json:"rule"`
	PID    int       `json:"pid"`
	ancestor
	Parent      *ancestor `json:"parent"`
	Grandparent *ancestor `json:"grandparent"`
	UID         int       `json:"uid"`
	User        string    `json:"user"`
	Cgroup      string    `json:"cgroup"`
	Script      string    `json:"script"`
	ScriptSHA   string    `json:"script_sha256"`
	NetNS       uint64    `json:"netns"`
	Direction   string    `json:"direction"`
	Family      string    `json:"family"`
	Proto       string    `json:"proto"`
	LAddr       string    `json:"laddr"`
	LPort       uint16    `json:"lport"`
	RAddr       string    `json:"raddr"`
	RPort       uint16    `json:"rport"`
	Sent        uint64    `json:"sent"`
	Received    uint64    `json:"received"`
	Packets     uint64    `json:"packets"`
	Result      string    `json:"result"`
	Existing    bool      `json:"existing"`
}

type ancestor struct {
	Exe     string `json:"exe"`
	ExeView string `json:"exe_view"`
	ExeKind string `json:"exe_kind"`
	Name    string `json:"name"`
	Cmdline string `json:"cmdline"`
	SHA256  string `json:"sha256"`
	Reason  string `json:"sha256_reason"`
}

func (r *record) String() string {
	return fmt.Sprintf("%s %s %s %s:%d→%s:%d sent %d received %d %s pid %d %q %s", r.Direction, r.Proto, r.Family,
		r.LAddr, r.LPort, r.RAddr, r.RPort, r.Sent, r.Received, r.Result, r.PID, r.Exe, r.Cgroup)
}

// log reads the whole record.
func (d *daemon) log() ([]record, error) {
	out, err := d.Command("log", "--json")
	if err != nil {
		return nil, err
	}
	var all []record
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var r record
		if err := dec.Decode(&r); errors.Is(err, io.EOF) {
			return all, nil
		} else if err != nil {
			return all, fmt.Errorf("decode log: %w", err)
		}
		all = append(all, r)
	}
}
