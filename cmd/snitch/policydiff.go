package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"snitch/cmd/internal/text"
	"snitch/policy/history"
	reports "snitch/policy/report"
)

// PolicyDiffOptions are the flags of `snitch policy diff`.
type PolicyDiffOptions struct {
	HistoryOptions
	OnHistory bool // --state or --history was given
	Format    string
}

// PolicyDiff is what `snitch policy diff --format json` prints.
type PolicyDiff struct {
	Rules   []history.Change `json:"rules"`
	History *history.Report  `json:"history"` // null without a history
}

func newPolicyDiff(io stdio) *cobra.Command {
	var opts PolicyDiffOptions
	cmd := &cobra.Command{
		Use:   "diff A B [FILTER…]",
		Short: "Show what two rule sets decide differently",
		Long: `Show which rules differ between the directories or files A and B. With --history or
--state, show also what B would have decided otherwise than A of what a machine
really did, by program and destination; a FILTER selects connections as for
'snitch log'.

The exit code is 1 when decisions differ, or without a history, when rules do.`,
		Example: `  snitch policy diff rules/ candidate/
  snitch policy diff rules/ candidate/ --state /var/lib/snitch --since 7d`,
		Args:              atLeastTwo,
		ValidArgsFunction: completeRules,
		RunE: func(cmd *cobra.Command, args []string) error {
			opts.OnHistory = cmd.Flags().Changed("state") || cmd.Flags().Changed("history")
			return runPolicyDiff(cmd.Context(), io, opts, args)
		},
	}
	opts.flags(cmd)
	choiceFlag(cmd, &opts.Format, "format", "pretty", "how to report", "pretty", "json")
	return cmd
}

// atLeastTwo wants two rule sets.
func atLeastTwo(cmd *cobra.Command, args []string) error {
	if len(args) >= 2 {
		return nil
	}
	return usageError(fmt.Errorf("%s compares two rule sets, got %d", cmd.CommandPath(), len(args)), "name two directories or files of rules")
}

func runPolicyDiff(ctx context.Context, io stdio, opts PolicyDiffOptions, args []string) error {
	a, before, err := candidate(ctx, io, args[0])
	if err != nil {
		return err
	}
	b, after, err := candidate(ctx, io, args[1])
	if err != nil {
		return err
	}
	out := PolicyDiff{Rules: append([]history.Change{}, history.Sets(a, b)...)}
	switch {
	case opts.OnHistory:
		rows, err := opts.open(ctx, args[2:])
		if err != nil {
			return err
		}
		defer rows.db.Close()
		progress, done := rows.progress(ctx, io.err)
		out.History, err = history.Compare(ctx, rows, before, after, progress)
		done()
		if err != nil {
			return historyError(err)
		}
		emptyLists(out.History)
	case len(args) > 2:
		return usageError(fmt.Errorf("%q selects connections, but there is no history", args[2]), "name one with --state or --history")
	}
	if opts.Format == "json" {
		err = printJSON(io.out, out)
	} else {
		err = write(io.out, formatDiff(styleOf(io.out), &out))
	}
	switch {
	case err != nil:
		return err
	case out.History != nil && out.History.Differs(), out.History == nil && len(out.Rules) > 0:
		return errAnswerNo
	}
	return nil
}

func formatDiff(style reports.Style, d *PolicyDiff) string {
	var b strings.Builder
	signs := map[string]string{"added": style.Paint(reports.Green, "+"), "removed": style.Paint(reports.Red, "-"), "changed": style.Paint(reports.Yellow, "~")}
	for _, c := range d.Rules {
		fmt.Fprintf(&b, "%s %s %s", signs[c.How], c.What, text.Clean(c.ID))
		if len(c.Keys) > 0 {
			fmt.Fprintf(&b, ": %s", strings.Join(c.Keys, ", "))
		}
		fmt.Fprintf(&b, " %s\n", style.Paint(reports.Dim, "("+text.Clean(c.At)+")"))
	}
	if len(d.Rules) == 0 {
		b.WriteString("the rules are the same\n")
	}
	if d.History != nil {
		b.WriteString(differences(style, d.History))
	}
	return b.String()
}
