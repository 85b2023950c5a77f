package evasion

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// kept is what a program holds until it ends.
var kept []any

// shareAttempts use sockets, places and processes of others, and many at once.
func shareAttempts() []attempt {
	return []attempt{
		{name: "passed", does: "a socket that a permitted program made, passed by `SCM_RIGHTS`", result: stopped, by: atConnect + ", " + atSendmsg + ": who uses it is judged",
			short: true, help: offerSockets(false), act: usePassed},
		{name: "taken", does: "a socket of a permitted program, taken by `pidfd_getfd`", result: stopped, by: atConnect + ", " + atSendmsg, help: offerSockets(false), act: useTaken},
		{name: "passed-connected", does: "a connection that a permitted program opened and passed on", result: limit,
			by: "the program that may connect gave its connection away; it is judged for that program until its rules forbid it", help: offerSockets(true), act: usePassed},
		{name: "forks", does: "children and their children, which connect and send at once", result: stopped, by: "class copied at fork; " + atConnect, act: forks},
		{name: "threads", does: "threads that share sockets and rewrite the address while the call runs", result: stopped, by: "the kernel's copy of the address is judged; " + atEgress, act: threads},
		{name: "cgroup-move", does: "move to a cgroup below, with sockets from before and after", result: stopped, by: "programs at the root of the hierarchy", act: moveCgroup},
		{name: "setns", does: "enter the peer's own network namespace (`setns`)", result: stopped, by: atConnect + ": cgroup programs see every namespace", act: enterNamespace},
	}
}

func takeDescriptor(pid, fd int) (int, error) {
	p, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return 0, fmt.Errorf("open process: %w", err)
	}
	defer unix.Close(p)
	got, err := unix.PidfdGetfd(p, fd, 0)
	if err != nil {
		return 0, fmt.Errorf("take descriptor: %w", err)
	}
	return got, nil
}

func shareSocket(p *place) string { return filepath.Join(p.Dir, "share") }

// offerSockets makes a TCP and a UDP socket, connected or not, and passes them
// to whoever asks; their numbers stand in a file.
func offerSockets(connected bool) func(*place) error {
	return func(p *place) error {
		var fds []int
		for _, kind := range []int{unix.SOCK_STREAM, unix.SOCK_DGRAM} {
			fd, err := unix.Socket(unix.AF_INET, kind|unix.SOCK_CLOEXEC, 0)
			if err == nil && connected {
				err = unix.Connect(fd, sockaddr(p.V4))
			}
			if err != nil {
				return err
			}
			fds = append(fds, fd)
		}
		text := fmt.Sprint(fds[0], " ", fds[1])
		if err := os.WriteFile(shareSocket(p)+".fds", []byte(text), 0o600); err != nil {
			return err
		}
		ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: shareSocket(p), Net: "unix"})
		if err != nil {
			return err
		}
		kept = append(kept, ln)
		go func() {
			c, err := ln.AcceptUnix()
			if err != nil {
				return
			}
			defer c.Close()
			_, _, _ = c.WriteMsgUnix([]byte("x"), unix.UnixRights(fds...), nil)
		}()
		return nil
	}
}

// usePassed takes what is offered and uses it.
func usePassed(p *place) error {
	fds, err := receive(shareSocket(p))
	if err != nil {
		return err
	}
	return useSockets(p, fds)
}

func receive(path string) ([]int, error) {
	c, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return receiveFrom(c)
}

func receiveFrom(c *net.UnixConn) ([]int, error) {
	control := make([]byte, 64)
	_, n, _, _, err := c.ReadMsgUnix(make([]byte, 1), control)
	if err != nil {
		return nil, err
	}
	messages, err := unix.ParseSocketControlMessage(control[:n])
	if err != nil || len(messages) == 0 {
		return nil, fmt.Errorf("nothing was passed: %w", err)
	}
	return unix.ParseUnixRights(&messages[0])
}

func useTaken(p *place) error {
	text, err := os.ReadFile(shareSocket(p) + ".fds")
	if err != nil {
		return err
	}
	var fds []int
	for _, word := range strings.Fields(string(text)) {
		fd, err := strconv.Atoi(word)
		if err == nil {
			fd, err = takeDescriptor(p.Pid, fd)
		}
		if err != nil {
			return err
		}
		fds = append(fds, fd)
	}
	return useSockets(p, fds)
}

// useSockets connects what is not connected, and sends.
func useSockets(p *place, fds []int) error {
	var ways []func() error
	for _, fd := range fds {
		defer unix.Close(fd)
		ways = append(ways, func() error {
			if _, err := unix.Getpeername(fd); err == nil {
				return write(fd)
			}
			return say(fd, p.V4)
		})
	}
	return each(ways...)
}

