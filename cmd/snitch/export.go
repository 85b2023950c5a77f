package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"snitch/cmd/internal/sheet"
	"snitch/monitor/event"
	"snitch/monitor/store/query"
)

// ExportOptions are the flags of `snitch export`.
type ExportOptions struct {
	recordOptions
	rangeOptions
	Columns []string
	Format  string
	Output  string
	Limit   int
	JSON    bool
}

func newExport(io stdio) *cobra.Command {
	var opts ExportOptions
	cmd := &cobra.Command{
		Use:   "export [FILTER…]",
		Short: "Write connections as CSV or JSON lines",
		Long: `Write the connections that filters and range select, oldest first, with all their
fields. CSV is for spreadsheets: what processes and networks named is escaped where it is not
printable, and begins no formula. JSON lines have every byte as it was.`,
		Example: `  snitch export --since 7d exe=/usr/bin/curl > curl.csv
  snitch export --columns time,exe,domain,received > short.csv
  snitch export --format json --output day.jsonl --since 2026-07-01 --until 2026-07-02`,
		Args:              cobra.ArbitraryArgs,
		ValidArgsFunction: completeFilter,
		RunE:              func(cmd *cobra.Command, args []string) error { return runExport(cmd.Context(), io, opts, args) },
	}
	opts.recordOptions.flags(cmd)
	opts.rangeOptions.flags(cmd, "was active", "began")
	columnsFlag(cmd, &opts.Columns, "`FIELD[,FIELD…]` of the CSV, instead of all")
	choiceFlag(cmd, &opts.Format, "format", formCSV, "form of the output", formCSV, formJSON)
	cmd.Flags().StringVarP(&opts.Output, "output", "o", "", "`FILE` to write, whole or not at all; standard output if it is not given")
	cmd.Flags().IntVarP(&opts.Limit, "limit", "n", 0, "at most so many, the newest; 0 is all")
	jsonFlag(cmd, &opts.JSON, "one JSON object a line: as --format json")
	complete(cmd, "limit", cobra.NoFileCompletions)
	return cmd
}

func runExport(ctx context.Context, io stdio, opts ExportOptions, args []string) error {
	log := LogOptions{recordOptions: opts.recordOptions, rangeOptions: opts.rangeOptions, Limit: opts.Limit}
	q, err := log.question(time.Now(), args)
	if err != nil {
		return err
	}
	if opts.JSON {
		opts.Format = formJSON
	}
	if opts.Format == formJSON && len(opts.Columns) > 0 {
		return usageError(errors.New("JSON lines have every field, --columns chooses some"), "leave one of them away, or pipe through jq")
	}
	picked, err := pickColumns(opts.Columns)
	if err != nil {
		return err
	}
	opts.flush(ctx)
	if opts.Output == "" {
		return exportTo(ctx, io.out, opts, picked, q)
	}
	return exportFile(ctx, opts, picked, q)
}

// exportFile writes beside the file and puts it in place when it is whole.
func exportFile(ctx context.Context, opts ExportOptions, picked []sheet.Column, q query.Query) (err error) {
	f, err := os.CreateTemp(filepath.Dir(opts.Output), "."+filepath.Base(opts.Output)+"-*")
	if err != nil {
		return fmt.Errorf("write export: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	err = errors.Join(exportTo(ctx, f, opts, picked, q), ctx.Err(), f.Sync(), f.Close())
	if err != nil {
		return err
	}
	if err := os.Rename(f.Name(), opts.Output); err != nil {
		return fmt.Errorf("write export: %w", err)
	}
	return nil
}

// exportTo writes what q selects.
func exportTo(ctx context.Context, out io.Writer, opts ExportOptions, picked []sheet.Column, q query.Query) error {
	b := bufio.NewWriterSize(out, 1<<16)
	if opts.Format == formJSON {
		err := stored(ctx, opts.file(), q, func(r *event.Record) error { return printJSON(b, r) })
		return errors.Join(err, b.Flush())
	}
	records, err := sheet.NewRecords(b, picked...)
	if err != nil {
		return err
	}
	if err := stored(ctx, opts.file(), q, records.Write); err != nil {
		return err // a header alone would look like an answer
	}
	return errors.Join(records.Flush(), b.Flush())
}
