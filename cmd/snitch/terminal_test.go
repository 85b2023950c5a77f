package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"snitch/bpf/bpftest"
	"snitch/monitor/event"
	"snitch/monitor/store/query"
	"snitch/monitor/store/schema"
)

// tmux is a real terminal, driven by keys.
type tmux struct {
	t      *testing.T
	socket string
}

// onTerminal runs snitch in a terminal of its own until the test ends.
func onTerminal(t *testing.T, width, height int, env []string, args ...string) *tmux {
	t.Helper()
	if _, err := exec.LookPath("tmux"); err != nil {
		t.Skip("missing feature: tmux is not installed (tools/setup.sh test)")
	}
	dir := t.TempDir()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	snitch := filepath.Join(dir, "snitch") // the name makes the test binary snitch
	if err := os.Symlink(exe, snitch); err != nil {
		t.Fatal(err)
	}
	m := &tmux{t: t, socket: filepath.Join(dir, "tmux")}
	words := append([]string{"env", "TERM=xterm-256color", "TZ=UTC"}, env...)
	words = append(append(words, snitch), args...)
	for i, w := range words {
		words[i] = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
	}
	command := strings.Join(words, " ") + "; echo ended with $?; exec sleep 600"
	m.run("-f", "/dev/null", "new-session", "-d", "-x", fmt.Sprint(width), "-y", fmt.Sprint(height), command)
	t.Cleanup(func() { _ = exec.Command("tmux", "-S", m.socket, "kill-server").Run() })
	return m
}

func (m *tmux) run(args ...string) string {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "tmux", append([]string{"-u", "-S", m.socket}, args...)...)
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
	out, err := cmd.CombinedOutput()
	if err != nil {
		m.t.Fatalf("tmux %v: %v\n%s", args, err, out)
	}
	return string(out)
}

func (m *tmux) press(keys ...string) {
	m.t.Helper()
	for _, k := range keys {
		m.run("send-keys", k)
	}
}

func (m *tmux) pane() string { m.t.Helper(); return m.run("capture-pane", "-p") }

// see waits for words on the screen, and returns all that is there.
func (m *tmux) see(words ...string) string {
	m.t.Helper()
	var pane string
	for deadline := time.Now().Add(40 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		pane = m.pane()
		all := true
		for _, w := range words {
			all = all && strings.Contains(pane, w)
		}
		if all {
			return pane
		}
	}
	m.t.Fatalf("not within 40 s: %q; the terminal shows\n%s", words, pane)
	return ""
}

// quit ends it as a person does.
func (m *tmux) quit() {
	m.t.Helper()
	m.press("q")
	m.see("ended with 0")
}

// talkIn moves bytes over loopback in a cgroup, by the test binary or a copy of
// it: the machine is not these tests' alone.
func talkIn(t *testing.T, group *bpftest.Cgroup, exe, sent, received string) {
	t.Helper()
	cmd := exec.Command(exe, sent, received)
	cmd.Args[0] = "talk"
	cmd.Env = append(os.Environ(), groupVariable+"="+group.Dir(), lingerVariable+"=200ms")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("talk: %v\n%s", err, out)
	}
}

// traffic goes on until it is stopped.
func traffic(t *testing.T, group *bpftest.Cgroup) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for ctx.Err() == nil {
			talkIn(t, group, "/proc/self/exe", "300000", "100000")
		}
	}()
	return func() { cancel(); <-ended }
}

func ownGroup(t *testing.T) *bpftest.Cgroup {
	t.Helper()
	group, err := bpftest.OpenCgroup()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = group.Close() })
	return group
}

