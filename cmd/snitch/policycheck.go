package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"snitch/policy/lint"
	reports "snitch/policy/report"
	"snitch/policy/rule"
	"snitch/policy/suite"
)

// PolicyCheckOptions are the flags of `snitch policy check`.
type PolicyCheckOptions struct {
	Format string
	Strict bool
	Quiet  bool
}

func newPolicyCheck(io stdio) *cobra.Command {
	var opts PolicyCheckOptions
	cmd := &cobra.Command{
		Use:   "check [DIR|FILE…]",
		Short: "Find rules that cannot be what was meant",
		Long: `Load the rules, compile them and look for what cannot be meant: rules that never
match, that another one always outvotes or makes superfluous, exceptions that
except nothing, allows that open every confinement, lists that nobody names, and
rules that the kernel's tables cannot decide alone, with the place and why.

Errors fail the command, with --strict warnings too. What is called dead, redundant
or shadowed can be removed without any decision changing.
` + rulesHelp,
		Example: `  snitch policy check rules/
  snitch policy check --strict --format github rules/
  snitch policy check --format sarif rules/ > rules.sarif`,
		Args:              cobra.ArbitraryArgs,
		ValidArgsFunction: completeRules,
		RunE: func(cmd *cobra.Command, args []string) error {
			return runPolicyCheck(cmd.Context(), io, opts, args)
		},
	}
	choiceFlag(cmd, &opts.Format, "format", "pretty", "how to report", "pretty", "json", "sarif", "github")
	cmd.Flags().BoolVar(&opts.Strict, "strict", false, "fail on warnings, too")
	cmd.Flags().BoolVarP(&opts.Quiet, "quiet", "q", false, "leave out what is only worth knowing")
	return cmd
}

func runPolicyCheck(ctx context.Context, io stdio, opts PolicyCheckOptions, args []string) error {
	p, err := loadPolicy(args)
	if err != nil {
		return loadFailure(io, opts.Format, p, err)
	}
	if _, err := suite.NewOPA(ctx, p.Set); err != nil { // that it compiles is part of the answer
		return loadFailure(io, opts.Format, p, err)
	}
	var findings []reports.Finding
	for _, f := range lint.Check(p.Set, lint.Config{Now: time.Now(), Warnings: p.Warnings, Expectations: expectations(p.Tests)}) {
		if !opts.Quiet || f.Level != reports.Info {
			findings = append(findings, f)
		}
	}
	if err := printFindings(io, opts.Format, p.place, findings); err != nil {
		return err
	}
	errs, warnings := reports.Count(findings, reports.Error), reports.Count(findings, reports.Warning)
	if opts.Format == "pretty" {
		sum := fmt.Sprintf("%d rules and confinements: %d errors, %d warnings\n", len(p.Set.Rules)+len(p.Set.Confine), errs, warnings)
		if err := write(io.out, sum); err != nil {
			return err
		}
	}
	if errs > 0 || opts.Strict && warnings > 0 {
		return errAnswerNo
	}
	return nil
}

func printFindings(io stdio, format string, place reports.Place, findings []reports.Finding) error {
	switch format {
	case "json":
		return reports.JSON(io.out, place, findings)
	case "sarif":
		return reports.SARIF(io.out, place, policyTool(), findings)
	case "github":
		return reports.GitHub(io.out, place, findings)
	}
	return reports.Pretty(io.out, place, styleOf(io.out), findings)
}

// expectations are the rules that tests name, nil when there are no tests.
func expectations(tests []rule.TestFile) map[string]rule.Position {
	if len(tests) == 0 {
		return nil
	}
	out := map[string]rule.Position{}
	add := func(id string, pos rule.Position) {
		if _, ok := out[id]; !ok && id != "" && id != rule.None {
			out[id] = pos
		}
	}
	for i := range tests {
		for _, c := range tests[i].Cases {
			add(c.Expect.Rule, c.Expect.Pos)
			for _, id := range c.Expect.Matches {
				add(id, c.Expect.Pos)
			}
		}
	}
	return out
}
