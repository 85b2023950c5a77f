package broker

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// TestMain makes the test binary a broker, a helper or a sealed process when
// it is started as one: the tests run the real processes.
func TestMain(m *testing.M) {
	if len(os.Args) < 2 {
		os.Exit(m.Run())
	}
	var err error
	switch os.Args[1] {
	case "broker":
		err = Serve(os.Args[2:], []string{"helper"})
	case "helper":
		err = RunHelper(context.Background(), os.Args[2:], map[Kind]Work{ReverseDNS: talk, Notify: talk})
	case "sealed":
		err = sealedProcess(os.Stdout)
	case "core":
		err = coreProcess(os.Stdout)
	default:
		os.Exit(m.Run())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, os.Args[1]+":", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// talk is the work of the test's helper: one answer for each line.
func talk(_ context.Context, in io.Reader, out io.Writer) error {
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		var reply string
		switch lines.Text() {
		case "status":
			text, err := os.ReadFile("/proc/self/status")
			if err != nil {
				return err
			}
			reply = string(text)
		case "environment":
			reply = strings.Join(os.Environ(), "\n")
		case "limits":
			text, err := os.ReadFile("/proc/self/limits")
			if err != nil {
				return err
			}
			reply = string(text)
		case "files":
			entries, err := os.ReadDir("/proc/self/fd")
			if err != nil {
				return err
			}
			for _, e := range entries {
				target, _ := os.Readlink("/proc/self/fd/" + e.Name())
				reply += e.Name() + " " + target + "\n"
			}
		case "exec":
			_, err := syscall.ForkExec("/bin/true", []string{"true"}, nil) // exec.Command would open /dev/null first
			reply = fmt.Sprint(err)
		case "end":
			return nil
		default:
			if file, ok := strings.CutPrefix(lines.Text(), "read "); ok {
				_, err := os.ReadFile(file)
				reply = fmt.Sprint(err)
			}
		}
		if _, err := fmt.Fprintf(out, "%s\n.\n", reply); err != nil {
			return err
		}
	}
	return lines.Err()
}

// sealedProcess tries what a sealed core may not, and what it must.
func sealedProcess(out io.Writer) error {
	if err := exec.Command("/bin/true").Run(); err != nil {
		return fmt.Errorf("before the seal: %w", err)
	}
	if err := Seal(); err != nil {
		return err
	}
	fmt.Fprintln(out, "exec:", exec.Command("/bin/true").Run())
	_, err := syscall.ForkExec("/bin/true", []string{"true"}, nil)
	fmt.Fprintln(out, "fork:", err)
	fmt.Fprintln(out, "execve:", syscall.Exec("/bin/true", []string{"true"}, nil))
	for name, number := range map[string]uintptr{"clone3": unix.SYS_CLONE3, "clone": unix.SYS_CLONE} {
		_, _, errno := unix.RawSyscall6(number, 0, 0, 0, 0, 0, 0)
		fmt.Fprintf(out, "%s: %v\n", name, errno)
	}
	const threads = 20
	var all, go_ sync.WaitGroup
	go_.Add(1)
	errs := make(chan error, threads)
	for range threads {
		all.Add(1)
		go func() {
			runtime.LockOSThread() // forces a new thread each
			go_.Wait()
			errs <- exec.Command("/bin/true").Run()
			all.Done()
		}()
	}
	go_.Done()
	all.Wait()
	refused := 0
	for range threads {
		if <-errs != nil {
			refused++
		}
	}
	fmt.Fprintf(out, "threads refused: %d of %d\n", refused, threads)
	children, err := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/children", os.Getpid()))
	fmt.Fprintf(out, "children: %q %v\n", children, err)
	return nil
}

// coreProcess is a core that starts a broker and a helper, tells their numbers
// and waits to be killed.
func coreProcess(out io.Writer) error {
	c, err := Start(Config{Command: []string{"broker"}, User: User{65534, 65534}, Stderr: os.Stderr})
	if err != nil {
		return err
	}
	h, err := c.Start(context.Background(), ReverseDNS)
	if err != nil {
		return err
	}
	fmt.Fprintln(out, c.PID(), h.PID)
	select {}
}
