package netns_test

import (
	"errors"
	"os"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"snitch/bpf/bpftest"
	"snitch/enforce/netns"
)

func inode(t testing.TB, path string) uint64 {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		t.Fatal(err)
	}
	return st.Ino
}

// Whatever thread a Do got, the process stays where it is: other programs, and
// this one, ask its first thread.
func TestFirstThreadComesBack(t *testing.T) {
	ns := bpftest.NewNamespace(t)
	home := inode(t, "/proc/self/ns/net")
	var running sync.WaitGroup
	for range 8 {
		running.Go(func() {
			for range 200 {
				err := netns.Do(ns.Fd(), func() error {
					if got := inode(t, "/proc/thread-self/ns/net"); got != ns.Inode() {
						t.Errorf("in namespace %d, want %d", got, ns.Inode())
					}
					return nil
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	running.Wait()
	if now := inode(t, "/proc/self/ns/net"); now != home {
		t.Errorf("the process is in network namespace %d, was in %d", now, home)
	}
}

// A namespace is found by who is in it, also by one thread alone, and not
// invented when nobody is.
func TestFind(t *testing.T) {
	ns := bpftest.NewNamespace(t)
	if f, err := netns.Find(inode(t, "/proc/thread-self/ns/net")); f != nil || err != nil {
		t.Errorf("its own: got %v, %v, want nil", f, err)
	}
	if f, err := netns.Find(ns.Inode(), uint32(os.Getpid())); !errors.Is(err, netns.ErrNotFound) {
		t.Errorf("one without a thread: got %v, %v, want ErrNotFound", f, err)
	}
	err := ns.Do(func() error {
		found := make(chan error, 1)
		go func() { // on a thread that is not there
			f, err := netns.Find(ns.Inode())
			if err == nil {
				err = f.Close()
			}
			found <- err
		}()
		return <-found
	})
	if err != nil {
		t.Error(err)
	}
}
