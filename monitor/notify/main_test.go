package notify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
	"golang.org/x/sys/unix"
)

// person is a user id that nobody has.
const person = 61241

// TestMain makes the test binary a helper or a notification server when it is
// started as one: both run as an unprivileged user on a real message bus.
func TestMain(m *testing.M) {
	if len(os.Args) < 2 {
		os.Exit(m.Run())
	}
	var err error
	switch os.Args[1] {
	case "notify-helper":
		err = Helper(context.Background(), os.Stdin, os.Stdout)
	case "notify-bus":
		err = busProcess(os.Args[2])
	case "notify-server":
		err = serverProcess(os.Args[2:])
	default:
		os.Exit(m.Run())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, os.Args[1]+":", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// notified is one call of Notify, as the server got it.
type notified struct {
	ID       uint32
	Replaces uint32
	Icon     string
	Title    string
	Body     string
	Actions  []string
	Urgency  uint8
}

// order is what the test tells its server to do.
type order struct {
	Invoke string // an action of ID
	Close  uint32 // reason of closing ID
	ID     uint32
}

// notifications is the server's object.
type notifications struct {
	caps []string
	last uint32
}

func (n *notifications) GetCapabilities() ([]string, *dbus.Error) { return n.caps, nil }

func (n *notifications) Notify(_ string, replaces uint32, icon, title, body string, actions []string, hints map[string]dbus.Variant, _ int32) (uint32, *dbus.Error) {
	id := replaces
	if id == 0 {
		n.last++
		id = n.last
	}
	urgency, _ := hints["urgency"].Value().(byte)
	line, err := json.Marshal(notified{id, replaces, icon, title, body, actions, urgency})
	if err != nil {
		return 0, dbus.MakeFailedError(err)
	}
	fmt.Println(string(line))
	return id, nil
}

// serverProcess is a notification server with the capabilities in args. Its
// first number is its process number: servers do not continue one another's.
func serverProcess(caps []string) error {
	conn, err := dbus.Connect("unix:path="+filepath.Join(busDir(RuntimeDirs, uint32(os.Getuid())), "bus"), dbus.WithSignalHandler(dbus.NewSequentialSignalHandler()))
	if err != nil {
		return err
	}
	n := &notifications{caps: caps, last: uint32(os.Getpid())}
	if err := conn.Export(n, object, service); err != nil {
		return err
	}
	if reply, err := conn.RequestName(service, dbus.NameFlagDoNotQueue); err != nil || reply != dbus.RequestNameReplyPrimaryOwner {
		return fmt.Errorf("request name: %v, %w", reply, err)
	}
	fmt.Println(`{"Title":"serving"}`)
	dec := json.NewDecoder(os.Stdin)
	for {
		var o order
		if err := dec.Decode(&o); err != nil {
			return nil
		}
		if o.Invoke != "" {
			err = conn.Emit(object, service+".ActionInvoked", o.ID, o.Invoke)
		} else {
			err = conn.Emit(object, service+".NotificationClosed", o.ID, o.Close)
		}
		if err != nil {
			return err
		}
	}
}

// busProcess becomes dbus-daemon as the person. The daemon wants its user to be
// in the user database, so it gets one of its own, in its own mount namespace.
func busProcess(config string) error {
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("unshare: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	users := config + ".passwd"
	if err := os.WriteFile(users, fmt.Appendf(nil, "root:x:0:0::/:/bin/false\nsomebody:x:%d:%d::/:/bin/false\n", person, person), 0o644); err != nil {
		return err
	}
	if err := unix.Mount(users, "/etc/passwd", "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("mount users: %w", err)
	}
	daemon, err := exec.LookPath("dbus-daemon")
	if err != nil {
		return err
	}
	if err := errors.Join(syscall.Setgroups(nil), syscall.Setgid(person), syscall.Setuid(person)); err != nil {
		return err
	}
	return syscall.Exec(daemon, []string{daemon, "--config-file=" + config, "--nofork", "--nopidfile", "--nosyslog"}, []string{})
}

// asPerson makes cmd run as the person and end with the test.
func asPerson(t *testing.T, cmd *exec.Cmd) *exec.Cmd {
	t.Helper()
	if os.Getuid() != 0 {
		t.Fatal("these tests run as root: they become somebody else")
	}
	cmd.Dir = "/"
	cmd.Stderr = os.Stderr
	cmd.Env = []string{}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: person, Gid: person}, Pdeathsig: syscall.SIGKILL}
	return cmd
}

// eventually waits for a condition that another process brings about.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(15 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if done() {
			return
		}
	}
	t.Fatalf("not within 15 s: %s", what)
}
