package bpftest

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// Namespace is a network namespace kept alive by an open descriptor; no name
// of it exists in the file system, so a crash of the test leaves nothing.
// Safe for concurrent use until Close.
type Namespace struct {
	file  *os.File
	inode uint64
}

// NewNamespace makes an empty network namespace with lo up and closes it at
// the end of the test.
func NewNamespace(tb testing.TB) *Namespace {
	tb.Helper()
	ns, err := newNamespace()
	if err != nil {
		tb.Fatalf("make network namespace: %v", err)
	}
	tb.Cleanup(func() {
		if err := ns.Close(); err != nil {
			tb.Errorf("close network namespace: %v", err)
		}
	})
	return ns
}

func newNamespace() (*Namespace, error) {
	var ns *Namespace
	err := onThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("unshare network: %w", err)
		}
		var err error
		ns, err = openNamespace("/proc/thread-self/ns/net")
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := ns.up("lo"); err != nil {
		return nil, errors.Join(err, ns.Close())
	}
	return ns, nil
}

func openNamespace(path string) (*Namespace, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open network namespace: %w", err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return nil, errors.Join(fmt.Errorf("stat %s: %w", path, err), f.Close())
	}
	return &Namespace{file: f, inode: st.Ino}, nil
}

// HostNamespace is the network namespace that the test runs in.
func HostNamespace(tb testing.TB) *Namespace {
	tb.Helper()
	ns, err := openNamespace("/proc/self/ns/net")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = ns.Close() })
	return ns
}

// Inode is the namespace's number as lsns(8) and the log of snitch show it.
func (n *Namespace) Inode() uint64 { return n.inode }

// Fd is valid until Close.
func (n *Namespace) Fd() int { return int(n.file.Fd()) }

// Close lets the kernel take the namespace down once no process and no socket
// is left in it.
func (n *Namespace) Close() error { return n.file.Close() }

// Do runs f on a thread of its own inside the namespace. Descriptors that f
// makes stay in the namespace; goroutines that f starts do not.
func (n *Namespace) Do(f func() error) error {
	return onThread(func() error {
		if err := unix.Setns(n.Fd(), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter network namespace: %w", err)
		}
		return f()
	})
}

// Sysctl writes a value below /proc/sys/net as the namespace sees it.
func (n *Namespace) Sysctl(name, value string) error {
	return n.Do(func() error {
		if err := os.WriteFile("/proc/sys/net/"+name, []byte(value), 0); err != nil {
			return fmt.Errorf("set net.%s: %w", name, err)
		}
		return nil
	})
}

// onThread runs f on a locked thread and puts the thread back into its network
// namespace. A thread that cannot go back is not given back to the scheduler.
func onThread(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		home, err := os.Open("/proc/thread-self/ns/net")
		if err != nil {
			runtime.UnlockOSThread()
			done <- fmt.Errorf("open own network namespace: %w", err)
			return
		}
		defer home.Close()
		err = f()
		if back := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); back != nil {
			done <- errors.Join(err, fmt.Errorf("return to own network namespace: %w", back))
			return
		}
		runtime.UnlockOSThread()
		done <- err
	}()
	return <-done
}
