package scenario

import (
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"snitch/bpf/bpftest"
)

// TestKill ends the daemon by SIGKILL at random moments while traffic runs.
// After each time nothing of it is left in the kernel, none of its processes
// lives, the log can be read, and the next daemon starts on the same state.
func TestKill(t *testing.T) {
	times := max(3, few(10))
	bin := build(t, t.TempDir())
	l := newLab(t, bin.traffic)
	cg, err := l.cgroup.Child("kill")
	if err != nil {
		t.Fatal(err)
	}
	stop := background(t, l, cg)
	defer stop()
	state := filepath.Join(l.dir, "state")
	var rows int
	for i := range times {
		d := startDaemon(t, bin.snitch, state, l.cgroup)
		family := descendants(t, d.PID())
		time.Sleep(patience(time.Duration(rand.IntN(2500)) * time.Millisecond))
		if err := d.Kill(); err != nil {
			t.Fatal(err)
		}
		d.checkGone(t, l.cgroup)
		for _, pid := range family {
			if !endsSoon(pid) {
				t.Errorf("run %d: process %d of the daemon outlives it", i, pid)
			}
		}
		all, err := d.log()
		if err != nil {
			t.Fatalf("run %d: read log after kill -9: %v", i, err)
		}
		if len(all) < rows {
			t.Errorf("run %d: the log has %d rows, it had %d", i, len(all), rows)
		}
		for k := range all {
			if r := &all[k]; r.Exe == "" || r.Proto == "" || r.Direction == "" || r.PID == 0 {
				t.Errorf("run %d: half a row: %v", i, r)
				break
			}
		}
		rows = len(all)
	}
	d := startDaemon(t, bin.snitch, state, l.cgroup)
	d.stop(t, l.cgroup)
	if all, err := d.log(); err != nil || len(all) <= rows && rows == 0 {
		t.Errorf("after the last, orderly run: %d rows, %v", len(all), err)
	}
}

// background keeps making connections until it is stopped.
func background(t *testing.T, l *lab, cg *bpftest.Cgroup) (stop func()) {
	t.Helper()
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	p, err := startPeer(exec.Command(l.traffic, "serve", "-ready", "3", "-on", "tcp "+tcp4), bpftest.Place{Net: l.pair.Server, Cgroup: cg}, null)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(l.traffic, "many", "-count", strconv.Itoa(1<<24), "-workers", "2", "-pause", "2ms", "-n", "100", "-reply", "100", "-to", tcp4)
	if err := bpftest.Start(cmd, bpftest.Place{Net: l.pair.Client, Cgroup: cg}); err != nil {
		t.Fatal(err)
	}
	return func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = p.cmd.Process.Kill() // its connections may hang: nobody asks for its books
		_ = p.stop()
		_ = null.Close()
	}
}

// descendants are the processes below pid.
func descendants(t *testing.T, pid int) []int {
	t.Helper()
	pids, err := bpftest.Descendants(pid)
	if err != nil {
		t.Fatal(err)
	}
	return pids
}

func endsSoon(pid int) bool {
	for deadline := time.Now().Add(patience(3 * time.Second)); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if err := unix.Kill(pid, 0); err == unix.ESRCH {
			return true
		}
	}
	return false
}
