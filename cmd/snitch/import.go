package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"snitch/cmd/internal/config"
	"snitch/cmd/internal/config/picosnitch"
	"snitch/cmd/internal/text"
	"snitch/monitor/event"
	"snitch/monitor/store"
)

// ImportOptions are the flags of `snitch import`.
type ImportOptions struct {
	State string
}

func newImport(io stdio) *cobra.Command {
	var opts ImportOptions
	cmd := &cobra.Command{
		Use:   "import FILE…",
		Short: "Take over the record of picosnitch: its database and its list of known programs",
		Long: `Take over what picosnitch recorded, so that what it knew is nothing new here: its
database (version 3 or 4) with its connections, and its list of known programs
(record.json or state.json). The daemon must not run meanwhile. Import a database
once: a second time would count its connections twice.`,
		Example: `  sudo systemctl stop snitch
  sudo snitch import /var/lib/picosnitch/picosnitch.db /var/lib/picosnitch/state.json
  sudo snitch import ~/.config/picosnitch/snitch.db ~/.config/picosnitch/record.json`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error { return runImport(cmd.Context(), io, opts, args) },
	}
	dirFlag(cmd, &opts.State, "state", config.DefaultState, "state directory of the daemon")
	return cmd
}

func runImport(ctx context.Context, io stdio, opts ImportOptions, args []string) error {
	if len(args) == 0 {
		return usageError(errors.New("import wants files of picosnitch"), "say 'snitch import /var/lib/picosnitch/picosnitch.db'")
	}
	state, err := openState(opts.State)
	if err != nil {
		return err
	}
	defer state.Close()
	s, err := store.Open(ctx, store.Config{Dir: state.path, Group: state.gid, Run: store.Run{Version: build().Version, Tier: "import"}})
	if err != nil {
		return usageError(fmt.Errorf("open database: %w", err), "stop the daemon, or name another directory with --state")
	}
	for _, name := range args {
		in := recordImport{store: s}
		if err = in.file(ctx, name); err != nil {
			err = usageError(fmt.Errorf("import %s: %w", name, err), fmt.Sprintf("%s were imported before it", text.Plural(in.rows, "row")))
			break
		}
		if err = write(io.out, fmt.Sprintf("%s: %s, %s\n", text.Clean(name), text.Plural(in.rows, "row"), text.Plural(in.programs, "known program"))); err != nil {
			break
		}
	}
	return errors.Join(err, s.Flush(ctx), s.Close())
}

// importBatch is how many rows are written at once.
const importBatch = 4000

// recordImport takes one file into the store.
type recordImport struct {
	store    *store.Store
	batch    store.Batch
	rows     uint64
	programs uint64
}

// sqliteMagic begins every database.
const sqliteMagic = "SQLite format 3\x00"

func (in *recordImport) file(ctx context.Context, name string) error {
	database, err := isDatabase(name)
	if err != nil {
		return err
	}
	if database {
		if err := picosnitch.Database(ctx, name, func(r picosnitch.Row) error { return in.row(ctx, r) }); err != nil {
			return errors.Join(err, in.flush(ctx))
		}
		return in.flush(ctx)
	}
	data, err := readForeign(name, picosnitch.MaxKnown)
	if err != nil {
		return err
	}
	known, err := picosnitch.Known(data)
	if err != nil {
		return err
	}
	now := time.Now()
	for _, p := range known {
		in.programs++
		in.store.Novelty(&event.Connection{ID: in.programs, Opened: now, Direction: event.In,
			Process: &event.Process{Executable: event.Executable{Path: p.Exe, Kind: event.ExecutableFile, SHA256: p.SHA256}}})
		if in.programs%importBatch == 0 {
			if err := in.flush(ctx); err != nil {
				return err
			}
		}
	}
	return in.flush(ctx)
}

// isDatabase looks at the first bytes of a regular file.
func isDatabase(name string) (bool, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return false, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return false, errors.Join(errors.New("it is no regular file"), err)
	}
	head := make([]byte, len(sqliteMagic))
	if _, err := io.ReadFull(f, head); err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return false, err
	}
	return bytes.Equal(head, []byte(sqliteMagic)), nil
}

func (in *recordImport) row(ctx context.Context, r picosnitch.Row) error {
	in.rows++
	if r.Exec {
		if r.Connection.Process != nil {
			in.batch.Execs = append(in.batch.Execs, event.ExecSeen{Time: r.Connection.Opened, Process: r.Connection.Process})
		}
	} else {
		in.store.Novelty(&r.Connection)
		in.batch.Connections = append(in.batch.Connections, r.Connection)
	}
	if len(in.batch.Connections)+len(in.batch.Execs) >= importBatch {
		return in.flush(ctx)
	}
	return nil
}

// flush writes what waits, with what is known from now on.
func (in *recordImport) flush(ctx context.Context) error {
	in.batch.Time = time.Now()
	in.store.Append(in.batch)
	in.batch = store.Batch{}
	return in.store.Flush(ctx)
}
