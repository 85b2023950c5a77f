package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/spf13/cobra"

	"snitch/cmd/internal/control"
	"snitch/cmd/internal/text"
	"snitch/enforce"
)

// panicWithin is how long panic waits for a daemon that may hang.
const panicWithin = 5 * time.Second

// remover takes what a backend left in the kernel away, without a daemon and
// also while one holds it. Nothing being there is no error.
type remover struct {
	what   string
	remove func(ctx context.Context, state string) error
}

func newEnforcePanic(io stdio, removers ...remover) *cobra.Command {
	var opts EnforceOptions
	cmd := &cobra.Command{
		Use:   "panic",
		Short: "End all denying at once, with or without the daemon",
		Long: `End all denying at once: the daemon is asked, and whatever it answers, what snitch
put into the kernel is removed and nothing is denied again, not even by --mode or
the configuration, until 'snitch enforce on' or 'off'.

Without snitch at hand: 'touch ` + "`STATE/" + enforce.PanicName + "`" + `', in the state directory
(/var/lib/snitch), does the same to a daemon that lives, and to every later one. A
restart of the machine removes all that was in the kernel.`,
		Example: "  sudo snitch enforce panic",
		Args:    noArgs, ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error { return runEnforcePanic(cmd.Context(), io, opts, removers) },
	}
	opts.flags(cmd)
	return cmd
}

// panicked is what panic did.
type panicked struct {
	Daemon  string   `json:"daemon"` // "answered", "not running", or the error
	Removed []string `json:"removed"`
	Failed  []string `json:"failed"`
}

func runEnforcePanic(ctx context.Context, io stdio, opts EnforceOptions, removers []remover) error {
	// The mark comes first: whatever hangs from here on, it holds.
	if err := enforce.MarkPanic(opts.State); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return errorWithHint(err, "name the state directory of the daemon with --state")
		}
		return errorWithHint(err, "run it with sudo")
	}
	p := panicked{Daemon: askPanic(ctx, opts.State), Removed: []string{}, Failed: []string{}}
	for _, r := range removers {
		if err := r.remove(ctx, opts.State); err != nil {
			p.Failed = append(p.Failed, fmt.Sprintf("%s: %v", r.what, err))
			continue
		}
		p.Removed = append(p.Removed, r.what)
	}
	var err error
	if opts.JSON {
		err = printJSON(io.out, p)
	} else {
		err = write(io.out, p.String())
	}
	if err == nil && len(p.Failed) > 0 {
		err = errorWithHint(errors.New("something is still in the kernel"), "try again; a restart of the machine removes it for certain")
	}
	return err
}

// askPanic asks the daemon and waits no longer than a person in need would.
func askPanic(ctx context.Context, state string) string {
	ctx, cancel := context.WithTimeout(ctx, panicWithin)
	defer cancel()
	_, err := control.NewClient(state).Enforce(ctx, control.EnforceOrder{Do: control.EnforcePanic})
	switch {
	case err == nil:
		return "answered"
	case errors.Is(err, control.ErrNotRunning):
		return "not running"
	}
	return err.Error()
}

// String is for people.
func (p panicked) String() string {
	s := "daemon   " + text.Clean(p.Daemon) + "\n"
	for _, what := range p.Removed {
		s += "removed  " + what + "\n"
	}
	for _, what := range p.Failed {
		s += "FAILED   " + text.Clean(what) + "\n"
	}
	return s + "nothing is denied until 'snitch enforce on' or 'snitch enforce off'\n"
}
