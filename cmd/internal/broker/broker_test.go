package broker

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func startBroker(t *testing.T) *Client {
	t.Helper()
	c, err := Start(Config{Command: []string{"broker"}, User: User{65534, 65534}, Stderr: os.Stderr})
	if err != nil {
		t.Fatalf("start broker (these tests run as root): %v", err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return c
}

func startHelper(t *testing.T, c *Client) *Helper {
	t.Helper()
	h, err := c.Start(t.Context(), ReverseDNS)
	if err != nil {
		t.Fatalf("start helper: %v", err)
	}
	t.Cleanup(func() { _ = h.Close() })
	return h
}

// ask says one line to the helper and returns its answer.
func ask(t *testing.T, h net.Conn, line string) string {
	t.Helper()
	if err := h.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprintln(h, line); err != nil {
		t.Fatalf("ask %s: %v", line, err)
	}
	var reply strings.Builder
	r := bufio.NewReader(h)
	for {
		got, err := r.ReadString('\n')
		if err != nil {
			t.Fatalf("answer to %s: %v", line, err)
		}
		if got == ".\n" {
			return reply.String()
		}
		reply.WriteString(got)
	}
}

// field returns a line of /proc/PID/status, its spaces joined.
func field(status, name string) string {
	for line := range strings.Lines(status) {
		if rest, ok := strings.CutPrefix(line, name+":"); ok {
			return strings.Join(strings.Fields(rest), " ")
		}
	}
	return "absent"
}

// eventually waits for a condition that another process brings about.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if done() {
			return
		}
	}
	t.Fatalf("not within 10 s: %s", what)
}

// gone reports whether a process ended; a zombie did.
func gone(pid int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	return err != nil || strings.HasPrefix(field(string(text), "State"), "Z")
}

func TestBrokerKeepsThreeCapabilities(t *testing.T) {
	c := startBroker(t)
	startHelper(t, c) // it serves: all its threads are there
	want := fmt.Sprintf("%016x", uint64(kept))
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", c.PID()))
	if err != nil || len(tasks) < 2 {
		t.Fatalf("threads of the broker: %v, %v", tasks, err)
	}
	for _, task := range tasks {
		text, err := os.ReadFile(task)
		if err != nil {
			t.Fatal(err)
		}
		for name, want := range map[string]string{"CapBnd": want, "CapEff": want, "CapPrm": want,
			"CapInh": "0000000000000000", "CapAmb": "0000000000000000", "NoNewPrivs": "1"} {
			if got := field(string(text), name); got != want {
				t.Errorf("%s: %s is %s, want %s", task, name, got, want)
			}
		}
	}
	environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", c.PID()))
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Split(strings.TrimRight(string(environ), "\x00"), "\x00"); !slices.Equal(got, environment) {
		t.Errorf("environment of the broker: %q", got)
	}
	if own, err := capabilities(); err != nil || own.effective&(1<<unix.CAP_SETPCAP) == 0 {
		t.Errorf("the core lost privileges to its broker: %#x, %v", own.effective, err)
	}
}

