package vm

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
)

// Machine is a kernel to boot with what it is to find. The zero value of every
// field but Kernel is fine. A Machine may run many times, also at once.
type Machine struct {
	Kernel  string            // a name that getkernels knows: 5.10, 6.1, 6.12, 7, 6.12-arm64
	Files   map[string]string // guest path (relative: below /work) to a file or directory of the host
	Dir     string            // where the command runs, relative to /work
	Env     []string          // NAME=value
	CPUs    int               // default 2
	Memory  int               // MiB, default 768
	Cmdline string            // more kernel parameters
	Output  io.Writer         // standard output and error of the command, as they come; default none
}

// Run boots the machine, runs argv in it as root and returns its exit status.
// An error means that the guest did not get that far; it quotes the guest's
// console. When ctx ends the guest is gone at once.
func (m Machine) Run(ctx context.Context, argv ...string) (status int, err error) {
	k, err := findKernel(m.Kernel)
	if err != nil {
		return 0, err
	}
	work, err := os.MkdirTemp("", "snitch-vm-")
	if err != nil {
		return 0, fmt.Errorf("make a directory for the run: %w", err)
	}
	defer os.RemoveAll(work)
	b := boardOf(k)
	initrd := filepath.Join(work, "initrd")
	if err := m.writeInitrd(initrd, k, b.ports, argv); err != nil {
		return 0, err
	}
	for range bootAttempts {
		cmd := exec.CommandContext(ctx, b.qemu, m.arguments(b, k, initrd)...)
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		if status, err = m.watch(ctx, cmd); !errors.Is(err, errNotBooted) {
			break
		}
	}
	return status, err
}

// An emulated kernel stops for good, once in some hundred boots, before it has
// begun anything: that says nothing about what it was to run.
const (
	bootAttempts = 3
	bootLimit    = 2 * time.Minute // it takes 3 to 6 seconds
)

var errNotBooted = errors.New("the guest did not boot")

// watch runs the emulator and reads what comes out of it: the console by its
// standard output, the command's output and status by two more serial ports.
func (m Machine) watch(ctx context.Context, cmd *exec.Cmd) (int, error) {
	console := &tail{max: 8 << 10}
	cmd.Stdout, cmd.Stderr = console, console
	output, outputEnd, err := os.Pipe()
	if err != nil {
		return 0, fmt.Errorf("make a pipe: %w", err)
	}
	defer output.Close()
	defer outputEnd.Close()
	status, statusEnd, err := os.Pipe()
	if err != nil {
		return 0, fmt.Errorf("make a pipe: %w", err)
	}
	defer status.Close()
	defer statusEnd.Close()
	cmd.ExtraFiles = []*os.File{outputEnd, statusEnd}
	if err := cmd.Start(); err != nil {
		return 0, fmt.Errorf("start the emulator: %w; run tools/setup.sh vm", err)
	}
	outputEnd.Close()
	statusEnd.Close()
	to := m.Output
	if to == nil {
		to = io.Discard
	}
	var readers errgroup.Group
	readers.Go(func() error { _, err := io.Copy(to, output); return err })
	code := -1
	var booted atomic.Bool
	late := time.AfterFunc(bootLimit, func() {
		if !booted.Load() {
			_ = cmd.Process.Kill()
		}
	})
	defer late.Stop()
	readers.Go(func() error {
		lines := bufio.NewScanner(status)
		for lines.Scan() {
			booted.Store(true)
			if text, ok := strings.CutPrefix(strings.TrimSpace(lines.Text()), "status="); ok {
				if n, err := strconv.Atoi(text); err == nil {
					code = n
				}
			}
		}
		return lines.Err()
	})
	readErr := readers.Wait() // ends with the emulator, which has the other ends
	waitErr := cmd.Wait()
	switch {
	case ctx.Err() != nil:
		return 0, fmt.Errorf("kernel %s was stopped: %w; its console ends:\n%s", m.Kernel, ctx.Err(), console)
	case !booted.Load():
		return 0, fmt.Errorf("kernel %s: %w; its console ends:\n%s", m.Kernel, errors.Join(errNotBooted, waitErr), console)
	case readErr != nil:
		return 0, fmt.Errorf("read from kernel %s: %w", m.Kernel, readErr)
	case code < 0:
		return 0, fmt.Errorf("kernel %s died (%w); its console ends:\n%s", m.Kernel, errors.Join(waitErr, io.ErrUnexpectedEOF), console)
	}
	return code, nil
}

func (m Machine) writeInitrd(name string, k kernel, ports string, argv []string) error {
	common, err := base(k)
	if err != nil {
		return err
	}
	f, err := os.Create(name)
	if err != nil {
		return fmt.Errorf("make an initramfs: %w", err)
	}
	defer f.Close()
	from, err := os.Open(common)
	if err != nil {
		return fmt.Errorf("read the common initramfs: %w", err)
	}
	defer from.Close()
	if _, err := io.Copy(f, from); err != nil {
		return fmt.Errorf("copy the common initramfs: %w", err)
	}
	w := bufio.NewWriterSize(f, 1<<20)
	if err := errors.Join(m.addRun(w, ports, argv), w.Flush()); err != nil {
		return fmt.Errorf("pack the initramfs: %w", err)
	}
	return nil
}

// tail keeps the end of what is written to it.
type tail struct {
	buf bytes.Buffer
	max int
}

func (t *tail) Write(p []byte) (int, error) {
	t.buf.Write(p)
	if over := t.buf.Len() - t.max; over > 0 {
		t.buf.Next(over)
	}
	return len(p), nil
}

func (t *tail) String() string { return t.buf.String() }
