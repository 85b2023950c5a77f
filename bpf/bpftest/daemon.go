package bpftest

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// Daemon is one running `snitch run`. Its methods are for one goroutine.
type Daemon struct {
	Snitch string // the binary
	State  string // its state directory
	cmd    *exec.Cmd
	held   *Held
	said   *lines
}

// lines is what the daemon says on standard error. Safe for concurrent use.
type lines struct {
	mu    sync.Mutex
	text  bytes.Buffer
	ready chan struct{} // closed with the line `ready`
	done  chan struct{} // closed at the end of the stream
}

func (l *lines) read(r io.Reader) {
	defer close(l.done)
	seen := false
	for s := bufio.NewScanner(r); s.Scan(); {
		l.mu.Lock()
		fmt.Fprintln(&l.text, s.Text())
		l.mu.Unlock()
		if s.Text() == "ready" && !seen {
			seen = true
			close(l.ready)
		}
	}
}

// StartDaemon runs snitch on a state directory and waits until it is ready, at
// most limit. The caller ends it by Stop or Kill.
func StartDaemon(snitch, state string, limit time.Duration, flags ...string) (*Daemon, error) {
	d := &Daemon{Snitch: snitch, State: state, cmd: exec.Command(snitch, append([]string{"run", "--state", state}, flags...)...),
		said: &lines{ready: make(chan struct{}), done: make(chan struct{})}}
	stderr, err := d.cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := d.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start daemon: %w", err)
	}
	go d.said.read(stderr)
	select {
	case <-d.said.ready:
	case <-d.said.done:
		return nil, fmt.Errorf("daemon ended before it was ready: %w\n%s", d.cmd.Wait(), d.Said())
	case <-time.After(limit):
		return nil, errors.Join(fmt.Errorf("daemon is not ready after %v\n%s", limit, d.Said()), d.Kill())
	}
	if d.held, err = HeldBy(d.PID()); err != nil {
		return nil, errors.Join(err, d.Kill())
	}
	return d, nil
}

// PID is the daemon's process.
func (d *Daemon) PID() int { return d.cmd.Process.Pid }

// Held is what the daemon held in the kernel when it was ready.
func (d *Daemon) Held() *Held { return d.held }

// Said is what the daemon wrote to standard error so far.
func (d *Daemon) Said() string {
	d.said.mu.Lock()
	defer d.said.mu.Unlock()
	return d.said.text.String()
}

// Ended says whether the daemon has been waited for.
func (d *Daemon) Ended() bool { return d.cmd.ProcessState != nil }

// Kill sends SIGKILL and joins the process.
func (d *Daemon) Kill() error {
	err := d.cmd.Process.Kill()
	<-d.said.done
	var exit *exec.ExitError
	if waitErr := d.cmd.Wait(); !errors.As(waitErr, &exit) {
		err = errors.Join(err, waitErr)
	}
	return err
}

// Stop asks for an orderly end and returns how long it took. An exit code
// other than 0 is an error. A daemon that is not gone after limit is made to
// print its stacks and ends so.
func (d *Daemon) Stop(limit time.Duration) (time.Duration, error) {
	begun := time.Now()
	if err := d.cmd.Process.Signal(syscall.SIGINT); err != nil {
		return 0, fmt.Errorf("signal daemon: %w", err)
	}
	timer := time.AfterFunc(limit, func() { _ = d.cmd.Process.Signal(syscall.SIGQUIT) })
	<-d.said.done
	err := d.cmd.Wait()
	timer.Stop()
	if err != nil {
		err = fmt.Errorf("daemon: %w\n%s", err, d.Said())
	}
	return time.Since(begun), err
}

// Command runs another snitch command on the daemon's state and returns its
// standard output.
func (d *Daemon) Command(name string, args ...string) ([]byte, error) {
	cmd := exec.Command(d.Snitch, append([]string{name, "--state", d.State}, args...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return out, fmt.Errorf("snitch %s: %w: %s", name, err, stderr.String())
	}
	return out, nil
}
