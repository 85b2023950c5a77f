package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"snitch/cmd/internal/sheet"
	"snitch/cmd/internal/text"
	"snitch/monitor/store/query"
)

// Forms of output of `snitch query`.
const (
	formTable = "table"
	formCSV   = "csv"
	formJSON  = "json"
)

// QueryOptions are the flags of `snitch query`.
type QueryOptions struct {
	recordOptions
	rangeOptions
	By      string
	Order   string
	Reverse bool
	Limit   int
	Offset  int
	Format  string
	JSON    bool
}

func newQuery(io stdio) *cobra.Command {
	var opts QueryOptions
	cmd := &cobra.Command{
		Use:   "query [FILTER…]",
		Short: "Add up connections and bytes by program, name, country, …",
		Long:  queryHelp(),
		Example: `  snitch query --since 1d
  snitch query --by domain --since 7d exe=/usr/lib/firefox/firefox
  snitch query --by exe,country --order connections action=deny
  snitch query --by time --since 1d --format csv > day.csv`,
		Args:              cobra.ArbitraryArgs,
		ValidArgsFunction: completeFilter,
		RunE:              func(cmd *cobra.Command, args []string) error { return runQuery(cmd.Context(), io, opts, args) },
	}
	opts.recordOptions.flags(cmd)
	opts.rangeOptions.flags(cmd, "moved or was active", "began")
	cmd.Flags().StringVar(&opts.By, "by", "exe", "`FIELD[,FIELD]` to group by; also time")
	choiceFlag(cmd, &opts.Order, "order", query.OrderTotal.String(), "what to sort by, largest first", query.GroupOrders()...)
	cmd.Flags().BoolVarP(&opts.Reverse, "reverse", "r", false, "sort the other way round")
	cmd.Flags().IntVarP(&opts.Limit, "limit", "n", 30, "at most so many groups; 0 is all")
	cmd.Flags().IntVar(&opts.Offset, "offset", 0, "leave away so many groups first")
	choiceFlag(cmd, &opts.Format, "format", formTable, "form of the output", formTable, formCSV, formJSON)
	jsonFlag(cmd, &opts.JSON, "print one JSON object: as --format json")
	complete(cmd, "by", completeGroups)
	complete(cmd, "limit", cobra.NoFileCompletions)
	complete(cmd, "offset", cobra.NoFileCompletions)
	return cmd
}

func queryHelp() string {
	var b strings.Builder
	b.WriteString(`Group connections by one or two fields, and add up how many there were and what
they moved. A FILTER is as for 'snitch log'. What can be grouped by, beside time:

`)
	writeFields(&b, func(f query.Field) bool { return f.Group })
	b.WriteString(`
Where one field is asked for, and filters are on the same thing, the sums of what moved
within the range answer, also when the connections themselves are no longer kept;
else the connections that were active within the range, with all their bytes. The
last line says which.`)
	return b.String()
}

func completeGroups(_ *cobra.Command, _ []string, word string) ([]string, cobra.ShellCompDirective) {
	before := ""
	if i := strings.LastIndexByte(word, ','); i >= 0 {
		before, word = word[:i+1], word[i+1:]
	}
	var out []string
	for _, f := range query.Fields() {
		if f.Group && strings.HasPrefix(f.Name, word) {
			out = append(out, cobra.CompletionWithDesc(before+f.Name, f.Help))
		}
	}
	if strings.HasPrefix(query.ByTime, word) {
		out = append(out, before+query.ByTime)
	}
	return out, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
}

// question turns flags and filters into a query.
func (o *QueryOptions) question(now time.Time, args []string) (query.GroupQuery, error) {
	q := query.GroupQuery{By: strings.Split(o.By, ","), Limit: o.Limit, Offset: o.Offset, Points: pointsShown}
	var err error
	if q.Filters, err = query.Parse(args); err != nil {
		return q, usageError(err, filterHint(err))
	}
	if q.Since, q.Until, err = o.parse(now); err != nil {
		return q, err
	}
	if o.Limit < 0 || o.Limit > query.MaxGroupLimit || o.Offset < 0 {
		return q, usageError(fmt.Errorf("--limit %d or --offset %d is not between 0 and %d", o.Limit, o.Offset, query.MaxGroupLimit), "say --limit 0 for all")
	}
	if q.Limit == 0 {
		q.Limit = query.MaxGroupLimit
	}
	q.Order, _ = query.ParseGroupOrder(o.Order) // the flag knows the names
	q.Desc = q.Order != query.OrderName
	if q.By[0] == query.ByTime && o.Order == query.OrderTotal.String() {
		q.Order, q.Desc = query.OrderName, false // a day from its morning on, to its end
		q.Limit = query.MaxGroupLimit
	}
	if o.Reverse {
		q.Desc = !q.Desc
	}
	return q, nil
}