// forks makes children, and children of these, which try without an exec. What
// runs in them are bare system calls: a Go program cannot fork.
func forks(p *place) error {
	addr := rawAddress(unix.AF_INET, p.V4)
	tcp, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(tcp)
	udp, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(udp)
	var errs []error
	for range 20 {
		child, errno := forkAndTry(tcp, udp, &addr[0])
		if errno != 0 {
			return fmt.Errorf("fork: %w", errno)
		}
		var status unix.WaitStatus
		if _, err := unix.Wait4(int(child), &status, 0, nil); err != nil {
			return err
		}
		if code := status.ExitStatus(); code != 0 {
			errs = append(errs, fmt.Errorf("child: %w", unix.Errno(code)))
		}
	}
	return errors.Join(errs...)
}

// forkAndTry returns in the parent only. A child that was refused exits with the
// error number; each forks one more.
//
//go:norace
//go:nosplit
func forkAndTry(tcp, udp int, addr *byte) (uintptr, unix.Errno) {
	pid, _, errno := unix.RawSyscall6(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
	if errno != 0 || pid != 0 {
		return pid, errno
	}
	unix.RawSyscall6(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
	_, _, errno = unix.RawSyscall6(unix.SYS_SENDTO, uintptr(udp), uintptr(unsafe.Pointer(&payload[0])), payloadBytes, 0, uintptr(unsafe.Pointer(addr)), 16)
	if _, _, e := unix.RawSyscall(unix.SYS_CONNECT, uintptr(tcp), uintptr(unsafe.Pointer(addr)), 16); e == unix.EPERM {
		errno = e
	}
	unix.RawSyscall(unix.SYS_EXIT_GROUP, uintptr(errno), 0, 0)
	return 0, 0
}

// threads use one socket, and one address in memory, from several sides.
func threads(p *place) error {
	const rounds = 2000
	addr := rawAddress(unix.AF_INET, p.OpenV4)
	forbidden, open := rawAddress(unix.AF_INET, p.V4), rawAddress(unix.AF_INET, p.OpenV4)
	var stop = make(chan struct{})
	var running sync.WaitGroup
	for _, value := range [][]byte{forbidden, open} {
		running.Go(func() {
			runtime.LockOSThread()
			for {
				select {
				case <-stop:
					return
				default:
					copy(addr, value) // a race, and meant as one
				}
			}
		})
	}
	refused := error(nil)
	err := datagram(p.V4, func(fd int) error {
		for range rounds {
			if err := sendtoRaw(fd, addr); err != nil {
				refused = err
			}
			if err := connectRaw(fd, addr); err != nil {
				refused = err
			} else {
				_, _ = unix.Write(fd, payload)
			}
		}
		return nil
	})
	close(stop)
	running.Wait()
	return errors.Join(err, refused)
}

// moveCgroup makes a cgroup below its own and goes there.
func moveCgroup(p *place) error {
	own, err := ownCgroup()
	if err != nil {
		return err
	}
	below := filepath.Join(own, fmt.Sprintf("below-%d", time.Now().UnixNano()))
	if err := os.Mkdir(below, 0o755); err != nil {
		return err
	}
	move := func(to string) error {
		return os.WriteFile(filepath.Join(to, "cgroup.procs"), []byte(strconv.Itoa(os.Getpid())), 0)
	}
	return stream(p.V4, func(before int) error {
		if err := move(below); err != nil {
			return err
		}
		defer func() { _ = errors.Join(move(own), os.Remove(below)) }()
		return each(func() error { return say(before, p.V4) },
			func() error { return stream(p.V4, func(fd int) error { return say(fd, p.V4) }) },
			func() error { return datagram(p.V4, func(fd int) error { return sendto(fd, 0, p.V4) }) })
	})
}

// ownCgroup is the directory of this process's cgroup v2.
func ownCgroup() (string, error) {
	text, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return "", err
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return "", err
	}
	root := ""
	for line := range strings.Lines(string(mounts)) {
		if before, after, ok := strings.Cut(line, " - "); ok && strings.HasPrefix(after, "cgroup2 ") {
			root = strings.Fields(before)[4]
		}
	}
	for line := range strings.Lines(string(text)) {
		if path, ok := strings.CutPrefix(strings.TrimSpace(line), "0::"); ok {
			return filepath.Join(root, path), nil
		}
	}
	return "", errors.New("no cgroup v2")
}

func enterNamespace(p *place) error {
	fd, err := unix.Open(p.Server, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	own, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(own)
	if err := unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
		return err
	}
	defer func() { _ = unix.Setns(own, unix.CLONE_NEWNET) }()
	return both(p, func(to, _ netip.AddrPort) error {
		return each(func() error { return stream(to, func(fd int) error { return say(fd, to) }) },
			func() error { return datagram(to, func(fd int) error { return sendto(fd, 0, to) }) })
	})
}
