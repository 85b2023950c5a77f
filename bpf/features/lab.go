package features

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// runLimit bounds how long a script may take; it needs under a millisecond.
const runLimit = 2 * time.Second

// lab is the private place where probes run: a network namespace whose
// loopback is up, a cgroup, and a file system in nobody's tree of mounts that
// holds the scripts. It belongs to one locked thread while that is in it.
type lab struct {
	files  int    // directory descriptor of the private file system
	netns  int    // descriptor of the network namespace
	cgroup string // empty: there is no cgroup v2
}

// inLab calls f on a thread of its own that has a lab, and brings the thread
// back: the first thread of a process never ends, and who asks where the process
// is (/proc/PID/ns/net) is told where that one is. A thread that cannot go back
// runs nothing else.
func inLab(cgroup2 string, f func(*lab) error) error {
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		home, err := os.Open("/proc/thread-self/ns/net")
		if err != nil {
			runtime.UnlockOSThread()
			result <- fmt.Errorf("open own network namespace: %w", err)
			return
		}
		defer home.Close()
		l, err := newLab(cgroup2)
		if err == nil {
			err = errors.Join(f(l), l.close())
		}
		if back := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); back != nil {
			result <- errors.Join(err, fmt.Errorf("return to own network namespace: %w", back))
			return
		}
		runtime.UnlockOSThread()
		result <- err
	}()
	return <-result
}

func newLab(cgroup2 string) (_ *lab, err error) {
	l := &lab{files: -1, netns: -1}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.close())
		}
	}()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return nil, fmt.Errorf("make a network namespace: %w", err)
	}
	if l.netns, err = unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0); err != nil {
		return nil, fmt.Errorf("open the network namespace: %w", err)
	}
	if err := loopbackUp(); err != nil {
		return nil, err
	}
	if l.files, err = mountDetached("tmpfs"); err != nil {
		return nil, err
	}
	if cgroup2 != "" {
		name := fmt.Sprintf("snitch-probe-%d-%d", os.Getpid(), time.Now().UnixNano())
		dir := filepath.Join(cgroup2, name)
		if err := os.Mkdir(dir, 0o700); err != nil {
			return nil, fmt.Errorf("make a cgroup: %w", err)
		}
		l.cgroup = dir
	}
	return l, nil
}

func (l *lab) close() error {
	for _, fd := range []int{l.files, l.netns} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
	if l.cgroup == "" {
		return nil
	}
	var err error
	for range 50 { // a cgroup is busy until its last process is gone entirely
		if err = unix.Rmdir(l.cgroup); !errors.Is(err, unix.EBUSY) {
			break
		}
		time.Sleep(2 * time.Millisecond)
	}
	if err != nil {
		return fmt.Errorf("remove cgroup %s: %w", l.cgroup, err)
	}
	return nil
}

func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("make a socket: %w", err)
	}
	defer unix.Close(fd)
	request, err := unix.NewIfreq("lo")
	if err != nil {
		return fmt.Errorf("name the loopback: %w", err)
	}
	request.SetUint16(unix.IFF_UP)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, request); err != nil {
		return fmt.Errorf("bring the loopback up: %w", err)
	}
	return nil
}

// install writes a script to the private file system and returns it open for
// reading only, as exec demands.
func (l *lab) install(name string, s script) (*os.File, error) {
	fd, err := unix.Openat(l.files, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC, 0o700)
	if err != nil {
		return nil, fmt.Errorf("create script %s: %w", name, err)
	}
	w := os.NewFile(uintptr(fd), name)
	_, err = w.Write(s.image())
	if err := errors.Join(err, w.Close()); err != nil {
		return nil, fmt.Errorf("write script %s: %w", name, err)
	}
	if fd, err = unix.Openat(l.files, name, unix.O_RDONLY|unix.O_CLOEXEC, 0); err != nil {
		return nil, fmt.Errorf("open script %s: %w", name, err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

// run starts an installed script in the lab and waits for its end.
func (l *lab) run(ctx context.Context, f *os.File, s script) error {
	attr := &os.ProcAttr{
		Dir:   "/",
		Env:   []string{},
		Files: []*os.File{f},
		Sys:   &syscall.SysProcAttr{},
	}
	if l.cgroup != "" {
		dir, err := os.Open(l.cgroup)
		if err != nil {
			return fmt.Errorf("open cgroup: %w", err)
		}
		defer dir.Close()
		attr.Sys.UseCgroupFD, attr.Sys.CgroupFD = true, int(dir.Fd())
	}
	path := "/proc/self/fd/" + strconv.Itoa(int(f.Fd()))
	p, err := os.StartProcess(path, []string{"snitch-probe"}, attr)
	if err != nil {
		return fmt.Errorf("start a process: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, runLimit)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = p.Kill() })
	defer stop()
	state, err := p.Wait()
	switch {
	case err != nil:
		return fmt.Errorf("wait for the probe's process: %w", err)
	case ctx.Err() != nil:
		return fmt.Errorf("the probe's process did not end: %w", ctx.Err())
	case !state.Success():
		return fmt.Errorf("%s did not work in the probe's process (%s)", s.failed(state.ExitCode()), state)
	}
	return nil
}

// runOnce installs a script and runs it.
func (l *lab) runOnce(ctx context.Context, name string, s script) error {
	f, err := l.install(name, s)
	if err != nil {
		return err
	}
	defer f.Close()
	return l.run(ctx, f, s)
}
