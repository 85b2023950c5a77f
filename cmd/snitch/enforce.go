package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"snitch/cmd/internal/config"
	"snitch/cmd/internal/control"
	"snitch/cmd/internal/text"
)

// EnforceOptions are the flags that the commands of enforce share.
type EnforceOptions struct {
	State string
	JSON  bool
}

func newEnforce(io stdio) *cobra.Command {
	return commandGroup(&cobra.Command{
		Use:   "enforce",
		Short: "Turn the rules into denials, and back",
		Long: `Turn the rules into denials, and back. Without it snitch only records what the rules
would do (audit).

'on' first shows what would have been denied lately. With --confirm it is rolled
back by itself unless somebody confirms it in time, whatever happens to the
daemon meanwhile: nobody is locked out for longer than that. 'panic' ends all of
it at once, and works without the daemon.`,
		Example: `  sudo snitch enforce on --dry-run          what would it deny?
  sudo snitch enforce on --confirm 60s      try it
  sudo snitch enforce confirm               keep it
  sudo snitch enforce off`,
	}, newEnforceOn(io), newEnforceOff(io), newEnforceConfirm(io), newEnforceStatus(io), newEnforcePromote(io), newEnforcePanic(io, removers()...), newEnforceBoot(io))
}

func (o *EnforceOptions) flags(cmd *cobra.Command) {
	dirFlag(cmd, &o.State, "state", config.DefaultState, "state directory of the daemon")
	jsonFlag(cmd, &o.JSON, "print one JSON object")
}

// enforceError says what to do about what the daemon answered.
func enforceError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, control.ErrNotRunning):
		return errorWithHint(err, "start it with 'snitch run', or the service; 'snitch enforce panic' works without it")
	case errors.Is(err, control.ErrForbidden), errors.Is(err, control.ErrNotRoot):
		return errorWithHint(err, "run it with sudo")
	case errors.Is(err, control.ErrNoEnforcement):
		return lacksError(err, "'snitch doctor' tells what this host has; everything is recorded all the same")
	}
	return err
}

// order asks the daemon, and shows the state then.
func order(ctx context.Context, io stdio, opts EnforceOptions, o control.EnforceOrder) error {
	e, err := control.NewClient(opts.State).Enforce(ctx, o)
	if err != nil {
		return enforceError(err)
	}
	if opts.JSON {
		return printJSON(io.out, e)
	}
	return write(io.out, enforceLines(&e, time.Now()))
}

func newEnforceOff(io stdio) *cobra.Command {
	var opts EnforceOptions
	cmd := &cobra.Command{
		Use:   "off",
		Short: "Deny nothing any more, now and after restarts",
		Long: `Deny nothing any more, now and after restarts. The rules stay, and what they would
deny is recorded. It beats the configuration, but not --mode of a run.`,
		Example: "  sudo snitch enforce off",
		Args:    noArgs, ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return order(cmd.Context(), io, opts, control.EnforceOrder{Do: control.EnforceOff})
		},
	}
	opts.flags(cmd)
	return cmd
}

func newEnforceConfirm(io stdio) *cobra.Command {
	var opts EnforceOptions
	cmd := &cobra.Command{
		Use:   "confirm",
		Short: "Keep what 'on --confirm' began",
		Long: `Keep what 'snitch enforce on --confirm' began. Do it from a new login: that you can
log in is what is to be confirmed.`,
		Example: "  sudo snitch enforce confirm",
		Args:    noArgs, ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return order(cmd.Context(), io, opts, control.EnforceOrder{Do: control.EnforceConfirm})
		},
	}
	opts.flags(cmd)
	return cmd
}

func newEnforceStatus(io stdio) *cobra.Command {
	var opts EnforceOptions
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Tell whether anything is denied, why, and what happens without snitch",
		Long: `Tell whether anything is denied, who wanted it, what denies, what happens when no
living snitch answers, and which rules protect the way in. The exit code is 1
when nothing is denied.`,
		Example: `  snitch enforce status
  snitch enforce status --json`,
		Args: noArgs, ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error { return runEnforceStatus(cmd.Context(), io, opts) },
	}
	opts.flags(cmd)
	return cmd
}

func runEnforceStatus(ctx context.Context, io stdio, opts EnforceOptions) error {
	st, err := control.NewClient(opts.State).Status(ctx)
	if err != nil {
		return enforceError(err)
	}
	e := st.Enforce
	if e == nil {
		return enforceError(fmt.Errorf("%w", control.ErrNoEnforcement))
	}
	if opts.JSON {
		err = printJSON(io.out, e)
	} else {
		err = write(io.out, enforceLines(e, time.Now()))
	}
	if err == nil && (e.Backend == nil || e.Backend.Mode != modeEnforce) {
		return errAnswerNo
	}
	return err
}

const modeEnforce = "enforce"

// ago is how long ago t was, for people.
func ago(t, now time.Time) string {
	return text.Duration(max(0, now.Sub(t)).Round(time.Second)) + " ago"
}
