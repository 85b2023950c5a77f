package main

import (
	"bytes"
	"context"
	"errors"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"snitch/cmd/internal/control"
	"snitch/cmd/internal/tui"
	"snitch/cmd/internal/tui/browse"
	"snitch/cmd/internal/tui/top"
	"snitch/monitor/event"
	"snitch/monitor/geoip"
	"snitch/monitor/store"
	"snitch/monitor/store/query"
	"snitch/policy/rule"
)

// TUIOptions are the flags of `snitch tui`.
type TUIOptions struct{ recordOptions }

func newTUI(io stdio) *cobra.Command {
	var opts TUIOptions
	cmd := &cobra.Command{
		Use:   "tui",
		Short: "Look through the history on the terminal",
		Long: `Look through what was recorded: connections added up by program, name, command,
hash, parent, user, domain, country, port, rule, time and more; filters on top of
each other; alerts, rules with what they did, and what happens live. '?' lists the
keys. It needs no root: group snitch may.`,
		Example:           "  snitch tui\n  snitch tui --database old.db",
		Args:              noArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(cmd *cobra.Command, _ []string) error { return runTUI(cmd.Context(), io, opts) },
	}
	opts.flags(cmd)
	return cmd
}

func runTUI(ctx context.Context, io stdio, opts TUIOptions) error {
	var names users
	path := opts.file()
	db, err := query.Open(ctx, path, names.name)
	if err != nil {
		return databaseError(err)
	}
	defer db.Close()
	places, err := geoip.Open(filepath.Join(opts.State, placesDir), nil)
	if err != nil {
		return err
	}
	deps := browse.Deps{
		Place: func(address string) string {
			addr, err := netip.ParseAddr(address)
			if err != nil {
				return ""
			}
			return placeWords(places.Place(addr))
		},
		Record: db, Alerts: db.Alerts, Program: db.Executable,
		Why:   func(ctx context.Context, a *event.Alert) (string, error) { return alertWhy(ctx, path, a) },
		Rules: func(ctx context.Context) ([]browse.Rule, error) { return rulesInUse(ctx, db) },
		SetAlerts: func(context.Context, []int64, event.AlertState) error {
			return errors.New("a database that is looked at with --database is not changed")
		},
	}
	if opts.Database == "" {
		attend(&deps, opts.State)
	}
	return terminalError(tui.Browse(ctx, terminal(io), deps), "'snitch log' prints what was recorded")
}

// attend adds what the daemon of a state directory tells and does.
func attend(deps *browse.Deps, state string) {
	src := liveSource(state)
	deps.Flush = src.Client.Flush
	deps.Follow = func(ctx context.Context, c *top.Collector) { top.Follow(ctx, src, c) }
	deps.SetAlerts = func(ctx context.Context, ids []int64, to event.AlertState) error {
		return setAlerts(ctx, state, ids, to)
	}
}

// setAlerts asks the daemon, which is the only writer while it runs.
func setAlerts(ctx context.Context, state string, ids []int64, to event.AlertState) error {
	err := control.NewClient(state).SetAlerts(ctx, ids, to)
	if errors.Is(err, control.ErrNotRunning) {
		err = store.SetAlerts(ctx, state, ids, to)
	}
	return err
}

// alertWhy is what 'snitch alerts why' prints.
func alertWhy(ctx context.Context, path string, a *event.Alert) (string, error) {
	if a.Opened.IsZero() {
		return "it is not about a connection\n", nil
	}
	rows, err := (&HistoryOptions{History: path}).open(ctx, nil)
	if err != nil {
		return "", err
	}
	defer rows.db.Close()
	f, at, set, err := rows.decided(ctx, a.Opened, a.Rule)
	switch {
	case err != nil:
		return "", err
	case f == nil:
		return "", errors.New("the record no longer has the connection with which it began")
	}
	var out bytes.Buffer
	err = explainFacts(ctx, stdio{in: strings.NewReader(""), out: &out, err: &out}, f, at, set, false)
	return out.String(), err
}

// rulesInUse are the rules that were loaded last, with what they did, those
// that did most first.
func rulesInUse(ctx context.Context, db *query.DB) ([]browse.Rule, error) {
	sets, err := db.RuleSets(ctx)
	if err != nil || len(sets) == 0 {
		return nil, err
	}
	files, err := db.RuleFiles(ctx, sets[0].ID)
	if err != nil {
		return nil, err
	}
	set, err := (&recordedRows{db: db}).ruleSet(ctx, sets[0])
	if err != nil {
		return nil, err
	}
	counts, err := db.RuleCounts(ctx)
	if err != nil {
		return nil, err
	}
	out := make([]browse.Rule, 0, len(set.Rules))
	for i := range set.Rules {
		r := &set.Rules[i]
		b := browse.Rule{ID: r.ID, Action: r.Action.String(), Mode: r.Mode.String(), Reason: r.Reason, Where: r.Pos.String(),
			Text: writtenAt(files, set, r.Pos), Expires: r.Expires}
		if j := slices.IndexFunc(counts, func(c event.RuleCount) bool { return c.Rule == r.ID }); j >= 0 {
			b.Counts = counts[j]
		}
		out = append(out, b)
	}
	slices.SortStableFunc(out, func(a, b browse.Rule) int {
		switch {
		case a.Counts.Hits > b.Counts.Hits:
			return -1
		case a.Counts.Hits < b.Counts.Hits:
			return 1
		}
		return strings.Compare(a.ID, b.ID)
	})
	return out, nil
}

// maxWritten bounds the lines of a rule that are shown.
const maxWritten = 200

// writtenAt cuts a rule out of its file: from where it stands to the next one.
func writtenAt(files []query.RuleFile, set *rule.Set, pos rule.Position) string {
	i := slices.IndexFunc(files, func(f query.RuleFile) bool { return f.Path == pos.File })
	if i < 0 || pos.Line < 1 {
		return ""
	}
	end := pos.Line + maxWritten
	for _, other := range set.Rules {
		if other.Pos.File == pos.File && other.Pos.Line > pos.Line {
			end = min(end, other.Pos.Line)
		}
	}
	lines := strings.Split(string(files[i].Data), "\n")
	if pos.Line > len(lines) {
		return ""
	}
	return strings.TrimRight(strings.Join(lines[pos.Line-1:min(end-1, len(lines))], "\n"), "\n -")
}
