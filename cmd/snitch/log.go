package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"snitch/cmd/internal/text"
	"snitch/monitor/event"
	"snitch/monitor/store/query"
)

// followTail is how many stored connections --follow begins with, when neither
// --since nor --limit says otherwise.
const followTail = 10

// maxLimit bounds --limit, whose rows are held in memory.
const maxLimit = 1_000_000

// LogOptions are the flags of `snitch log`.
type LogOptions struct {
	recordOptions
	rangeOptions
	Columns []string
	Follow  bool
	JSON    bool
	Limit   int
}

func newLog(io stdio) *cobra.Command {
	var opts LogOptions
	cmd := &cobra.Command{
		Use:   "log [FILTER…]",
		Short: "Show connections: of the past, and as they happen",
		Long:  logHelp(),
		Example: `  snitch log --since 1h
  snitch log --since "2026-07-01 08:00" --until 2026-07-02 proto=udp
  snitch log --json exe=/usr/bin/curl | jq -r .domain
  snitch log --columns time,exe,sha256,domain,raddr --since 1d
  snitch log --database old.db | less
  snitch log --follow`,
		Args:              cobra.ArbitraryArgs,
		ValidArgsFunction: completeFilter,
		RunE: func(cmd *cobra.Command, args []string) error {
			return runLog(cmd.Context(), io, opts, args)
		},
	}
	opts.recordOptions.flags(cmd)
	opts.rangeOptions.flags(cmd, "was active", "began")
	columnsFlag(cmd, &opts.Columns, "`FIELD[,FIELD…]` to show, as --json and 'snitch export' name them, instead of the usual ones")
	cmd.Flags().BoolVarP(&opts.Follow, "follow", "f", false, "go on with what happens now")
	cmd.Flags().IntVarP(&opts.Limit, "limit", "n", 0, "at most so many, the newest; 0 is all")
	jsonFlag(cmd, &opts.JSON, "print one JSON object a line")
	complete(cmd, "limit", cobra.NoFileCompletions)
	return cmd
}

func logHelp() string {
	var b strings.Builder
	b.WriteString(`Show which program talked to whom, with how many bytes, oldest first. A FILTER
is FIELD OPERATOR VALUE[,VALUE…]; all filters must hold. Fields:

`)
	writeFields(&b, func(query.Field) bool { return true })
	fmt.Fprintf(&b, `
With --follow the last %d connections come first (or what --since or --limit
say), then what happens, without waiting for the database. A connection gets a
line when it is first seen, when its result changes, at its end, and while it
moves bytes at most every %s; with --json, every snapshot is one line, and a
later one of the same connection (time, pid, proto, lport, raddr, rport) replaces
the earlier. The arrow is → out, ← in, ● listens; "~name" is a reverse
DNS label.`, followTail, text.Duration(updateEvery))
	return b.String()
}

// writeFields lists fields with their help.
func writeFields(b *strings.Builder, wanted func(query.Field) bool) {
	fields := slices.DeleteFunc(query.Fields(), func(f query.Field) bool { return !wanted(f) })
	width := len(slices.MaxFunc(fields, func(x, y query.Field) int { return len(x.Name) - len(y.Name) }).Name)
	for _, f := range fields {
		fmt.Fprintf(b, "  %-*s %s\n", width, f.Name, f.Help)
	}
}

func completeFilter(_ *cobra.Command, _ []string, word string) ([]string, cobra.ShellCompDirective) {
	var out []string
	for _, f := range query.Fields() {
		if name := f.Name + "="; strings.HasPrefix(name, word) {
			out = append(out, cobra.CompletionWithDesc(name, f.Help))
		}
	}
	return out, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
}

// question turns flags and filters into a query.
func (o *LogOptions) question(now time.Time, args []string) (query.Query, error) {
	var q query.Query
	var err error
	if q.Filters, err = query.Parse(args); err != nil {
		return q, usageError(err, filterHint(err))
	}
	if q.Since, q.Until, err = o.parse(now); err != nil {
		return q, err
	}
	if o.Limit < 0 || o.Limit > maxLimit {
		return q, usageError(fmt.Errorf("--limit %d is not between 0 and %d", o.Limit, maxLimit), "leave it away for all")
	}
	if o.Follow && o.Until != "" {
		return q, usageError(errors.New("--follow has no end, --until is one"), "leave one of them away")
	}
	if o.Follow && o.Database != "" {
		return q, usageError(errors.New("--follow asks the daemon, --database is a file"), "leave one of them away")
	}
	if o.JSON && len(o.Columns) > 0 {
		return q, usageError(errors.New("--json has every field, --columns chooses some"), "leave one of them away")
	}
	q.Limit = o.Limit
	if o.Follow && o.Since == "" && o.Limit == 0 {
		q.Limit = followTail
	}
	return q, nil
}

func filterHint(err error) string {
	var parse *query.ParseError
	if errors.As(err, &parse) && parse.Hint != "" {
		return "" // the error says it already
	}
	return "run 'snitch log --help' for the fields"
}

func runLog(ctx context.Context, io stdio, opts LogOptions, args []string) error {
	q, err := opts.question(time.Now(), args)
	if err != nil {
		return err
	}
	p := &logPrinter{io: io, filters: q.Filters}
	if !opts.JSON {
		if p.rows, err = opts.rows(io); err != nil {
			return err
		}
	}
	if opts.Follow {
		f := follower{printer: p, io: io, state: opts.State, query: q, seen: newSeen(!opts.JSON)}
		return f.run(ctx)
	}
	opts.flush(ctx)
	return stored(ctx, opts.file(), q, p.print)
}

// rows prints connections for people, a line each.
type rows interface{ row(r *event.Record) error }

func (o *LogOptions) rows(io stdio) (rows, error) {
	form := fullTime
	if o.Follow {
		form = shortTime
	}
	if len(o.Columns) == 0 {
		return newTable(io.out, form), nil
	}
	picked, err := pickColumns(o.Columns)
	return &lines{out: io.out, form: form, columns: picked}, err
}

// logPrinter prints records in the form that was asked for.
type logPrinter struct {
	io      stdio
	rows    rows // nil: JSON
	filters query.Filters
}

func (p *logPrinter) print(r *event.Record) error {
	if p.rows != nil {
		return p.rows.row(r)
	}
	return printJSON(p.io.out, r)
}

// stored calls f with what the database at path has, oldest first.
func stored(ctx context.Context, path string, q query.Query, f func(*event.Record) error) error {
	var names users
	db, err := query.Open(ctx, path, names.name)
	if err != nil {
		return databaseError(err)
	}
	defer db.Close()
	if q.Limit == 0 {
		return databaseError(db.Connections(ctx, q, func(r event.Record) error { return f(&r) }))
	}
	// The newest, but printed in the order of time.
	q.Order = query.NewestFirst
	var rows []event.Record
	err = db.Connections(ctx, q, func(r event.Record) error {
		rows = append(rows, r)
		return nil
	})
	if err != nil {
		return databaseError(err)
	}
	slices.Reverse(rows)
	for i := range rows {
		if err := f(&rows[i]); err != nil {
			return err
		}
	}
	return nil
}

// databaseError adds what to do. The errors of package query say it already in
// their own text.
func databaseError(err error) error {
	switch {
	case err == nil, errors.Is(err, context.Canceled):
		return nil // Ctrl-C is an answer
	case errors.Is(err, query.ErrNotThere):
		return errorWithHint(err, "start it with 'sudo snitch run', or name its directory with --state")
	case errors.Is(err, query.ErrNotReadable):
		return errorWithHint(err, "run it with sudo")
	}
	return err
}
