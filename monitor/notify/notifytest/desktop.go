package notifytest

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Desktop is a machine with one seat, and the person who may sit down there.
type Desktop struct {
	UID uint32 // of the person, whom the user database of the desktop has
	// Run is the desktop's /run, seen from outside.
	Run string

	tb  testing.TB
	ns  string // of mounts
	bus *exec.Cmd
}

const busConfig = `<busconfig><type>session</type><listen>unix:path=%s/bus</listen><policy context="default">
<allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/></policy></busconfig>`

// New prepares the machine. Its seat is empty.
func New(tb testing.TB, uid uint32) *Desktop {
	tb.Helper()
	if os.Getuid() != 0 {
		tb.Fatal("these tests run as root: they become somebody else")
	}
	machine := command(wordMachine, tb.TempDir(), strconv.Itoa(int(uid)))
	in, err := machine.StdinPipe() // its end is the machine's
	if err != nil {
		tb.Fatal(err)
	}
	out, err := machine.StdoutPipe()
	if err == nil {
		err = machine.Start()
	}
	if err != nil {
		tb.Fatalf("start the machine: %v", err)
	}
	tb.Cleanup(func() { _ = in.Close(); _ = machine.Wait() })
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		tb.Fatalf("prepare mounts: %v", err)
	}
	proc := filepath.Join("/proc", strconv.Itoa(machine.Process.Pid))
	return &Desktop{UID: uid, Run: filepath.Join(proc, "root/run"), tb: tb, ns: filepath.Join(proc, "ns/mnt")}
}

// LogIn starts the message bus and has logind's files say that the person is
// there.
func (d *Desktop) LogIn() *Desktop {
	d.tb.Helper()
	user := strconv.Itoa(int(d.UID))
	dir, own := filepath.Join(d.Run, "user", user), filepath.Join("/run/user", user)
	daemon, err := exec.LookPath("dbus-daemon")
	if err != nil {
		d.tb.Fatalf("find dbus-daemon (package dbus): %v", err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		d.tb.Fatal(err)
	}
	if err := os.Chown(dir, int(d.UID), int(d.UID)); err != nil {
		d.tb.Fatal(err)
	}
	d.write("user/"+user+"/bus.conf", fmt.Sprintf(busConfig, own))
	d.bus = command(daemon, "--config-file="+own+"/bus.conf", "--nofork", "--nopidfile", "--nosyslog")
	d.Enter(d.bus, d.UID)
	if err := d.bus.Start(); err != nil {
		d.tb.Fatalf("start dbus-daemon: %v", err)
	}
	d.tb.Cleanup(d.EndBus)
	d.eventually("the bus listens", func() bool { return isSocket(filepath.Join(dir, "bus")) })
	d.write("systemd/sessions/c1", fmt.Sprintf("# private\nUID=%d\nUSER=somebody\nACTIVE=1\nSTATE=active\nREMOTE=0\nTYPE=wayland\nCLASS=user\nSEAT=seat0\n", d.UID))
	return d
}

// EndBus ends the message bus as a crash would: logind still has the session.
func (d *Desktop) EndBus() {
	if d.bus.ProcessState == nil {
		_ = d.bus.Process.Kill()
		_ = d.bus.Wait()
	}
}

// Enter changes cmd, which runs this test binary or an absolute path, so that
// it begins inside the desktop, as uid, and ends with the test.
func (d *Desktop) Enter(cmd *exec.Cmd, uid uint32) {
	cmd.Args = append([]string{wordEnter, d.ns, strconv.Itoa(int(uid)), cmd.Path}, cmd.Args...)
	cmd.Path = self
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
}

func (d *Desktop) write(file, text string) {
	d.tb.Helper()
	if err := os.WriteFile(filepath.Join(d.Run, file), []byte(text), 0o644); err != nil {
		d.tb.Fatal(err)
	}
}

// eventually waits for a condition that another process brings about.
func (d *Desktop) eventually(what string, done func() bool) {
	d.tb.Helper()
	const within = 15 * time.Second
	for deadline := time.Now().Add(within); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if done() {
			return
		}
	}
	d.tb.Fatalf("not within %s: %s", within, what)
}

func isSocket(path string) bool {
	var st unix.Stat_t
	return unix.Lstat(path, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFSOCK
}

// command runs this test binary under a word, or another program.
func command(word string, args ...string) *exec.Cmd {
	cmd := exec.Command(word, args...)
	if !filepath.IsAbs(word) {
		cmd = exec.Command(self, args...)
		cmd.Args[0] = word
	}
	cmd.Dir, cmd.Env, cmd.Stderr = "/", []string{}, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}
