package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"snitch/policy/history"
)

// PolicyReplayOptions are the flags of `snitch policy replay`.
type PolicyReplayOptions struct {
	HistoryOptions
	Candidate string
	FailOn    string
	Format    string
}

func newPolicyReplay(io stdio) *cobra.Command {
	var opts PolicyReplayOptions
	cmd := &cobra.Command{
		Use:   "replay [FILTER…]",
		Short: "Decide recorded connections again",
		Long: `Decide what the machine did again. With --candidate, by those rules: what they would
newly deny, alert and allow, by program and destination. Without, by the rules that
decided it then, which the record keeps: all must come out the same.

Connections that cannot be decided again are counted by cause: the record lacks
their rules or facts, or a fact changed after the decision. A FILTER selects
connections as for 'snitch log'.

The exit code is 1 when a candidate newly denies something (--fail-on), or when a
replay does not come out the same.`,
		Example: `  snitch policy replay --since 7d --candidate rules/
  snitch policy replay --history snitch.db --candidate rules/ --fail-on changed
  snitch policy replay --since 1d`,
		Args:              cobra.ArbitraryArgs,
		ValidArgsFunction: completeFilter,
		RunE: func(cmd *cobra.Command, args []string) error {
			return runPolicyReplay(cmd.Context(), io, opts, args)
		},
	}
	opts.flags(cmd)
	dirFlag(cmd, &opts.Candidate, "candidate", "", "rules to decide by, a directory or file; without it, those of then")
	choiceFlag(cmd, &opts.FailOn, "fail-on", "denied", "when a candidate ends in exit code 1", "denied", "changed", "never")
	choiceFlag(cmd, &opts.Format, "format", "pretty", "how to report", "pretty", "json")
	return cmd
}

func runPolicyReplay(ctx context.Context, io stdio, opts PolicyReplayOptions, filters []string) error {
	var by *history.Policy
	if opts.Candidate != "" {
		var err error
		if _, by, err = candidate(ctx, io, opts.Candidate); err != nil {
			return err
		}
	}
	rows, err := opts.open(ctx, filters)
	if err != nil {
		return err
	}
	defer rows.db.Close()
	rules, err := rows.rules(ctx)
	if err != nil {
		return databaseError(err)
	}
	progress, done := rows.progress(ctx, io.err)
	var rep *history.Report
	if by == nil {
		rep, err = history.Replay(ctx, rows, rules, progress)
	} else {
		rep, err = history.Try(ctx, rows, rules, by, progress)
	}
	done()
	if err != nil {
		return historyError(err)
	}
	if opts.Format == "json" {
		err = printJSON(io.out, emptyLists(rep))
	} else {
		err = write(io.out, differences(styleOf(io.out), rep))
	}
	switch {
	case err != nil:
		return err
	case by == nil && (rep.Differs() || len(rep.Otherwise) > 0):
		return errorWithHint(errors.New("the rules of then do not come to the recorded decisions"), "this is a fault of snitch: please report it")
	case by != nil && failsOn(opts.FailOn, rep):
		return errAnswerNo
	}
	return nil
}

// historyError says what to do, and does not take an interrupted reading for
// an answer.
func historyError(err error) error {
	if errors.Is(err, context.Canceled) {
		return errors.New("interrupted")
	}
	return databaseError(fmt.Errorf("go over the record: %w", err))
}