func runQuery(ctx context.Context, io stdio, opts QueryOptions, args []string) error {
	q, err := opts.question(time.Now(), args)
	if err != nil {
		return err
	}
	opts.flush(ctx)
	var names users
	db, err := query.Open(ctx, opts.file(), names.name)
	if err != nil {
		return databaseError(err)
	}
	defer db.Close()
	if err := q.Check(); err != nil {
		return usageError(err, "run 'snitch query --help' for the fields")
	}
	groups, err := db.Group(ctx, q)
	switch {
	case err != nil:
		return databaseError(err)
	case opts.JSON || opts.Format == formJSON:
		return printJSON(io.out, groups)
	case opts.Format == formCSV:
		return sheet.Groups(io.out, &groups)
	}
	return write(io.out, groupTable(&groups, columns(io.out)))
}

// Widths of the columns of a table of groups.
const (
	countWidth  = 9
	deniedWidth = 7
	leastKey    = 12
)

// pointsShown are how many buckets of time a person reads.
const pointsShown = 48

// groupTable is the groups for people, in a terminal of so many columns (0: it
// is none, and nothing is cut).
func groupTable(g *query.Groups, width int) string {
	t := groupLines{groups: g, denied: g.Total.Denied+g.Total.WouldDeny > 0}
	rows := make([][]string, len(g.Rows))
	for i := range g.Rows {
		rows[i] = shownKeys(g.By, &g.Rows[i])
	}
	t.widths = keyWidths(rows, g.By, width-t.rest())
	if width == 0 {
		t.widths = keyWidths(rows, g.By, 0)
	}
	names := make([]string, len(g.By))
	for i, n := range g.By {
		names[i] = strings.ToUpper(n)
	}
	t.line(names, "CONNS", "UP", "DOWN", "DENIED", "WOULD", "LAST")
	for i := range g.Rows {
		t.sums(rows[i], &g.Rows[i])
	}
	t.foot()
	return t.String()
}

// keyWidths are the widths of the columns of keys: as wide as what is in them,
// and in a terminal (room is not 0) no wider than their share of it.
func keyWidths(rows [][]string, by []string, room int) []int {
	widths := make([]int, len(by))
	for i := range by {
		widths[i] = max(leastKey, len(by[i]))
		for _, row := range rows {
			widths[i] = max(widths[i], text.Width(row[i]))
		}
		if room != 0 {
			widths[i] = min(widths[i], max(leastKey, (room-len(by))/len(by)))
		}
	}
	return widths
}

// shortDate is the form of the last column.
const shortDate = "2006-01-02 15:04"

type groupLines struct {
	strings.Builder
	groups *query.Groups
	widths []int // of the keys
	denied bool  // columns for denials are shown
}

// rest is the width of all but the keys.
func (t *groupLines) rest() int {
	n := countWidth + 2*bytesWidth + len(shortDate) + 4
	if t.denied {
		n += 2 * (deniedWidth + 1)
	}
	return n
}

func (t *groupLines) sums(names []string, g *query.GroupRow) {
	last := ""
	if !g.Last.IsZero() {
		last = g.Last.Local().Format(shortDate)
	}
	t.line(names, fmt.Sprint(g.Connections), text.Bytes(g.Sent), text.Bytes(g.Received), fmt.Sprint(g.Denied), fmt.Sprint(g.WouldDeny), last)
}

func (t *groupLines) foot() {
	g := t.groups
	names := make([]string, len(g.By))
	names[0] = text.Plural(uint64(g.Count), "group")
	t.sums(names, &g.Total)
	note := "what moved in the range"
	if g.Basis == query.BasisConnections {
		note = "connections that were active in the range, with all their bytes"
	}
	if g.More {
		note += "; there are more groups: --limit, --offset"
	}
	t.WriteString(note + "\n")
}

// line is one line of the table, without a space at its end. Of what does not
// fit the end is shown: that of a path tells more.
func (t *groupLines) line(names []string, conns, up, down, denied, would, last string) {
	line := ""
	for i, n := range names {
		line += text.Fit(n, t.widths[i], true) + " "
	}
	line += fmt.Sprintf("%*s %*s %*s", countWidth, conns, bytesWidth, up, bytesWidth, down)
	if t.denied {
		line += fmt.Sprintf(" %*s %*s", deniedWidth, denied, deniedWidth, would)
	}
	t.WriteString(strings.TrimRight(line+" "+last, " ") + "\n")
}

// shownKeys are the keys of a group as people read them, cleaned.
func shownKeys(by []string, g *query.GroupRow) []string {
	out := make([]string, len(by))
	for i := range by {
		out[i] = text.Clean(shownKey(by[i], g.Keys[i], g.Details[i]))
	}
	return out
}

// shownKey is a key as people read it, and what stands beside it.
func shownKey(field, key, detail string) string {
	if field == query.ByTime {
		if at, err := time.Parse(time.RFC3339, key); err == nil {
			return at.Local().Format(shortDate)
		}
	}
	switch {
	case key == "":
		return "–"
	case field == "uid" && detail != "":
		return detail + " (" + key + ")"
	case field == "service" && detail != "":
		return key + " " + detail
	case strings.HasSuffix(field, "sha256") && detail != "":
		return key[:min(12, len(key))] + " " + detail
	}
	return key
}
