package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"snitch/cmd/internal/config"
	"snitch/cmd/internal/control"
	"snitch/cmd/internal/text"
	"snitch/monitor/event"
	"snitch/monitor/store"
	"snitch/monitor/store/query"
	"snitch/monitor/store/schema"
)

// AlertsOptions are the flags of `snitch alerts` and its commands.
type AlertsOptions struct {
	recordOptions
	Since string
	Only  string // state of alerts
	JSON  bool
}

// allAlerts is the value of --only for alerts in every state.
const allAlerts = "all"

func newAlerts(io stdio) *cobra.Command {
	var opts AlertsOptions
	cmd := &cobra.Command{
		Use:   "alerts",
		Short: "List what you should know, and say that you do",
		Long: `List alerts, those that happened last first. An alert is one program (by digest), its
parent and one rule, however often it happened.

'ack' says that you have seen it: what repeats is counted and not told. 'resolve'
says that it is dealt with: if it happens again, it is new again. 'why' says why the
rules wanted you to know.`,
		Example: `  snitch alerts
  snitch alerts --only all --since 7d --json
  snitch alerts why 17
  snitch alerts ack 17 18
  snitch alerts resolve 17`,
		Args:              onlyCommands,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(cmd *cobra.Command, _ []string) error { return runAlerts(cmd.Context(), io, opts) },
	}
	listFlags(cmd, &opts)
	list := &cobra.Command{Use: "list", Short: "List alerts, as the command without a word", Args: noArgs, ValidArgsFunction: cobra.NoFileCompletions,
		Example: "  snitch alerts list --only seen",
		RunE:    func(cmd *cobra.Command, _ []string) error { return runAlerts(cmd.Context(), io, opts) }}
	listFlags(list, &opts)
	cmd.AddCommand(list, newAlertWhy(io),
		newAlertState(io, "ack", "Say that you have seen alerts: what repeats is counted and not told", event.AlertSeen),
		newAlertState(io, "resolve", "Say that alerts are dealt with: if one happens again, it is new again", event.AlertResolved))
	return cmd
}

func listFlags(cmd *cobra.Command, opts *AlertsOptions) {
	opts.flags(cmd)
	cmd.Flags().StringVar(&opts.Since, "since", "", "only what happened since: 10m, 7d, 2026-07-01, \"2026-07-01 08:00\"")
	complete(cmd, "since", cobra.FixedCompletions([]string{"1h", "1d", "7d"}, cobra.ShellCompDirectiveNoFileComp))
	choiceFlag(cmd, &opts.Only, "only", event.AlertNew.String(), "which alerts",
		event.AlertNew.String(), event.AlertSeen.String(), event.AlertResolved.String(), allAlerts)
	jsonFlag(cmd, &opts.JSON, "print one JSON object a line")
}

func runAlerts(ctx context.Context, io stdio, opts AlertsOptions) error {
	var q query.AlertQuery
	var err error
	if opts.Since != "" {
		if q.Since, err = text.ParseTime(opts.Since, time.Now()); err != nil {
			return usageError(fmt.Errorf("--since: %w", err), "for the last day say --since 1d")
		}
	}
	q.State, _ = event.ParseAlertState(opts.Only) // "all" is every state
	opts.flush(ctx)
	db, err := query.Open(ctx, opts.file(), nil)
	if err != nil {
		return databaseError(err)
	}
	defer db.Close()
	list, err := db.Alerts(ctx, q)
	if err != nil {
		return databaseError(err)
	}
	if opts.JSON {
		for i := range list {
			if err := printJSON(io.out, &list[i]); err != nil {
				return err
			}
		}
		return nil
	}
	if len(list) == 0 {
		return write(io.out, "no alerts\n")
	}
	for i := range list {
		if err := write(io.out, alertLines(&list[i])); err != nil {
			return err
		}
	}
	return nil
}