// TestTopOnTerminal: `snitch top` on a terminal, with a real daemon.
func TestTopOnTerminal(t *testing.T) {
	m := onTerminal(t, 120, 30, nil, "top", "--state", filepath.Join(t.TempDir(), "none"))
	m.see("no daemon runs here")
	m.quit()

	group := ownGroup(t)
	d := startDaemon(t, nil, "--cgroup", group.Dir())
	stop := traffic(t, group)
	defer stop()
	m = onTerminal(t, 120, 30, nil, "top", "--state", d.state)
	m.see("● live", "kB ", "RATE▾")
	m.press("Right")
	m.see("▸connections", "localhost:")
	m.press("f")
	m.run("send-keys", "-l", "direction=in")
	m.press("Enter")
	m.see("› direction=in", "← ")
	m.press("Enter")
	m.see("sha256", "parent")
	m.press("Escape")
	m.see("RATE▾")
	m.press("p")
	m.see("paused")
	m.press("?")
	m.see("take the last filter off")
	m.press("x")
	m.run("resize-window", "-x", "40", "-y", "10")
	m.see("connections", "PROGRAM")
	m.press("BSpace", "s")
	m.run("resize-window", "-x", "12", "-y", "3")
	m.see("too small")
	m.run("resize-window", "-x", "100", "-y", "20")
	m.see("by sent")
	m.quit()
	d.signal(t, syscall.SIGTERM)
	d.end(t)
}

// colour is any but those of the terminal itself.
var colour = regexp.MustCompile(`\x1b\[(?:[0-9;]*;)?[34][0-8]`)

// TestTUIOnTerminal: `snitch tui` on a terminal, with a real daemon, a program
// in a directory of a hostile name, and an alert that a person acknowledges.
func TestTUIOnTerminal(t *testing.T) {
	group := ownGroup(t)
	d := startDaemon(t, nil, "--cgroup", group.Dir())
	evil := filepath.Join(t.TempDir(), "\x1b[2J\x1b[31mevil\u202e写真")
	if err := os.Mkdir(evil, 0o755); err != nil {
		t.Fatal(err)
	}
	exe, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(evil, "talk"), exe, 0o755); err != nil {
		t.Fatal(err)
	}
	talkIn(t, group, filepath.Join(evil, "talk"), "70000", "9000")
	eventually(t, "the alert is recorded", func() bool { return len(newPrograms(t, d.state, event.AlertNew)) > 0 })
	m := onTerminal(t, 130, 32, []string{"NO_COLOR=yes"}, "tui", "--state", d.state)
	m.see("programs", `\x1b[2J\x1b[31mevil\u202e写真`, "talk", "kB")
	if raw := m.run("capture-pane", "-p", "-e"); colour.MatchString(raw) {
		t.Errorf("colours in spite of NO_COLOR, or from a name: %q", raw)
	}
	m.press("/")
	m.run("send-keys", "-l", "evil")
	m.press("Enter", "Enter")
	m.see("domains › exe=", "localhost")
	m.press("c")
	m.see("▸connections", "talk", "localhost:")
	m.press("BSpace")
	m.see("▸history", "programs")
	m.press("3")
	m.see("alerts › new", "new-program")
	m.press("/")
	m.run("send-keys", "-l", "new-program")
	m.press("Enter", "Enter")
	m.see("rules said", "never used the network before", "Not confined")
	m.press("a")
	m.see("is seen")
	if len(newPrograms(t, d.state, event.AlertSeen)) == 0 {
		t.Error("the database does not know that the alert was seen")
	}
	m.press("4")
	m.see("rules in use", "everything-else", "never matched")
	m.press("5")
	m.see("▸live", "● live", "nothing talks yet")
	stop := traffic(t, group)
	defer stop()
	m.see("RATE▾", "▌", ".test")
	m.quit()
	d.signal(t, syscall.SIGTERM)
	d.end(t)
}

func newPrograms(t *testing.T, state string, in event.AlertState) []event.Alert {
	t.Helper()
	db, err := query.Open(t.Context(), filepath.Join(state, schema.FileName), nil)
	if err != nil {
		return nil // not there yet
	}
	defer db.Close()
	list, err := db.Alerts(t.Context(), query.AlertQuery{State: in, Rule: "new-program"})
	if err != nil {
		t.Fatal(err)
	}
	return list
}
