package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"snitch/bpf/bpftest"
	"snitch/cmd/internal/control"
	"snitch/monitor/notify/notifytest"
)

// somebody is a user id that nobody has.
const somebody = 61242

// TestAlertOnADesktop runs the daemon, with the rules that are shipped, beside
// a person's desktop: a new program makes one toast however often it connects,
// one whose file was changed makes another, and a click says why. Only the
// person's own processes speak on the person's bus.
func TestAlertOnADesktop(t *testing.T) {
	group := bpftest.NewCgroup(t)
	desktop := notifytest.New(t, somebody).LogIn()
	server := desktop.Serve(notifytest.Full()...)
	d := startDaemon(t, func(cmd *exec.Cmd) { desktop.Enter(cmd, 0) }, "--quiet", "--interval", "100ms", "--cgroup", group.Dir())
	program := filepath.Join(t.TempDir(), "visitor")
	self, err := os.ReadFile("/proc/self/exe")
	if err == nil {
		err = os.WriteFile(program, self, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}

	for range 2 {
		visit(t, group, program)
	}
	toast := server.Await(1)[0]
	if !strings.HasPrefix(toast.Title, "Alert: visitor → ") || !strings.HasSuffix(toast.Body, program+"\nRule new-program") {
		t.Errorf("a new program: %+v", toast)
	}

	exchanged := program + ".new"
	if err := os.WriteFile(exchanged, append(self, "changed"...), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(exchanged, program); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		visit(t, group, program)
	}
	toast = server.Await(2)[1]
	if !strings.HasPrefix(toast.Title, "Alert: visitor → ") || !strings.HasSuffix(toast.Body, program+"\nRule changed-program") || toast.Replaces != 0 {
		t.Errorf("a changed program: %+v", toast)
	}

	server.Tell(notifytest.Order{Invoke: "why", ID: toast.ID})
	why := server.Await(3)[2]
	for _, want := range []string{"alert by changed-program (audit.yaml:", "\nNot confined.\n", "\nThe smallest change that makes it allow by everything-else:\n", "\nMore: snitch alerts why "} {
		if why.Title != "Why? Rule changed-program wants you to know" || !strings.Contains(why.Body, want) {
			t.Errorf("why, without %q: %+v", want, why)
		}
	}
	for _, call := range server.Calls() {
		if call.From != somebody {
			t.Errorf("user %d spoke on the bus: %+v", call.From, call)
		}
	}
	helpersOf(t, d, somebody)
	if err := control.NewClient(d.state).Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the two ends of every connection are counted", func() bool { return d.status(t).Connections.Total >= 4*2*visits })
	eventually(t, "status tells of three notifications on one desktop", func() bool {
		got := d.status(t).Desktops
		return got == control.Desktops{Enabled: true, Desks: 1, Alerts: got.Alerts, Shown: 3}
	})
	if got := len(server.Calls()); got != 3 {
		t.Errorf("%d toasts, want one for each alert and the answer: %+v", got, server.Calls())
	}
	d.signal(t, syscall.SIGINT)
	d.end(t)
}

// visits are the connections of one visit.
const visits = 50

// visit runs a copy of this binary, which connects to itself many times.
func visit(t *testing.T, group *bpftest.Cgroup, program string) {
	t.Helper()
	cmd := exec.Command(program, strconv.Itoa(visits), "300ms")
	cmd.Args[0] = "dial"
	cmd.Env = append(os.Environ(), groupVariable+"="+group.Dir())
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// helpersOf fails unless the broker's children all run as one user, with
// nothing of root left.
func helpersOf(t *testing.T, d *daemonProcess, uid int) {
	t.Helper()
	broker := d.status(t).Broker.PID
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", broker, broker))
	if err != nil {
		t.Fatal(err)
	}
	pids := strings.Fields(string(children))
	if len(pids) == 0 {
		t.Error("the broker has no helper")
	}
	want := strings.TrimSpace(strings.Repeat(fmt.Sprintf("%d\t", uid), 4)) // real, effective, saved, file system
	for _, pid := range pids {
		status := "/proc/" + pid + "/status"
		for name, want := range map[string]string{"Uid": want, "Gid": want, "Groups": "", "CapPrm": "0000000000000000", "CapAmb": "0000000000000000", "NoNewPrivs": "1"} {
			if got := procField(t, status, name); got != want {
				t.Errorf("helper %s: %s is %q, want %q", pid, name, got, want)
			}
		}
	}
}
