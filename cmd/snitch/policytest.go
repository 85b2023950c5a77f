package main

import (
	"context"
	"fmt"
	"regexp"
	"time"

	"github.com/spf13/cobra"

	reports "snitch/policy/report"
	"snitch/policy/suite"
)

// PolicyTestOptions are the flags of `snitch policy test`.
type PolicyTestOptions struct {
	Format       string
	Run          string
	MinCoverage  float64
	RequireTests bool
	Mutate       bool
	Verbose      bool
}

func newPolicyTest(io stdio) *cobra.Command {
	var opts PolicyTestOptions
	cmd := &cobra.Command{
		Use:   "test [DIR|FILE…]",
		Short: "Run the tests that stand beside the rules",
		Long: `Run the cases of *_test.yaml and the tests of *_test.rego against the rules, decided
by OPA as the daemon does, and say which rules they cover.

--mutate tries the tests themselves: it puts one small mistake after another into
the rules (another action or mode, a condition or exception dropped, a host or
port widened, the rule removed) and lists those that no test notices.
` + rulesHelp,
		Example: `  snitch policy test
  snitch policy test --run github rules/
  snitch policy test --format junit --min-coverage 90 --require-tests rules/ > report.xml
  snitch policy test --format github rules/
  snitch policy test --mutate rules/`,
		Args:              cobra.ArbitraryArgs,
		ValidArgsFunction: completeRules,
		RunE: func(cmd *cobra.Command, args []string) error {
			return runPolicyTest(cmd.Context(), io, opts, args)
		},
	}
	choiceFlag(cmd, &opts.Format, "format", "pretty", "how to report", "pretty", "json", "junit", "tap", "sarif", "github")
	f := cmd.Flags()
	f.StringVar(&opts.Run, "run", "", "only tests whose name matches this regular expression")
	f.Float64Var(&opts.MinCoverage, "min-coverage", 0, "fail when fewer rules, in percent, decide a case")
	f.BoolVar(&opts.RequireTests, "require-tests", false, "fail when a file of rules has no test")
	f.BoolVar(&opts.Mutate, "mutate", false, "list the mistakes in rules that no test would notice")
	f.BoolVarP(&opts.Verbose, "verbose", "v", false, "show tests that pass, too")
	for _, flag := range []string{"run", "min-coverage"} {
		complete(cmd, flag, cobra.NoFileCompletions)
	}
	return cmd
}

func runPolicyTest(ctx context.Context, io stdio, opts PolicyTestOptions, args []string) error {
	cfg := suite.Config{Now: time.Now(), MinCoverage: opts.MinCoverage, RequireTests: opts.RequireTests, Mutate: opts.Mutate}
	if opts.MinCoverage < 0 || opts.MinCoverage > 100 {
		return usageError(fmt.Errorf("--min-coverage %g is no percentage", opts.MinCoverage), "say a number from 0 to 100")
	}
	if opts.Run != "" {
		var err error
		if cfg.Run, err = regexp.Compile(opts.Run); err != nil {
			return usageError(fmt.Errorf("--run: %w", err), "say a regular expression, such as 'github|gitlab'")
		}
	}
	p, err := loadPolicy(args)
	if err != nil {
		return loadFailure(io, opts.Format, p, err)
	}
	cfg.Set, cfg.Tests = p.Set, p.Tests
	if cfg.Voter, err = suite.NewOPA(ctx, p.Set); err != nil {
		return loadFailure(io, opts.Format, p, err)
	}
	if cfg.Rego, err = suite.RegoTests(ctx, p.Set); err != nil {
		return loadFailure(io, opts.Format, p, err)
	}
	rep, err := suite.Run(ctx, cfg)
	if err != nil {
		return err
	}
	if err := printTests(io, opts, p.place, rep); err != nil {
		return err
	}
	switch {
	case !rep.OK():
		return errAnswerNo
	case len(rep.Results) == 0:
		show(io.err, "no test was run", "tests are cases in files named *_test.yaml: see docs/policy-commands.md")
	}
	return nil
}

func printTests(io stdio, opts PolicyTestOptions, place reports.Place, rep *suite.Report) error {
	switch opts.Format {
	case "json":
		return suite.JSON(io.out, place, rep)
	case "junit":
		return suite.JUnit(io.out, place, rep)
	case "tap":
		return suite.TAP(io.out, place, rep)
	case "sarif":
		return reports.SARIF(io.out, place, policyTool(), rep.Findings())
	case "github":
		return reports.GitHub(io.out, place, rep.Findings())
	}
	return suite.Pretty(io.out, place, styleOf(io.out), opts.Verbose, rep)
}