func TestHelperIsNobody(t *testing.T) {
	h := startHelper(t, startBroker(t))
	status := ask(t, h, "status")
	for name, want := range map[string]string{"Uid": "65534 65534 65534 65534", "Gid": "65534 65534 65534 65534", "Groups": "",
		"CapEff": "0000000000000000", "CapPrm": "0000000000000000", "CapInh": "0000000000000000", "CapAmb": "0000000000000000",
		"NoNewPrivs": "1", "Seccomp": "2", "Name": "snitch-reverse-"} {
		if got := field(status, name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if got := strings.TrimSpace(ask(t, h, "environment")); got != strings.Join(helperEnvironment, "\n") {
		t.Errorf("environment of the helper: %q", got)
	}
	limits := strings.Join(strings.Fields(ask(t, h, "limits")), " ")
	for _, want := range []string{"Max core file size 0 0", "Max file size 0 0", "Max open files 64 64", "Max data size 536870912 536870912"} {
		if !strings.Contains(limits, want) {
			t.Errorf("limits lack %q: %s", want, limits)
		}
	}
	if got := ask(t, h, "exec"); !strings.Contains(got, "operation not permitted") {
		t.Errorf("exec in the helper: %s", got)
	}
	for line := range strings.Lines(ask(t, h, "files")) {
		number, target, _ := strings.Cut(strings.TrimSpace(line), " ")
		if n, err := strconv.Atoi(number); err == nil && n > 2 && strings.HasPrefix(target, "socket:") {
			t.Errorf("helper holds descriptor %s, which is not its own: %s", number, target)
		}
	}
}

func TestHelperEnds(t *testing.T) {
	c := startBroker(t)
	for name, end := range map[string]func(h *Helper){
		"by itself":          func(h *Helper) { _, _ = fmt.Fprintln(h, "end") },
		"when closed":        func(h *Helper) { _ = h.Close() },
		"when it is stopped": func(h *Helper) { _ = unix.Kill(h.PID, unix.SIGSTOP); _ = h.Close() },
		"when it was killed": func(h *Helper) { _ = unix.Kill(h.PID, unix.SIGKILL) },
	} {
		t.Run(name, func(t *testing.T) {
			h := startHelper(t, c)
			end(h)
			select {
			case <-h.Exited():
			case <-time.After(10 * time.Second):
				t.Fatal("no end was told")
			}
			if !gone(h.PID) {
				t.Error("the process is still there")
			}
		})
	}
	if s := c.Status(); len(s.Helpers) != 0 || !s.Alive || s.Failed != 0 {
		t.Errorf("status afterwards: %+v", s)
	}
}

func TestBrokerRefuses(t *testing.T) {
	c := startBroker(t)
	if _, err := c.Start(t.Context(), "/bin/sh"); err == nil {
		t.Error("started a shell")
	}
	var helpers []*Helper
	for range maxHelpers {
		helpers = append(helpers, startHelper(t, c))
	}
	if _, err := c.Start(t.Context(), ReverseDNS); err == nil || !strings.Contains(err.Error(), "run already") {
		t.Errorf("helper number %d: %v", maxHelpers+1, err)
	}
	for _, h := range helpers {
		_ = h.Close()
		<-h.Exited()
	}
	var err error
	for range maxStarts {
		var h *Helper
		if h, err = c.Start(t.Context(), ReverseDNS); err != nil {
			break
		}
		_ = h.Close()
		<-h.Exited()
	}
	if err == nil || !strings.Contains(err.Error(), "too many") {
		t.Errorf("more than %d starts: %v", maxStarts, err)
	}
	if got := c.Status(); got.Failed != 2 || !got.Alive {
		t.Errorf("status: %+v", got)
	}
}

// TestNonsenseEndsBroker sends what a core never would.
func TestNonsenseEndsBroker(t *testing.T) {
	for name, send := range map[string]func(c *Client) error{
		"no json":       func(c *Client) error { _, err := c.conn.Write([]byte("run /bin/sh")); return err },
		"unknown field": func(c *Client) error { _, err := c.conn.Write([]byte(`{"op":"start","argv":["sh"]}`)); return err },
		"unknown op":    func(c *Client) error { _, err := c.conn.Write([]byte(`{"op":"exec"}`)); return err },
		"two messages":  func(c *Client) error { _, err := c.conn.Write([]byte(`{"op":"stop"}{"op":"stop"}`)); return err },
		"too long":      func(c *Client) error { _, err := c.conn.Write(make([]byte, 2*maxMessage)); return err },
		"two descriptors": func(c *Client) error {
			_, _, err := c.conn.WriteMsgUnix([]byte(`{"op":"start","id":1,"kind":"reverse-dns"}`), unix.UnixRights(0, 1), nil)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := Start(Config{Command: []string{"broker"}, User: User{65534, 65534}})
			if err != nil {
				t.Fatal(err)
			}
			if err := send(c); err != nil {
				t.Fatal(err)
			}
			select {
			case <-c.reaped:
			case <-time.After(10 * time.Second):
				t.Error("the broker went on")
			}
			if _, err := c.Start(t.Context(), ReverseDNS); err == nil {
				t.Error("a helper started without a broker")
			}
			if err := c.Session(ReverseDNS).Do(t.Context(), nil); !errors.Is(err, ErrGone) {
				t.Errorf("a session without a broker: %v", err)
			}
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestStartWithoutDescriptorFails(t *testing.T) {
	c := startBroker(t)
	r := &running{started: make(chan error, 1), exited: make(chan struct{})}
	c.mu.Lock()
	c.running[77] = r
	c.mu.Unlock()
	if err := c.send(request{Op: opStart, ID: 77, Kind: ReverseDNS}, nil); err != nil {
		t.Fatal(err)
	}
	if err := <-r.started; err == nil || !strings.Contains(err.Error(), "one descriptor") {
		t.Errorf("got %v", err)
	}
}

func TestSessionStartsAgain(t *testing.T) {
	c := startBroker(t)
	s := c.Session(ReverseDNS)
	defer s.Close()
	pid := func() (pid int, err error) {
		err = s.Do(t.Context(), func(h *Helper) error { pid = h.PID; return nil })
		return pid, err
	}
	first, err := pid()
	if err != nil {
		t.Fatal(err)
	}
	if again, err := pid(); again != first || err != nil {
		t.Errorf("second conversation with %d, %v; want %d", again, err, first)
	}
	errBad := errors.New("bad answer")
	if err := s.Do(t.Context(), func(*Helper) error { return errBad }); !errors.Is(err, errBad) {
		t.Errorf("error of use: %v", err)
	}
	eventually(t, "the failed helper ends", func() bool { return gone(first) })
	if _, err := pid(); !errors.Is(err, ErrResting) {
		t.Errorf("at once after a failure: %v", err)
	}
	var second int
	eventually(t, "another helper", func() bool { second, err = pid(); return err == nil })
	if second == first {
		t.Error("the same helper again")
	}
	if err := unix.Kill(second, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "its end is noticed", func() bool { _, err := pid(); return errors.Is(err, ErrResting) })
}

// TestKilledCoreLeavesNothing kills a core as the kernel's OOM killer would.
func TestKilledCoreLeavesNothing(t *testing.T) {
	core := exec.Command(self, "core")
	core.Stderr = os.Stderr
	out, err := core.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := core.Start(); err != nil {
		t.Fatal(err)
	}
	var broker, helper int
	if _, err := fmt.Fscan(out, &broker, &helper); err != nil {
		t.Fatal(err)
	}
	if gone(broker) || gone(helper) {
		t.Fatal("they do not run")
	}
	if err := core.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = core.Wait() // killed
	eventually(t, "broker and helper end", func() bool { return gone(broker) && gone(helper) })
}

// TestKilledBrokerLeavesNothing kills the broker: helpers must not outlive it.
func TestKilledBrokerLeavesNothing(t *testing.T) {
	c := startBroker(t)
	h := startHelper(t, c)
	if err := unix.Kill(h.PID, unix.SIGSTOP); err != nil { // cannot notice the end of its input
		t.Fatal(err)
	}
	if err := unix.Kill(c.PID(), unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "helper ends", func() bool { return gone(h.PID) })
	eventually(t, "the client knows", func() bool { return !c.Status().Alive })
	if _, err := c.Start(t.Context(), ReverseDNS); err == nil {
		t.Error("a helper started without a broker")
	}
}

func TestBrokerOutlivesTerminalSignals(t *testing.T) {
	c := startBroker(t)
	for _, s := range []unix.Signal{unix.SIGINT, unix.SIGTERM, unix.SIGHUP} {
		if err := unix.Kill(c.PID(), s); err != nil {
			t.Fatal(err)
		}
	}
	startHelper(t, c)
}

func TestRootIsRefused(t *testing.T) {
	for _, u := range []User{{0, 0}, {0, 65534}, {65534, 0}} {
		if _, err := Start(Config{Command: []string{"broker"}, User: u}); err == nil {
			t.Errorf("helpers as %+v were accepted", u)
		}
	}
	for _, args := range []string{"broker 65534 65534", "helper reverse-dns"} {
		out, err := exec.Command(self, strings.Fields(args)...).CombinedOutput()
		if err == nil || !strings.Contains(string(out), "privileges") && !strings.Contains(string(out), "never as root") {
			t.Errorf("%s as full root: %v %s", args, err, out)
		}
	}
}

func TestSeal(t *testing.T) {
	out, err := exec.Command(self, "sealed").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, want := range []string{"exec: fork/exec /bin/true: operation not permitted", "fork: operation not permitted",
		"execve: operation not permitted", "clone: operation not permitted", "clone3: function not implemented",
		"threads refused: 20 of 20", `children: ""`} {
		if !strings.Contains(string(out), want) {
			t.Errorf("lacks %q:\n%s", want, out)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"op":"start","id":1,"kind":"reverse-dns"}`))
	f.Add([]byte(`{"event":"exited","id":1,"status":"exit 0"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var req request
		if err := decode(b, &req); err != nil {
			return
		}
		again, err := encode(req)
		if err != nil {
			return
		}
		var back request
		if err := decode(again, &back); err != nil || back != req {
			t.Fatalf("%q: %+v came back as %+v, %v", b, req, back, err)
		}
	})
}
