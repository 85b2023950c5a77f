package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"snitch/cmd/internal/text"
	"snitch/policy/history"
)

// PolicyLearnOptions are the flags of `snitch policy learn`.
type PolicyLearnOptions struct {
	HistoryOptions
	history.LearnOptions
	Format string
}

// Learned is what `snitch policy learn --format json` prints.
type Learned struct {
	Rules   string            `json:"rules"` // the draft, a file of rules
	Rows    history.Sums      `json:"rows"`
	Covered history.Sums      `json:"covered"`
	LeftOut []history.LeftOut `json:"left_out"`
}

func newPolicyLearn(io stdio) *cobra.Command {
	var opts PolicyLearnOptions
	cmd := &cobra.Command{
		Use:   "learn [FILTER…]",
		Short: "Draft rules that allow what was recorded",
		Long: `Draft the least rules that allow what the machine did, each with its evidence as a
comment, for a person to read, correct and sign. Programs are named by package, else
by path, with their unit, service account and the program that always starts them;
peers by name, registrable domain or network, only names that an allow may rest on;
ports one by one or as a range.

With --confine the programs may do nothing else. Deciding the same connections by the
draft denies none of them. What should not be allowed without a look is left out and
listed: removed or modified files, programs of unknown containers, the kernel.

A FILTER selects connections as for 'snitch log'. The draft goes to standard output.`,
		Example: `  snitch policy learn --since 7d > rules/learned.yaml
  snitch policy learn --since 7d --confine unit=nginx.service
  snitch policy learn --history snitch.db --min 3`,
		Args:              cobra.ArbitraryArgs,
		ValidArgsFunction: completeFilter,
		RunE: func(cmd *cobra.Command, args []string) error {
			return runPolicyLearn(cmd.Context(), io, opts, args)
		},
	}
	opts.flags(cmd)
	f := cmd.Flags()
	f.BoolVar(&opts.Confine, "confine", false, "also confine the programs to these rules")
	f.Uint64Var(&opts.Min, "min", 1, "leave out what was seen less often")
	f.IntVar(&opts.Subdomains, "subdomains", history.DefaultSubdomains, "so many names of one registrable domain become the domain")
	f.IntVar(&opts.Addresses, "addresses", history.DefaultAddresses, "so many addresses of one network (/24, /64) become the network")
	f.IntVar(&opts.Ports, "ports", history.DefaultPorts, "more ports than these become a range")
	choiceFlag(cmd, &opts.Format, "format", "yaml", "how to print", "yaml", "json")
	for _, flag := range []string{"min", "subdomains", "addresses", "ports"} {
		complete(cmd, flag, cobra.NoFileCompletions)
	}
	return cmd
}

func runPolicyLearn(ctx context.Context, io stdio, opts PolicyLearnOptions, filters []string) error {
	if opts.Subdomains < 1 || opts.Addresses < 1 || opts.Ports < 1 {
		return usageError(fmt.Errorf("--subdomains %d, --addresses %d and --ports %d begin at 1", opts.Subdomains, opts.Addresses, opts.Ports), "leave them away for the defaults")
	}
	rows, err := opts.open(ctx, filters)
	if err != nil {
		return err
	}
	defer rows.db.Close()
	progress, done := rows.progress(ctx, io.err)
	draft, err := history.Learn(ctx, rows, opts.LearnOptions, progress)
	done()
	if err != nil {
		return historyError(err)
	}
	if draft.Rows.Connections == 0 {
		return errorWithHint(fmt.Errorf("there is nothing to learn from"), "widen --since, or the filters")
	}
	src, err := draft.Yaml()
	if err != nil {
		return fmt.Errorf("write draft: %w", err)
	}
	if opts.Format == "json" {
		return printJSON(io.out, Learned{string(src), draft.Rows, draft.Covered, append([]history.LeftOut{}, draft.LeftOut...)})
	}
	if err := write(io.out, string(src)); err != nil {
		return err
	}
	_, err = fmt.Fprintf(io.err, "%d of %s allowed by %s; read them before you sign them\n", draft.Covered.Connections,
		text.Plural(draft.Rows.Connections, "connection"), text.Plural(uint64(len(draft.Set.Rules)), "rule"))
	return err
}
