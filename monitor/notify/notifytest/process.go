package notifytest

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"
)

// self is this test binary, whatever was mounted since.
const self = "/proc/self/exe"

// Words under which the test binary is a process of the desktop.
const (
	wordMachine = "notifytest-machine"
	wordEnter   = "notifytest-enter"
	wordServer  = "notifytest-server"
)

// Commands are what the test binary must do when it is started under the name
// of one of them.
func Commands() map[string]func() {
	commands := map[string]func(){}
	for word, work := range map[string]func(args []string) error{wordMachine: machine, wordEnter: enter, wordServer: serve} {
		commands[word] = func() {
			if err := work(os.Args[1:]); err != nil {
				fmt.Fprintf(os.Stderr, "%s: %v\n", word, err)
				os.Exit(1)
			}
			os.Exit(0)
		}
	}
	return commands
}

// machine holds the mounts of a desktop until its input ends: machine DIR UID.
// dbus-daemon wants its user to be in the user database, which is in DIR then.
func machine(args []string) error {
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("unshare: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := unix.Mount("run", "/run", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0755"); err != nil {
		return fmt.Errorf("mount /run: %w", err)
	}
	for _, dir := range []string{"/run/user", "/run/systemd/seats", "/run/systemd/sessions"} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	if err := os.WriteFile("/run/systemd/seats/seat0", nil, 0o644); err != nil {
		return err
	}
	users, err := os.ReadFile("/etc/passwd")
	if err != nil {
		return err
	}
	file := filepath.Join(args[0], "passwd")
	if err := os.WriteFile(file, fmt.Appendf(users, "\nsomebody:x:%s:%s::/:/bin/false\n", args[1], args[1]), 0o644); err != nil {
		return err
	}
	if err := unix.Mount(file, "/etc/passwd", "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("mount users: %w", err)
	}
	fmt.Println("ready")
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// enter becomes another program, on other mounts and as another user: enter
// NAMESPACE UID PATH ARGV….
func enter(args []string) error {
	runtime.LockOSThread()
	ns, err := unix.Open(args[0], unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open %s: %w", args[0], err)
	}
	uid, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return fmt.Errorf("unshare: %w", err)
	}
	if err := unix.Setns(ns, unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("enter %s: %w", args[0], err)
	}
	if uid != 0 {
		if err := errors.Join(unix.Setgroups(nil), unix.Setgid(uid), unix.Setuid(uid)); err != nil {
			return fmt.Errorf("become user %d: %w", uid, err)
		}
		// Becoming somebody else took the signal away.
		if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
			return fmt.Errorf("end with the test: %w", err)
		}
	}
	return unix.Exec(args[2], args[3:], os.Environ())
}
