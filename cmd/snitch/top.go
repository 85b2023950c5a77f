package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"snitch/cmd/internal/config"
	"snitch/cmd/internal/control"
	"snitch/cmd/internal/tui"
	"snitch/cmd/internal/tui/top"
	"snitch/monitor/event"
	"snitch/monitor/store/query"
	"snitch/monitor/store/schema"
)

// TopOptions are the flags of `snitch top`.
type TopOptions struct {
	State string
}

func newTop(io stdio) *cobra.Command {
	var opts TopOptions
	cmd := &cobra.Command{
		Use:   "top",
		Short: "Show live what talks, how fast, and what listens",
		Long: `Show live which programs talk, how fast, to whom, and what the rules say; sort,
filter, find, pause. '?' lists the keys. It needs no root: group snitch may.`,
		Example:           "  snitch top\n  snitch top --state /var/lib/snitch",
		Args:              noArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(cmd *cobra.Command, _ []string) error { return runTop(cmd.Context(), io, opts) },
	}
	dirFlag(cmd, &opts.State, "state", config.DefaultState, "state directory of the daemon")
	return cmd
}

func runTop(ctx context.Context, io stdio, opts TopOptions) error {
	return terminalError(tui.Top(ctx, terminal(io), liveSource(opts.State)), "'snitch log --follow' prints what happens")
}

// terminal is where the interfaces are shown.
func terminal(io stdio) tui.Terminal {
	return tui.Terminal{In: io.in, Out: io.out, Env: os.Environ()}
}

// terminalError says what to use instead of an interface.
func terminalError(err error, hint string) error {
	if errors.Is(err, tui.ErrNoTerminal) {
		return usageError(err, hint)
	}
	return err
}

// liveSource is the daemon of a state directory, and what its record has as
// open.
func liveSource(state string) top.Source {
	return top.Source{Client: control.NewClient(state), Open: func(ctx context.Context, since time.Time, f func(event.Record) error) error {
		filters, err := query.Parse([]string{"result=listening,established,pending"})
		if err != nil {
			return err
		}
		var names users
		db, err := query.Open(ctx, filepath.Join(state, schema.FileName), names.name)
		if err != nil {
			return err
		}
		defer db.Close()
		return db.Connections(ctx, query.Query{Filters: filters, Since: since, Order: query.NewestFirst, Limit: top.MaxConnections / 2}, f)
	}}
}
