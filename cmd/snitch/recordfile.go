package main

import (
	"context"
	"path/filepath"

	"github.com/spf13/cobra"

	"snitch/cmd/internal/config"
	"snitch/cmd/internal/control"
	"snitch/monitor/store/schema"
)

// recordOptions say which record is read.
type recordOptions struct {
	State    string
	Database string // instead of the one in State
}

// flags adds them to a command.
func (o *recordOptions) flags(cmd *cobra.Command) {
	dirFlag(cmd, &o.State, "state", config.DefaultState, "state directory of the daemon")
	cmd.Flags().StringVar(&o.Database, "database", "", "a database file, instead of the one in --state")
	complete(cmd, "database", cobra.FixedCompletions([]string{"db"}, cobra.ShellCompDirectiveFilterFileExt))
}

// file is the path of the database.
func (o *recordOptions) file() string {
	if o.Database != "" {
		return o.Database
	}
	return filepath.Join(o.State, schema.FileName)
}

// flush has the daemon write what it has not written yet: it belongs to the
// answer. Without a daemon, or the right to ask it, the database is all there
// is; another file than its own it does not write.
func (o *recordOptions) flush(ctx context.Context) {
	if o.Database == "" {
		_ = control.NewClient(o.State).Flush(ctx)
	}
}
