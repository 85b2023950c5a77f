package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"snitch/policy/rego"
	"snitch/policy/rego/custom"
	"snitch/policy/rule"
)

func newPolicySchema(io stdio) *cobra.Command {
	kinds := []string{"rules", "tests", "input"}
	return &cobra.Command{
		Use:   "schema [rules|tests|input]",
		Short: "Print the JSON Schema of rule files, of test files, or of custom Rego's input",
		Long: `Print the JSON Schema (2020-12) of rule files, of test files, or of the input that
custom Rego sees. Editors complete and check by it; for the YAML language server the
first line of a file of rules is

  # yaml-language-server: $schema=snitch-rules.schema.json`,
		Example:   "  snitch policy schema > snitch-rules.schema.json\n  snitch policy schema tests > snitch-tests.schema.json",
		ValidArgs: kinds,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usageError(fmt.Errorf("schema wants one word, got %d", len(args)), "say "+strings.Join(kinds, ", "))
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				args = kinds[:1]
			}
			return runPolicySchema(io, args[0])
		},
	}
}

func runPolicySchema(io stdio, kind string) error {
	switch kind {
	case "rules":
		return write(io.out, string(rule.Schema()))
	case "tests":
		return write(io.out, string(rule.TestSchema()))
	case "input":
		return write(io.out, string(custom.Schema))
	}
	return usageError(fmt.Errorf("no schema of %q", kind), "say rules, tests or input")
}

func newPolicyExport(io stdio) *cobra.Command {
	return &cobra.Command{
		Use:   "export [DIR|FILE…]",
		Short: "Print the Rego that the rules become",
		Long: `Print the Rego module that is generated from the rules, as OPA compiles it. Globs,
networks, ports and names are matched before, once for all rules: the module asks
for the text of such a condition, as its comments say.
` + rulesHelp,
		Example:           "  snitch policy export rules/ > policy.rego",
		Args:              cobra.ArbitraryArgs,
		ValidArgsFunction: completeRules,
		RunE:              func(cmd *cobra.Command, args []string) error { return runPolicyExport(cmd.Context(), io, args) },
	}
}

func runPolicyExport(_ context.Context, io stdio, args []string) error {
	p, err := loadPolicy(args)
	if err != nil {
		return loadFailure(io, "pretty", p, err)
	}
	text, err := rego.Export(p.Set)
	if err != nil {
		return fmt.Errorf("export rules: %w", err)
	}
	return write(io.out, string(text))
}
