package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"snitch/bpf/bpftest"
)

// launch runs programs from a child: who holds programs must not fork, and the
// daemon's starts are others'.
func launch(t *testing.T, path string, e *enforcing, network, address string) syscall.Errno {
	t.Helper()
	p := startProbe(t, path, bpftest.Place{Cgroup: e.group})
	errno, _ := p.try(network, address)
	return errno
}

// TestNewProgramsUnderDefaultDeny: programs that nobody has ever seen work at
// once where rules allow them and fail at once where not, by TCP, which can wait
// for a decision, and by UDP, which cannot.
func TestNewProgramsUnderDefaultDeny(t *testing.T) {
	e := newEnforcing(t, confineAll)
	mount := t.TempDir()
	if err := unix.Mount("snitch-test", mount, "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(mount, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	good, bad := filepath.Join(mount, "good"), filepath.Join(mount, "bad")
	for _, dir := range []string{good, bad} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	writeFile(t, filepath.Join(e.rules, "b.yaml"), fmt.Sprintf("version: 1\nrules:\n  - id: good\n    action: allow\n    process: {exe: %s/*}\n    to: {host: 127.0.0.0/8}\n  - id: scripts\n    action: allow\n    process: {script: %s/*}\n    to: {host: 127.0.0.0/8}\n", good, good))
	config := filepath.Join(t.TempDir(), "config.yaml")
	writeFile(t, config, fmt.Sprintf("version: 1\nenforce: {hold: {then: deny, programs: %s}}\n", mount))
	d := e.run("--mode", "enforce", "--config", config)

	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	programs := 5
	for i := range programs {
		for dir, want := range map[string]syscall.Errno{good: 0, bad: syscall.EPERM} {
			path := filepath.Join(dir, fmt.Sprint(i))
			if err := os.WriteFile(path, self, 0o755); err != nil {
				t.Fatal(err)
			}
			for _, network := range []string{"udp", "tcp"} {
				if errno := launch(t, path, e, network, e.open.address()); errno != want {
					t.Errorf("%s %d, %s: %v, want %v", filepath.Base(dir), i, network, errno, want)
				}
			}
			if err := os.Remove(path); err != nil { // its memory
				t.Fatal(err)
			}
		}
	}

	// A script is allowed by its path, whatever interprets it.
	interpreter := filepath.Join(bad, "interpreter")
	if err := os.WriteFile(interpreter, self, 0o755); err != nil {
		t.Fatal(err)
	}
	for dir, want := range map[string]syscall.Errno{good: 0, bad: syscall.EPERM} {
		script := filepath.Join(dir, "script")
		if err := os.WriteFile(script, []byte("#!"+interpreter+" -test.run=^TestScriptedProbe$\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(script)
		cmd.Env = append(os.Environ(), scriptedVariable+"="+e.open.address(), "GODEBUG=multipathtcp=0")
		cmd.Stderr = t.Output()
		if err := bpftest.Start(cmd, bpftest.Place{Cgroup: e.group}); err != nil {
			t.Fatal(err)
		}
		err := cmd.Wait()
		if (err == nil) != (want == 0) {
			t.Errorf("script in %s: %v", filepath.Base(dir), err)
		}
	}
	e.snitch("enforce", "panic", "--state", d.state) // fail-closed outlives a stop
	d.signal(t, syscall.SIGTERM)
	d.end(t)
	e.unpinned()
}

// scriptedVariable is where a probe that is a script goes.
const scriptedVariable = "SCRIPTED_PROBE"

// TestScriptedProbe is the interpreter of a script: it fails when it does not
// reach its peer by UDP.
func TestScriptedProbe(t *testing.T) {
	address := os.Getenv(scriptedVariable)
	if address == "" {
		return
	}
	if err := reach("udp", address); err != nil {
		t.Fatal(err)
	}
}
