package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"snitch/cmd/internal/text"
)

// rangeOptions are --since and --until.
type rangeOptions struct {
	Since string
	Until string
}

// flags adds them to a command; what is what they bound.
func (o *rangeOptions) flags(cmd *cobra.Command, active, began string) {
	cmd.Flags().StringVar(&o.Since, "since", "", "only what "+active+" since: 10m, 7d, 2026-07-01, \"2026-07-01 08:00\", 08:00")
	cmd.Flags().StringVar(&o.Until, "until", "", "only what "+began+" before: as --since")
	for _, flag := range []string{"since", "until"} {
		complete(cmd, flag, cobra.FixedCompletions([]string{"10m", "1h", "1d", "7d"}, cobra.ShellCompDirectiveNoFileComp))
	}
}

// parse reads them; a time that is not given is zero.
func (o *rangeOptions) parse(now time.Time) (since, until time.Time, err error) {
	for _, v := range []struct {
		name, from string
		to         *time.Time
	}{{"since", o.Since, &since}, {"until", o.Until, &until}} {
		if v.from == "" {
			continue
		}
		if *v.to, err = text.ParseTime(v.from, now); err != nil {
			return since, until, usageError(fmt.Errorf("--%s: %w", v.name, err), "for the last hour say --since 1h")
		}
	}
	return since, until, nil
}
