package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"snitch/cmd/internal/config"
	"snitch/cmd/internal/control"
	"snitch/cmd/internal/text"
)

// FleetOptions are the flags of `snitch fleet` and its commands.
type FleetOptions struct {
	State  string
	JSON   bool
	Within string
}

func newFleet(io stdio) *cobra.Command {
	return commandGroup(&cobra.Command{
		Use:   "fleet",
		Short: "Say which published rules this host uses, or why not, and look for newer ones",
		Long: `With fleet.source in the configuration this host takes signed rules from a bundle
or a git remote. 'status' says which ones it uses, and why it differs from what is
published; 'sync' looks now.`,
		Example: "  snitch fleet status\n  sudo snitch fleet sync",
	}, newFleetStatus(io), newFleetSync(io))
}

func newFleetStatus(io stdio) *cobra.Command {
	var opts FleetOptions
	cmd := &cobra.Command{
		Use:               "status",
		Short:             "Say which published rules are used; exit code 1 if not those that are published",
		Example:           "  snitch fleet status\n  snitch fleet status --json | jq -r .revision",
		Args:              noArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(cmd *cobra.Command, _ []string) error { return runFleetStatus(cmd.Context(), io, opts) },
	}
	fleetFlags(cmd, &opts)
	return cmd
}

func newFleetSync(io stdio) *cobra.Command {
	var opts FleetOptions
	cmd := &cobra.Command{
		Use:   "sync",
		Short: "Look for published rules now, and try again what is held",
		Long: `Have the daemon look for published rules now, wait for it, and say what came of it
as 'status' does. A set that was held after a return is tried again.`,
		Example:           "  sudo snitch fleet sync",
		Args:              noArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(cmd *cobra.Command, _ []string) error { return runFleetSync(cmd.Context(), io, opts) },
	}
	fleetFlags(cmd, &opts)
	cmd.Flags().StringVar(&opts.Within, "within", "5m", "how long to wait")
	complete(cmd, "within", cobra.FixedCompletions([]string{"1m", "5m"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func fleetFlags(cmd *cobra.Command, opts *FleetOptions) {
	dirFlag(cmd, &opts.State, "state", config.DefaultState, "state directory of the daemon")
	jsonFlag(cmd, &opts.JSON, "print one JSON object")
}

// askFleet asks the daemon.
func askFleet(ctx context.Context, client *control.Client) (*control.Fleet, error) {
	st, err := client.Status(ctx)
	switch {
	case errors.Is(err, control.ErrNotRunning):
		return nil, errorWithHint(err, "start it with 'sudo snitch start', or name its directory with --state")
	case errors.Is(err, control.ErrForbidden):
		return nil, errorWithHint(err, "run it with sudo, or join group snitch")
	case err != nil:
		return nil, err
	case st.Fleet == nil:
		return nil, errorWithHint(errors.New("the rules of this host come from its own directory"), "set fleet.source in the configuration to take them from elsewhere")
	}
	return st.Fleet, nil
}

func runFleetStatus(ctx context.Context, io stdio, opts FleetOptions) error {
	f, err := askFleet(ctx, control.NewClient(opts.State))
	if err != nil {
		return err
	}
	return showFleet(io, opts, f)
}

func runFleetSync(ctx context.Context, io stdio, opts FleetOptions) error {
	within, err := text.ParseDuration(opts.Within)
	if err != nil || within <= 0 {
		return usageError(fmt.Errorf("--within: %q is no duration", opts.Within), "say --within 5m")
	}
	client := control.NewClient(opts.State)
	before, err := askFleet(ctx, client)
	if err != nil {
		return err
	}
	if err := client.Reload(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	for {
		f, err := askFleet(ctx, client)
		switch {
		case ctx.Err() != nil:
			return errorWithHint(fmt.Errorf("the source did not answer within %s", opts.Within), "see 'snitch fleet status' later")
		case err != nil:
			return err
		case f.Looks > before.Looks:
			return showFleet(io, opts, f)
		}
		select {
		case <-ctx.Done():
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func showFleet(io stdio, opts FleetOptions, f *control.Fleet) error {
	out := formatFleet(f)
	if opts.JSON {
		line, err := text.JSON(f)
		if err != nil {
			return fmt.Errorf("encode output: %w", err)
		}
		out = string(line) + "\n"
	}
	if err := write(io.out, out); err != nil {
		return err
	}
	if f.Drift != "" {
		return errAnswerNo
	}
	return nil
}

func formatFleet(f *control.Fleet) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	line := func(name, format string, args ...any) {
		fmt.Fprintf(w, "%s\t%s\n", name, text.Clean(fmt.Sprintf(format, args...)))
	}
	fleetLines(line, f)
	line("host", "%s", f.Host)
	if f.Previous != "" {
		line("before", "%s", f.Previous)
	}
	if f.Held != "" {
		line("held", "%s: %s", f.Held, f.HeldReason)
	}
	checked := "no answer yet"
	if !f.Checked.IsZero() {
		checked = "last answer " + clock(f.Checked)
	}
	line("looks", "%d, %d failed, %d refused; %s; %s to the rules before", f.Looks, f.Failures, f.Refused, checked, text.Plural(f.Returns, "return"))
	_ = w.Flush() // a strings.Builder takes everything
	return b.String()
}

// fleetLines say which published rules are used, and why not others.
func fleetLines(line func(name, format string, args ...any), f *control.Fleet) {
	if f == nil {
		return
	}
	used := "nothing from it yet: the machine's own rules are used"
	if f.Revision != "" {
		used = "revision " + f.Revision + " since " + clock(f.Changed)
		if f.Serial > 0 {
			used = fmt.Sprintf("serial %d, %s", f.Serial, used)
		}
	}
	line("fleet", "%s %s: %s", f.Kind, f.URL, used)
	if !f.TrialUntil.IsZero() {
		line("", "on trial until %s", clock(f.TrialUntil))
	}
	if f.Drift != "" {
		line("", "NOT AS PUBLISHED: %s", f.Drift)
	}
}
