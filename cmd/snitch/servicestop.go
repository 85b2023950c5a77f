package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

// StopOptions are the flags of `snitch stop`.
type StopOptions struct {
	StartOptions
	Release bool
}

func newStop(io stdio) *cobra.Command {
	var opts StopOptions
	cmd := &cobra.Command{
		Use:   "stop",
		Short: "Stop snitch",
		Long: `Stop snitch and wait for its end. Under fail-closed what it denies stays denied without
it; --release takes that out of the kernel as well, also when no daemon runs.`,
		Example:           "  sudo snitch stop\n  sudo snitch stop --release",
		Args:              noArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			opts.given = cmd.Flags().Changed
			return runStop(cmd.Context(), io, opts)
		},
	}
	startFlags(cmd, &opts.StartOptions)
	cmd.Flags().BoolVar(&opts.Release, "release", false, "leave nothing in the kernel that denies")
	return cmd
}

func newRestart(io stdio) *cobra.Command {
	var opts StartOptions
	cmd := &cobra.Command{
		Use:   "restart",
		Short: "Stop snitch and start it again, without a gap in what is denied",
		Long: `Stop snitch and start it again. What the rules deny stays denied in between: the new
daemon takes over from the old one. An upgrade is the new binary in place and this.`,
		Example:           "  sudo snitch restart",
		Args:              noArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			opts.given = cmd.Flags().Changed
			return runRestart(cmd.Context(), io, opts)
		},
	}
	startFlags(cmd, &opts)
	return cmd
}

func runStop(ctx context.Context, io stdio, opts StopOptions) error {
	if err := needRoot("the daemon is root's"); err != nil {
		return err
	}
	state, err := opts.state()
	if err != nil {
		return err
	}
	was, err := end(ctx, io, state, unix.SIGTERM)
	if err != nil {
		return err
	}
	if opts.Release {
		var errs []error
		for _, r := range removers() {
			if err := r.remove(ctx, state); err != nil {
				errs = append(errs, fmt.Errorf("remove %s: %w", r.what, err))
			}
		}
		if err := errors.Join(errs...); err != nil {
			return errorWithHint(err, "a restart of the machine removes it for certain")
		}
	}
	if !was {
		return opts.say(io, "it does not run")
	}
	return opts.say(io, "stopped")
}

func runRestart(ctx context.Context, io stdio, opts StartOptions) error {
	if err := needRoot("snitch restart attaches programs to the kernel"); err != nil {
		return err
	}
	state, err := opts.state()
	if err != nil {
		return err
	}
	if opts.system() {
		return systemctl(ctx, io, "restart")
	}
	if _, err := end(ctx, io, state, unix.SIGUSR2); err != nil {
		return err
	}
	return runStart(ctx, io, opts)
}

// endIn is how long a daemon may take to end; it gives itself less.
const endIn = 10 * time.Second

// end ends the daemon of a state directory by a signal, and waits. was says
// that there was one.
func end(ctx context.Context, io stdio, state string, signal unix.Signal) (was bool, err error) {
	pid, err := holderOf(state)
	if err != nil || pid == 0 {
		return false, err
	}
	if ofUnit(pid) { // the manager would take a signal for a failure, or start it again
		return true, systemctl(ctx, io, "stop")
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return true, nil
	}
	if err != nil {
		return true, fmt.Errorf("look at process %d: %w", pid, err)
	}
	process := os.NewFile(uintptr(fd), "pidfd")
	defer process.Close()
	if still, err := holderOf(state); err != nil || still != pid { // else the descriptor is of somebody with the same number
		return true, err
	}
	if err := unix.PidfdSendSignal(fd, signal, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return true, fmt.Errorf("signal process %d: %w", pid, err)
	}
	return true, awaitEnd(ctx, fd, pid)
}

func awaitEnd(ctx context.Context, fd, pid int) error {
	for deadline := time.Now().Add(endIn); time.Now().Before(deadline); {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 100)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("wait for process %d: %w", pid, err)
		}
		if n > 0 {
			return nil
		}
	}
	return errorWithHint(fmt.Errorf("process %d did not end within %s", pid, endIn), fmt.Sprintf("'kill -9 %d' ends it; what was not written yet is lost then", pid))
}

// holderOf is the process that holds the lock of a state directory; 0 for none.
func holderOf(state string) (int, error) {
	f, err := os.OpenFile(filepath.Join(state, lockFile), os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("look at lock: %w", err)
	}
	defer f.Close()
	err = unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB)
	if err == nil {
		return 0, nil // closing gives it back
	}
	if !errors.Is(err, unix.EWOULDBLOCK) {
		return 0, fmt.Errorf("look at lock: %w", err)
	}
	text, err := io.ReadAll(io.LimitReader(f, 32))
	if err != nil {
		return 0, fmt.Errorf("read lock: %w", err)
	}
	pid, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 32)
	if err != nil || pid <= 1 {
		return 0, errorWithHint(fmt.Errorf("%s is held by a process that does not say which", f.Name()), "try again in a moment")
	}
	return int(pid), nil
}
