package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
	"gopkg.in/yaml.v3"

	"snitch/cmd/internal/config"
	"snitch/policy/explain"
	"snitch/policy/rule"
	"snitch/policy/suite"
	native "snitch/policy/table"
)

// PolicyExplainOptions are the flags of `snitch policy explain`.
type PolicyExplainOptions struct {
	Facts map[string]*string // of the process, by the key of a test case
	Novel []string
	To    string
	From  string
	Dir   string
	At    string
	Rules string
	State string
	Last  bool
	JSON  bool
}

// explainFlags are the flags of the process that are facts as they are.
var explainFlags = []struct{ name, usage string }{
	{"exe", "path of the executable"}, {"sha256", "SHA-256 of the executable"}, {"kind", "what runs: file, deleted, memfd, kernel, unknown"},
	{"name", "name that the kernel shows"}, {"cmdline", "command line"}, {"script", "script that an interpreter runs, or none"},
	{"user", "name of the user"}, {"uid", "id of the user"}, {"unit", "systemd unit, or none"}, {"container", "id of the container, or none"},
	{"cgroup", "path of the cgroup"}, {"package", "package that owns the executable, or none"},
	{"reputation", "what VirusTotal said of the executable"},
}

func newPolicyExplain(io stdio) *cobra.Command {
	opts := PolicyExplainOptions{Facts: map[string]*string{}}
	cmd := &cobra.Command{
		Use:   "explain [--exe PATH …] --to PROTO://NAME[ADDRESS]:PORT | - | --last",
		Short: "Say why a connection is decided as it is",
		Long: `Say what the rules decide about one connection and why: the winner, what else
matched, the rules that nearly did and the one condition that failed, and the
smallest change that would have made it another decision.

The connection is given by flags, or with "-" as a line of 'snitch log --json' on
standard input, or it is the last one that was denied or alerted (--last). A fact
that is not given is unknown, and a condition on it does not match.
`,
		Example: `  snitch policy explain --exe /usr/bin/git --user ci --to "tcp://github.com[140.82.112.5]:443"
  snitch policy explain --exe /usr/sbin/sshd --from tcp://203.0.113.9:50000 --rules rules/
  snitch log --json --limit 1 | snitch policy explain -
  snitch policy explain --last`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			return runPolicyExplain(cmd.Context(), io, opts, args)
		},
	}
	f := cmd.Flags()
	for _, fact := range explainFlags {
		opts.Facts[fact.name] = f.String(fact.name, "", fact.usage)
	}
	opts.Facts["parent"] = f.String("parent", "", "path of the executable of its parent")
	f.StringVar(&opts.To, "to", "", "the other end: tcp://name[address]:port, udp://address:port, tcp://[v6]:port")
	f.StringVar(&opts.From, "from", "", "the end that began, as --to")
	choiceFlag(cmd, &opts.Dir, "direction", "", "who began; out beside --to, in beside --from alone", "out", "in", "listen")
	f.StringSliceVar(&opts.Novel, "novelty", nil, "what was never seen before: program, hash, parent, destination, listener")
	f.StringVar(&opts.At, "at", "", "time of the decision, RFC 3339; now without it")
	dirFlag(cmd, &opts.Rules, "rules", "", "directory of rules; without it those that decided (--last), else the working directory, if it has rules, else the configured one")
	dirFlag(cmd, &opts.State, "state", config.DefaultState, "state directory of the daemon, for --last")
	f.BoolVar(&opts.Last, "last", false, "the last connection that was denied or alerted")
	jsonFlag(cmd, &opts.JSON, "print one JSON object")
	complete(cmd, "novelty", cobra.FixedCompletions([]string{"program", "hash", "parent", "destination", "listener"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func runPolicyExplain(ctx context.Context, io stdio, opts PolicyExplainOptions, args []string) error {
	f, now, set, err := opts.facts(ctx, io, args)
	if err != nil {
		return err
	}
	if opts.Rules != "" {
		p, err := loadPolicy([]string{opts.Rules})
		if err != nil {
			return loadFailure(io, "pretty", p, err)
		}
		set = p.Set
	}
	return explainFacts(ctx, io, f, now, set, opts.JSON)
}

// explainFacts says what a set decides about facts, nil for the rules in the
// working directory or the configured ones, and why.
func explainFacts(ctx context.Context, io stdio, f *rule.Facts, now time.Time, set *rule.Set, asJSON bool) error {
	if set == nil {
		p, err := loadPolicy(nil)
		if err != nil {
			return loadFailure(io, "pretty", p, err)
		}
		set = p.Set
	}
	e, err := explanation(ctx, f, now, set)
	if err != nil {
		return err
	}
	if asJSON {
		return printJSON(io.out, e)
	}
	return write(io.out, e.Text())
}

// explanation is why a set decides about facts as it does, checked against OPA.
func explanation(ctx context.Context, f *rule.Facts, now time.Time, set *rule.Set) (*explain.Explanation, error) {
	opa, err := suite.NewOPA(ctx, set)
	if err != nil {
		return nil, fmt.Errorf("compile rules: %w", err)
	}
	votes, err := opa.Votes(ctx, f, now)
	if err != nil {
		return nil, fmt.Errorf("decide: %w", err)
	}
	said := set.Combine(votes, now)
	e := explain.Explain(native.Compile(set), f, now, votes.Custom...)
	if e.Action != said.Action.String() || e.Rule != said.Rule {
		return nil, fmt.Errorf("OPA says %s by %q, the explanation %s by %q: please report this", said.Action, said.Rule, e.Action, e.Rule)
	}
	return e, nil
}

// facts are those that flags, a line of the log or the record name; the record
// also tells which rules decided.
func (o *PolicyExplainOptions) facts(ctx context.Context, io stdio, args []string) (*rule.Facts, time.Time, *rule.Set, error) {
	switch {
	case o.Last:
		return lastDecided(ctx, o.State)
	case len(args) == 1 && args[0] == "-":
		f, err := readFacts(io.in)
		return f, time.Now(), nil, err
	case len(args) == 1:
		return nil, time.Time{}, nil, usageError(fmt.Errorf("%q is no connection", args[0]), "name one by --to, by - and a line of 'snitch log --json', or by --last")
	case o.To == "" && o.From == "":
		return nil, time.Time{}, nil, usageError(errors.New("no connection is named"), "say --to tcp://example.org:443, or --last")
	}
	f, at, err := o.typed()
	return f, at, nil, err
}

// typed reads the flags as the facts of a test case, so that both take the same
// forms and say the same about a mistake.
func (o *PolicyExplainOptions) typed() (*rule.Facts, time.Time, error) {
	process := map[string]any{}
	for name, value := range o.Facts {
		switch {
		case *value == "":
		case name == "parent":
			process[name] = map[string]any{"exe": *value}
		default:
			process[name] = *value
		}
	}
	when := map[string]any{}
	if len(process) > 0 {
		when["process"] = process
	}
	for key, value := range map[string]string{"to": o.To, "from": o.From, "direction": o.Dir} {
		if value != "" {
			when[key] = value
		}
	}
	if len(o.Novel) > 0 {
		when["novelty"] = o.Novel
	}
	c := map[string]any{"name": "explain", "when": when, "expect": map[string]any{"action": "allow"}}
	if o.At != "" {
		c["at"] = o.At
	}
	text, err := yaml.Marshal(struct {
		Version int              `yaml:"version"`
		Cases   []map[string]any `yaml:"cases"`
	}{1, []map[string]any{c}})
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("write facts: %w", err)
	}
	loaded, err := rule.Parse("flags_test.yaml", text)
	if err != nil {
		return nil, time.Time{}, usageError(flagFaults(err), "run 'snitch policy explain --help' for examples")
	}
	one := loaded.Tests[0].Cases[0]
	if one.At.IsZero() {
		one.At = time.Now()
	}
	return &one.Facts, one.At, nil
}

// flagFaults are faults of a file that nobody wrote, without their places.
func flagFaults(err error) error {
	var faults *rule.Errors
	if !errors.As(err, &faults) {
		return err
	}
	var out []error
	for _, f := range faults.List {
		out = append(out, errors.New(f.Msg))
	}
	return errors.Join(out...)
}

// maxLine bounds a line of the log.
const maxLine = 1 << 20

// readFacts reads the first line of standard input.
func readFacts(in io.Reader) (*rule.Facts, error) {
	b, err := io.ReadAll(io.LimitReader(in, maxLine+1))
	if err != nil {
		return nil, fmt.Errorf("read standard input: %w", err)
	}
	if len(b) > maxLine {
		return nil, usageError(fmt.Errorf("standard input is larger than %d bytes", maxLine), "give it one line of 'snitch log --json'")
	}
	return lineFacts(b)
}
