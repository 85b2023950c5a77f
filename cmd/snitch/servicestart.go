package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"snitch/cmd/internal/config"
	"snitch/cmd/internal/text"
)

// StartOptions are the flags of `snitch start` and `snitch restart`.
type StartOptions struct {
	Config string
	State  string
	Quiet  bool

	given func(flag string) bool
}

func newStart(io stdio) *cobra.Command {
	var opts StartOptions
	cmd := &cobra.Command{
		Use:   "start",
		Short: "Start snitch in the background",
		Long: `Start snitch in the background and wait until every program is attached. Where systemd
has the service, systemd starts it; elsewhere the daemon goes on by itself and
writes what it has to say to snitch.log in the state directory.`,
		Example:           "  sudo snitch start\n  sudo snitch start --state /srv/snitch",
		Args:              noArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			opts.given = cmd.Flags().Changed
			return runStart(cmd.Context(), io, opts)
		},
	}
	startFlags(cmd, &opts)
	return cmd
}

func startFlags(cmd *cobra.Command, opts *StartOptions) {
	f := cmd.Flags()
	configFlag(cmd, &opts.Config)
	dirFlag(cmd, &opts.State, "state", config.DefaultState, "directory of everything that is written")
	f.BoolVarP(&opts.Quiet, "quiet", "q", false, "say nothing but errors")
}

// state is the directory that a run with these flags uses.
func (o *StartOptions) state() (string, error) {
	run := RunOptions{Config: o.Config, State: o.State, given: func(name string) bool { return name == "state" && o.given(name) }}
	cfg, err := run.settings()
	return cfg.State, err
}

// system reports whether these flags mean the daemon of the system, which the
// service manager knows.
func (o *StartOptions) system() bool { return !o.given("state") && o.Config == "" && hasUnit() }

// say is a word for a person.
func (o *StartOptions) say(io stdio, format string, args ...any) error {
	if o.Quiet {
		return nil
	}
	return write(io.out, text.Clean(fmt.Sprintf(format, args...))+"\n")
}

func runStart(ctx context.Context, io stdio, opts StartOptions) error {
	if err := needRoot("snitch start attaches programs to the kernel"); err != nil {
		return err
	}
	state, err := opts.state()
	if err != nil {
		return err
	}
	switch pid, err := holderOf(state); {
	case err != nil:
		return err
	case pid != 0:
		return opts.say(io, "it runs already (pid %d)", pid)
	case opts.system():
		return systemctl(ctx, io, "start")
	}
	pid, err := launchDaemon(ctx, &opts, state)
	if err != nil {
		return err
	}
	return opts.say(io, "started (pid %d)", pid)
}

const (
	logName   = "snitch.log" // of a daemon without a service manager
	logMost   = 16 << 20     // begun anew at the next start
	readyWith = "ready"
	readyIn   = time.Minute
	lookEvery = 50 * time.Millisecond
)

// launchDaemon starts a daemon of its own session and waits until it is ready.
func launchDaemon(ctx context.Context, opts *StartOptions, state string) (pid int, err error) {
	dir, err := openState(state) // made as the daemon would, for the log
	if err != nil {
		return 0, err
	}
	log, err := openLog(filepath.Join(dir.path, logName))
	if err = errors.Join(err, dir.Close()); err != nil {
		return 0, err
	}
	defer log.Close()
	from, err := log.Seek(0, io.SeekEnd)
	if err != nil {
		return 0, fmt.Errorf("find end of log: %w", err)
	}
	args := []string{"run", "--quiet"}
	for name, value := range map[string]string{"config": opts.Config, "state": opts.State} {
		if opts.given(name) {
			args = append(args, "--"+name, value)
		}
	}
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Args[0], cmd.Stdout, cmd.Stderr = os.Args[0], log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return 0, fmt.Errorf("start the daemon: %w", err)
	}
	return cmd.Process.Pid, awaitReady(ctx, cmd, log, from)
}

func openLog(name string) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_APPEND|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o640)
	if err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	info, err := f.Stat()
	switch {
	case err == nil && !info.Mode().IsRegular():
		err = fmt.Errorf("%s is no file", name)
	case err == nil && info.Size() > logMost:
		err = f.Truncate(0)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open log: %w", err), f.Close())
	}
	return f, nil
}

// awaitReady waits for the daemon's word, or its end, which it explains.
func awaitReady(ctx context.Context, cmd *exec.Cmd, log *os.File, from int64) error {
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	late := time.After(readyIn)
	for {
		said := make([]byte, 64<<10)
		n, err := log.ReadAt(said, from)
		if err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("read log: %w", err)
		}
		if bytes.Contains(append([]byte("\n"), said[:n]...), []byte("\n"+readyWith+"\n")) {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-late:
			return errorWithHint(fmt.Errorf("it is not ready after %s, and goes on trying (pid %d)", text.Duration(readyIn), cmd.Process.Pid), "look into "+log.Name())
		case <-look.C:
		case err := <-ended:
			return gone(err, log, from)
		}
	}
}

// gone says why the daemon ended, in its own words.
func gone(err error, log *os.File, from int64) error {
	said, _ := io.ReadAll(io.NewSectionReader(log, from, 16<<10)) // what cannot be read cannot be told
	reason := strings.TrimPrefix(strings.TrimSpace(string(said)), "snitch: ")
	code := exitNo
	var status *exec.ExitError
	if errors.As(err, &status) && status.ExitCode() > 0 {
		code = status.ExitCode()
	}
	if reason == "" {
		reason = fmt.Sprint(err)
	}
	reason, hint, _ := strings.Cut(reason, "\nhint: ")
	return &problem{err: fmt.Errorf("the daemon ended at once: %s", reason), hint: hint, code: code}
}
