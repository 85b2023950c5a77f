package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"snitch/cmd/internal/control"
	"snitch/cmd/internal/text"
	"snitch/enforce"
	"snitch/monitor/event"
	"snitch/policy/history"
	reports "snitch/policy/report"
	"snitch/policy/rule"
)

// EnforceOnOptions are the flags of `snitch enforce on`.
type EnforceOnOptions struct {
	EnforceOptions
	Confirm string
	Since   string
	Yes     bool
	Force   bool
	DryRun  bool
}

func newEnforceOn(io stdio) *cobra.Command {
	var opts EnforceOnOptions
	cmd := &cobra.Command{
		Use:   "on",
		Short: "Deny what the rules deny, now and after restarts",
		Long: `Deny what the rules deny, now and after restarts. It beats the configuration, but not
--mode of a run.

First it shows what these rules would have denied of what the machine did lately,
and asks. With --confirm it is rolled back when nobody says 'snitch enforce
confirm' in time: also when the daemon was killed meanwhile, at its next start.
Until it is confirmed, a daemon that dies lets everything pass.

Your SSH session, and new ones from the same address, are not denied
(enforce.protect_ssh). Rules that deny all of the host everything are refused,
and so are rules that cannot be enforced on this host, both but for --force.`,
		Example: `  sudo snitch enforce on --dry-run --since 30d
  sudo snitch enforce on --confirm 60s
  sudo snitch enforce on --yes`,
		Args: noArgs, ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error { return runEnforceOn(cmd.Context(), io, opts) },
	}
	opts.flags(cmd)
	f := cmd.Flags()
	f.StringVar(&opts.Confirm, "confirm", "", "roll back unless confirmed within this time: 60s, 10m")
	f.StringVar(&opts.Since, "since", "7d", "look at what happened since, to show what would be denied")
	f.BoolVar(&opts.Yes, "yes", false, "do not ask")
	f.BoolVar(&opts.Force, "force", false, "also with rules that allow nothing, or that cannot all be enforced here")
	f.BoolVar(&opts.DryRun, "dry-run", false, "only show what would be denied; 1 is the exit code if anything")
	complete(cmd, "confirm", cobra.FixedCompletions([]string{"60s", "5m", "1h"}, cobra.ShellCompDirectiveNoFileComp))
	complete(cmd, "since", cobra.FixedCompletions([]string{"1d", "7d", "30d"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// order is what to ask the daemon for.
func (o *EnforceOnOptions) order() (control.EnforceOrder, error) {
	out := control.EnforceOrder{Do: control.EnforceOn, Force: o.Force}
	if o.Confirm == "" {
		return out, nil
	}
	d, err := text.ParseDuration(o.Confirm)
	if err == nil && (d < enforce.MinConfirm || d > enforce.MaxConfirm) {
		err = fmt.Errorf("%s is not between %s and %s", o.Confirm, text.Duration(enforce.MinConfirm), text.Duration(enforce.MaxConfirm))
	}
	if err != nil {
		return out, usageError(fmt.Errorf("--confirm: %w", err), "say --confirm 60s")
	}
	out.Confirm = d
	return out, nil
}

func runEnforceOn(ctx context.Context, io stdio, opts EnforceOnOptions) error {
	o, err := opts.order()
	if err != nil {
		return err
	}
	if !opts.DryRun {
		if done, err := opts.ready(ctx, io); done || err != nil {
			return err
		}
	}
	denied, set, err := opts.preview(ctx, io)
	if err != nil {
		return err
	}
	if set != nil && enforce.LocksOut(set, time.Now()) && !opts.Force {
		return errorWithHint(enforce.ErrLockOut, "allow what the host needs first ('snitch policy learn' drafts it), or insist with --force")
	}
	if opts.DryRun {
		if opts.JSON {
			err = printJSON(io.out, map[string]any{"would_deny": emptyGroups(denied)})
		}
		if err == nil && len(denied) > 0 {
			err = errAnswerNo
		}
		return err
	}
	if err := opts.agree(io); err != nil {
		return err
	}
	return order(ctx, io, opts.EnforceOptions, o)
}

// ready finds out whether there is anything to turn on; done says that it is on.
func (o *EnforceOnOptions) ready(ctx context.Context, io stdio) (done bool, err error) {
	st, err := control.NewClient(o.State).Status(ctx)
	switch {
	case err != nil:
		return false, enforceError(err)
	case st.Enforce == nil || st.Enforce.Backend == nil:
		return false, enforceError(fmt.Errorf("%w: %w", control.ErrNoEnforcement, enforce.ErrNoBackend))
	case st.Enforce.Mode == modeEnforce && st.Enforce.Armed:
		return false, errorWithHint(enforce.ErrArmed, "'snitch enforce confirm' keeps it, 'snitch enforce off' ends it")
	case st.Enforce.Mode != modeEnforce || st.Enforce.Source == enforce.SourceConfig.String():
		return false, nil
	case o.JSON:
		return true, printJSON(io.out, st.Enforce)
	}
	return true, write(io.out, "it is on already\n"+enforceLines(st.Enforce, time.Now()))
}

// preview tells what the rules in use would have denied lately. The set is nil
// when the record does not keep it.
func (o *EnforceOnOptions) preview(ctx context.Context, io stdio) ([]history.Group, *rule.Set, error) {
	window := HistoryOptions{State: o.State, Since: o.Since}
	rows, err := window.open(ctx, nil)
	if err != nil {
		return nil, nil, err
	}
	defer rows.db.Close()
	sets, err := rows.db.RuleSets(ctx)
	if err != nil {
		return nil, nil, databaseError(err)
	}
	if len(sets) == 0 {
		return nil, nil, write(io.err, "the record keeps no rules: what they would have denied cannot be told\n")
	}
	set, err := rows.ruleSet(ctx, sets[0]) // that loaded last
	if err != nil {
		return nil, nil, databaseError(err)
	}
	progress, end := rows.progress(ctx, io.err)
	denied, err := wouldDeny(ctx, rows, set, progress)
	end()
	if err != nil {
		return nil, nil, historyError(err)
	}
	if o.JSON {
		return denied, set, nil
	}
	return denied, set, write(io.out, previewLines(styleOf(io.out), denied, o.Since))
}

// wouldDeny decides recorded rows by set, protected rules included, and returns
// those that it denies. They are found as what it changes of a policy that
// allows all.
func wouldDeny(ctx context.Context, rows history.Source, set *rule.Set, progress history.Progress) ([]history.Group, error) {
	candidate, err := set, error(nil)
	if !hasProtected(set) { // else it was recorded while it was enforced
		if candidate, err = alsoProtected(set); err != nil {
			return nil, err
		}
	}
	open := rule.NewSet([]rule.Rule{{ID: "everything", Action: event.ActionAllow, Mode: event.ModeEnforce}}, nil, nil, nil)
	r, err := history.Compare(ctx, rows, history.NewPolicy(open, &lazyOPA{set: open}), history.NewPolicy(candidate, &lazyOPA{set: candidate}), progress)
	if err != nil {
		return nil, err
	}
	if failed := r.Of(history.CauseFailed); failed.Connections > 0 {
		return nil, fmt.Errorf("the rules could not decide %s", text.Plural(failed.Connections, "connection"))
	}
	return r.Denied, nil
}

func previewLines(style reports.Style, denied []history.Group, since string) string {
	if len(denied) == 0 {
		return fmt.Sprintf("of what happened since %s, nothing would have been denied\n", text.Clean(since))
	}
	sums := history.Total(denied)
	var b strings.Builder
	fmt.Fprintf(&b, "of what happened since %s, %s: %s\n", text.Clean(since), style.Paint(reports.Red, "would have been denied"), amounts(&sums))
	for i := range denied[:min(len(denied), maxGroups)] {
		g := &denied[i]
		fmt.Fprintf(&b, "  %s → %s: %s (%s)\n", text.Clean(g.Program), text.Clean(g.Destination), amounts(&g.Sums), by(g.RuleAfter))
	}
	if more := len(denied) - maxGroups; more > 0 {
		fmt.Fprintf(&b, "  and %d more: see --json\n", more)
	}
	return b.String()
}

func emptyGroups(groups []history.Group) []history.Group {
	if groups == nil {
		return []history.Group{}
	}
	return groups
}

// agree asks a person; a script says --yes.
func (o *EnforceOnOptions) agree(io stdio) error {
	if o.Yes {
		return nil
	}
	if in, ok := io.in.(*os.File); !ok || !isTerminal(in) || !isTerminal(io.out) {
		return usageError(errors.New("this is no terminal, so nobody can be asked"), "look at it with --dry-run, then say --yes")
	}
	if err := write(io.out, "Deny this from now on? [y/N] "); err != nil {
		return err
	}
	answer, err := bufio.NewReader(io.in).ReadString('\n')
	if err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return nil
	}
	return errors.New("nothing was changed")
}