// alertLines are what happened, and an example.
func alertLines(a *event.Alert) string {
	var b strings.Builder
	what := a.Action
	if what == "" {
		what = a.Kind.String()
	}
	fmt.Fprintf(&b, "%d %s %s %s", a.ID, a.Last.Local().Format(fullTime), a.State, text.Clean(what))
	if a.Rule != "" {
		fmt.Fprintf(&b, " %s", text.Clean(a.Rule))
	}
	if a.Count > 1 {
		fmt.Fprintf(&b, ", %d times since %s", a.Count, a.First.Local().Format(fullTime))
	}
	b.WriteByte('\n')
	if a.Reason != "" {
		for _, line := range strings.Split(a.Reason, "\n") {
			fmt.Fprintf(&b, "  %s\n", text.Clean(line))
		}
	}
	if line := alertExample(a); line != "" {
		fmt.Fprintf(&b, "  %s\n", text.Clean(line))
	}
	return b.String()
}

// alertExample is who talked to whom.
func alertExample(a *event.Alert) string {
	if a.Exe == "" && a.Peer == "" {
		return ""
	}
	s := a.Exe
	if s == "" {
		s = "[unknown]"
	}
	if a.ExeView != "" {
		s += " (" + a.ExeView + ")"
	}
	if a.ParentExe != "" {
		s += " ← " + path.Base(a.ParentExe)
	}
	who := a.User
	if who == "" {
		who = strconv.FormatUint(uint64(a.UID), 10)
	}
	s += ", user " + who
	peer := a.Peer
	if _, port, err := net.SplitHostPort(peer); err == nil && a.Domain != "" {
		peer = net.JoinHostPort(a.Domain, port)
	}
	if peer != "" {
		s += ", " + arrow(a.Direction) + " " + a.Proto + " " + peer
	}
	return s
}

func newAlertState(io stdio, word, short string, state event.AlertState) *cobra.Command {
	var opts AlertsOptions
	cmd := &cobra.Command{
		Use: word + " ID…", Short: short,
		Example: "  snitch alerts " + word + " 17 18",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usageError(fmt.Errorf("%s needs the number of an alert", cmd.CommandPath()), "'snitch alerts' lists them")
			}
			return nil
		},
		ValidArgsFunction: func(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
			return completeAlerts(cmd.Context(), opts.State), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return runAlertState(cmd.Context(), io, opts, args, state)
		},
	}
	dirFlag(cmd, &opts.State, "state", config.DefaultState, "state directory of the daemon")
	return cmd
}

// completeAlerts lists the alerts that nobody has seen.
func completeAlerts(ctx context.Context, state string) []string {
	if ctx == nil {
		ctx = context.Background()
	}
	db, err := query.Open(ctx, filepath.Join(state, schema.FileName), nil)
	if err != nil {
		return nil
	}
	defer db.Close()
	list, err := db.Alerts(ctx, query.AlertQuery{State: event.AlertNew, Limit: 100})
	if err != nil {
		return nil
	}
	out := make([]string, len(list))
	for i := range list {
		out[i] = cobra.CompletionWithDesc(strconv.FormatInt(list[i].ID, 10), text.Clean(list[i].Rule+" "+list[i].Exe))
	}
	return out
}

// runAlertState asks the daemon, which is the only writer while it runs.
func runAlertState(ctx context.Context, io stdio, opts AlertsOptions, args []string, state event.AlertState) error {
	ids := make([]int64, len(args))
	for i, a := range args {
		id, err := alertNumber(a)
		if err != nil {
			return err
		}
		ids[i] = id
	}
	err := setAlerts(ctx, opts.State, ids, state)
	switch {
	case errors.Is(err, control.ErrForbidden), errors.Is(err, fs.ErrPermission):
		return errorWithHint(err, "run it with sudo, or join group snitch")
	case errors.Is(err, fs.ErrNotExist):
		return databaseError(fmt.Errorf("set alerts: %w", query.ErrNotThere))
	case errors.Is(err, store.ErrNoAlert):
		return errorWithHint(err, "'snitch alerts --only all' lists them")
	case err != nil:
		return err
	}
	return write(io.out, text.Plural(uint64(len(ids)), "alert")+" "+state.String()+"\n")
}

func alertNumber(s string) (int64, error) {
	id, err := strconv.ParseInt(s, 10, 64)
	if err != nil || id < 1 {
		return 0, usageError(fmt.Errorf("%q is no number of an alert", s), "'snitch alerts' lists them")
	}
	return id, nil
}
