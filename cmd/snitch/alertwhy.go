package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"snitch/cmd/internal/config"
	"snitch/monitor/event"
	"snitch/monitor/store/query"
)

func newAlertWhy(io stdio) *cobra.Command {
	var opts AlertsOptions
	cmd := &cobra.Command{
		Use: "why ID", Short: "Say why an alert was raised",
		Long: `Say why the rules decided as they did about the connection with which an alert
began, as 'snitch policy explain' does: the record keeps both.`,
		Example: "  snitch alerts why 17",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usageError(fmt.Errorf("%s needs the number of one alert", cmd.CommandPath()), "'snitch alerts' lists them")
			}
			return nil
		},
		ValidArgsFunction: func(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
			return completeAlerts(cmd.Context(), opts.State), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error { return runAlertWhy(cmd.Context(), io, opts, args[0]) },
	}
	dirFlag(cmd, &opts.State, "state", config.DefaultState, "state directory of the daemon")
	jsonFlag(cmd, &opts.JSON, "print one JSON object")
	return cmd
}

func runAlertWhy(ctx context.Context, io stdio, opts AlertsOptions, number string) error {
	id, err := alertNumber(number)
	if err != nil {
		return err
	}
	rows, err := (&HistoryOptions{State: opts.State}).open(ctx, nil)
	if err != nil {
		return err
	}
	defer rows.db.Close()
	list, err := rows.db.Alerts(ctx, query.AlertQuery{ID: id})
	switch {
	case err != nil:
		return databaseError(err)
	case len(list) == 0:
		return errorWithHint(fmt.Errorf("there is no alert %d", id), "'snitch alerts --only all' lists them")
	}
	a := &list[0]
	if a.Kind == event.AlertError || a.Kind == event.AlertConfig || a.Opened.IsZero() {
		return write(io.out, alertLines(a)) // all that there is to say
	}
	f, at, set, err := rows.decided(ctx, a.Opened, a.Rule)
	if err != nil {
		return err
	}
	if f == nil {
		return errorWithHint(fmt.Errorf("the record no longer has the connection of alert %d", id), "what it was: 'snitch alerts --only all'; how long it is kept: retention, in the configuration")
	}
	return explainFacts(ctx, io, f, at, set, opts.JSON)
}
