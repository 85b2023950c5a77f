//go:build vm

package lockout

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/google/nftables"

	"snitch/bpf/bpftest"
)

const (
	// patience is for what must come; an emulated machine is slow.
	patience = 3 * time.Minute
	// silence is how long what is denied is listened for. What is late by more
	// is told by the next look.
	silence = 3 * time.Second
	// beatTimeout is after how long without a daemon the fail mode holds.
	beatTimeout = 3 * time.Second
)

// host is the machine: who is outside of it, and what it runs.
type host struct {
	*testing.T
	*outside
	snitch, state, rules, config string
	flags                        []string
	daemon                       *bpftest.Daemon
	session                      *call // of the operator
}

// newHost has rules that deny everybody everything.
func newHost(t *testing.T, backend string) *host {
	t.Helper()
	dir := t.TempDir()
	h := &host{T: t, outside: newOutside(t), snitch: os.Getenv("SNITCH_BIN"), state: filepath.Join(dir, "state"), rules: filepath.Join(dir, "rules"), config: filepath.Join(dir, "config.yaml")}
	h.flags = []string{"--rules", h.rules, "--config", h.config, "--backend", backend}
	err := errors.Join(os.Mkdir(h.state, 0o755), os.Mkdir(h.rules, 0o755), os.WriteFile(filepath.Join(h.rules, "nothing.yaml"),
		[]byte("version: 1\nconfine:\n  - {id: all, process: any}\nrules:\n  - {id: nothing, action: deny, process: any}\n"), 0o600))
	if err != nil {
		t.Fatal(err)
	}
	startLogins(t)
	return h
}

// start runs the daemon, at the root of the cgroups.
func (h *host) start(fail string) {
	h.Helper()
	if err := os.WriteFile(h.config, fmt.Appendf(nil, "version: 1\nenforce:\n  fail: %s\n", fail), 0o600); err != nil {
		h.Fatal(err)
	}
	d, err := bpftest.StartDaemon(h.snitch, h.state, patience, h.flags...)
	if err != nil {
		h.Fatal(err)
	}
	h.daemon = d
	h.Cleanup(func() {
		if !d.Ended() {
			_ = d.Kill()
		}
		if h.Failed() {
			h.Logf("the daemon said:\n%s", d.Said())
		}
	})
}

// run runs a command of snitch on the machine itself, and must succeed.
func (h *host) run(args ...string) string {
	h.Helper()
	out, err := exec.Command(h.snitch, append(args, "--state", h.state)...).CombinedOutput()
	if err != nil {
		h.Fatalf("snitch %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// over runs a command of snitch in the operator's session.
func (h *host) over(args ...string) string {
	h.Helper()
	answer, ok := h.session.say(strings.Join(append(append([]string{h.snitch}, args...), "--state", h.state), " "), patience)
	if !ok {
		h.Fatalf("no answer to %q", args)
	}
	return answer
}

// leaves: a connection of the machine comes to be seen outside.
func (h *host) leaves() bool {
	before := h.begun()
	if c, err := net.DialTimeout("tcp4", netip.AddrPortFrom(site, 80).String(), silence); err == nil {
		c.Close()
	}
	return h.begun() > before
}

// enters: a host outside gets an answer.
func (h *host) enters(from netip.Addr) bool {
	c := h.call(from, loginPort, silence)
	if c == nil {
		return false
	}
	defer c.hangUp()
	answer, ok := c.say("echo hello", silence)
	return ok && answer == "echo hello"
}

// open waits until everything passes both ways, and returns how long it took.
func (h *host) open(when string) time.Duration {
	h.Helper()
	began := time.Now()
	for !h.leaves() || !h.enters(stranger) {
		if time.Since(began) > patience {
			h.Fatalf("%s: still shut after %s", when, patience)
		}
	}
	took := time.Since(began)
	h.Logf("%s: open after %s", when, took.Round(100*time.Millisecond))
	return took
}

// shut holds that nothing passes, but for the operator.
func (h *host) shut() error {
	var errs []error
	if h.leaves() {
		errs = append(errs, errors.New("a connection left"))
	}
	if h.enters(stranger) {
		errs = append(errs, errors.New("a stranger came in"))
	}
	return errors.Join(errs...)
}

// operates holds that the operator's session goes on, and that a new one can
// be begun.
func (h *host) operates() error {
	var errs []error
	if _, ok := h.session.say("echo still", patience/3); !ok {
		errs = append(errs, errors.New("the operator's session hangs"))
	}
	again := h.call(operator, loginPort, patience/3)
	if again == nil {
		return errors.Join(append(errs, errors.New("the operator cannot come again"))...)
	}
	defer again.hangUp()
	if _, ok := again.say("echo again", patience/3); !ok {
		errs = append(errs, errors.New("the operator's new session hangs"))
	}
	return errors.Join(errs...)
}

func (h *host) must(when string, checks ...func() error) {
	h.Helper()
	for _, check := range checks {
		if err := check(); err != nil {
			h.Errorf("%s: %v", when, err)
		}
	}
}

// turnOn has the operator turn enforcement on to stay, and looks that it holds.
func (h *host) turnOn() {
	h.Helper()
	h.over("enforce", "on", "--yes", "--force")
	h.must("enforced", h.shut, h.operates)
}

// nothingLeft waits until the kernel has nothing of snitch any more. Nobody
// else here uses any of it.
func (h *host) nothingLeft() {
	h.Helper()
	left := func() error {
		var errs []error
		if id, err := ebpf.ProgramGetNextID(0); err == nil {
			errs = append(errs, fmt.Errorf("program %d is loaded", id))
		}
		if pins, err := os.ReadDir("/sys/fs/bpf"); err != nil || len(pins) > 0 {
			errs = append(errs, fmt.Errorf("pins: %v, %w", pins, err))
		}
		conn, err := nftables.New()
		if err != nil {
			return err
		}
		if tables, err := conn.ListTables(); err != nil || len(tables) > 0 {
			errs = append(errs, fmt.Errorf("%d tables, %w", len(tables), err))
		}
		return errors.Join(errs...)
	}
	err := left()
	for deadline := time.Now().Add(patience); err != nil && time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		err = left()
	}
	if err != nil {
		h.Error(err)
	}
}

// TestLockout denies the machine everything, by each backend: everybody but the
// operator is locked out, and each way back works by itself or by one command.
func TestLockout(t *testing.T) {
	for _, backend := range []string{"cgroup", "nft"} {
		t.Run(backend, func(t *testing.T) {
			h := newHost(t, backend)
			h.open("before all")
			if h.session = h.call(operator, loginPort, patience); h.session == nil {
				t.Fatal("the operator cannot log in")
			}
			h.start("open")
			h.open("watched")
			h.rollBack()
			h.panicAlive()
			h.killedOpen()
			h.killedClosed()
			h.nothingLeft()
		})
	}
}

// rollBack: rules that lock out are refused; who insists, and does not confirm,
// gets the machine back.
func (h *host) rollBack() {
	h.Helper()
	if said := h.over("enforce", "on", "--yes", "--confirm", "10s"); !strings.HasPrefix(said, "exit status") || !strings.Contains(said, "--force") {
		h.Errorf("rules that lock out were taken: %s", said)
	}
	h.open("refused")
	for confirm := 10 * time.Second; ; confirm *= 2 {
		began := time.Now()
		said := h.over("enforce", "on", "--yes", "--force", "--confirm", confirm.String())
		err := errors.Join(h.shut(), h.operates())
		if err != nil && time.Since(began) >= confirm && confirm < patience {
			continue // it was rolled back while this looked
		}
		if err != nil {
			h.Errorf("enforced: %v\n%s", err, said)
		}
		break
	}
	h.open("not confirmed")
	if status := h.run("status"); strings.Contains(status, "ROLLED BACK in") {
		h.Errorf("it is still to be rolled back: %s", status)
	}
}

// panicAlive: one command opens everything while the daemon lives.
func (h *host) panicAlive() {
	h.Helper()
	h.turnOn()
	h.Log(h.run("enforce", "panic"))
	if err := h.shut(); err == nil {
		h.Error("panic: it is shut")
	}
	h.open("panic")
	h.run("enforce", "off") // it is over
}

// killedOpen: nothing is denied any more soon after the daemon's death, though
// its programs are there; the next daemon denies again; panic works without one.
func (h *host) killedOpen() {
	h.Helper()
	h.turnOn()
	if err := h.daemon.Kill(); err != nil {
		h.Fatal(err)
	}
	took := h.open("killed, fail-open")
	if took > patience/3 {
		h.Errorf("it took %s; the heartbeat is missed after %s", took, beatTimeout)
	}
	h.start("open")
	h.must("the next daemon", h.shut, h.operates)
	if err := h.daemon.Kill(); err != nil {
		h.Fatal(err)
	}
	h.Log(h.run("enforce", "panic"))
	h.open("panic without a daemon")
	h.nothingLeft()
}

// killedClosed: fail-closed, the machine stays shut without a daemon, but for
// the operator, until there is a panic; and a panic holds for the next daemon.
func (h *host) killedClosed() {
	h.Helper()
	h.start("closed")
	h.open("after a panic")
	h.turnOn()
	if err := h.daemon.Kill(); err != nil {
		h.Fatal(err)
	}
	h.must("just killed", h.shut)
	time.Sleep(beatTimeout + time.Second)
	h.must("killed, fail-closed", h.shut, h.operates)
	h.Log(h.run("enforce", "panic"))
	h.open("panic opens it")
	h.nothingLeft()
	h.start("closed")
	h.open("the panic holds")
	if _, err := h.daemon.Stop(patience); err != nil {
		h.Error(err)
	}
}
