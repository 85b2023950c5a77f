package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"snitch/cmd/internal/config"
	"snitch/cmd/internal/text"
	"snitch/enforce"
	"snitch/monitor/event"
	"snitch/monitor/store/query"
	"snitch/monitor/store/schema"
	"snitch/policy/bundle"
	"snitch/policy/rule"
)

// EnforcePromoteOptions are the flags of `snitch enforce promote`.
type EnforcePromoteOptions struct {
	State    string
	Rules    string
	All      bool
	Most     uint64
	Diff     bool
	JSON     bool
	Selected []string
}

func newEnforcePromote(io stdio) *cobra.Command {
	var opts EnforcePromoteOptions
	cmd := &cobra.Command{
		Use:   "promote RULE…|--all",
		Short: "Let rules of mode audit vote",
		Long: `Let rules and confinements of mode audit vote, if what they would have denied is
acceptable: at most --most times since the record began, which is none unless you
say so. The rule files are changed where they say "mode: audit", and nowhere else;
the daemon notices.

Files that are under git, or that may not be written to, are not changed: the
change is printed as a diff, for 'git apply' where they come from.`,
		Example: `  sudo snitch enforce promote no-paste
  sudo snitch enforce promote --all
  snitch enforce promote --all --diff --rules rules/ | git apply`,
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			return completeAudited(opts.Rules, args), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			opts.Selected = args
			return runEnforcePromote(cmd.Context(), io, opts)
		},
	}
	f := cmd.Flags()
	dirFlag(cmd, &opts.State, "state", config.DefaultState, "state directory of the daemon, whose record has the counters")
	dirFlag(cmd, &opts.Rules, "rules", "", "directory of rules; without it the working directory, if it has rules, else the configured one")
	f.BoolVar(&opts.All, "all", false, "all whose counters are acceptable")
	f.Uint64Var(&opts.Most, "most", 0, "how often a rule may have denied what happened")
	f.BoolVar(&opts.Diff, "diff", false, "print the change instead of making it")
	jsonFlag(cmd, &opts.JSON, "print one JSON object")
	complete(cmd, "most", cobra.NoFileCompletions)
	return cmd
}

// candidate is one rule of mode audit.
type auditedRule struct {
	ID        string `json:"rule"`
	Position  string `json:"position"`
	Hits      uint64 `json:"hits"`
	WouldDeny uint64 `json:"would_deny"`
	Promoted  bool   `json:"promoted"`
	Why       string `json:"why,omitempty"` // not

	file string
}

func runEnforcePromote(ctx context.Context, io stdio, opts EnforcePromoteOptions) error {
	if opts.All == (len(opts.Selected) > 0) {
		return usageError(errors.New("promote wants the ids of rules, or --all"), "'snitch enforce promote --all --diff' shows what it would do")
	}
	if opts.Rules == "" {
		opts.Rules = defaultRules()
	}
	snapshot, set, err := readSnapshot(opts.Rules)
	if err != nil {
		return err
	}
	counts, err := ruleCounts(ctx, opts.State)
	if err != nil {
		return err
	}
	list, err := opts.choose(audited(set, counts))
	if err != nil {
		return err
	}
	edits, err := promoted(snapshot, set, list)
	if err != nil {
		return err
	}
	if err := opts.make(io, edits); err != nil {
		return err
	}
	return opts.tell(io, list)
}

// readSnapshot reads and loads all rules of a directory, of one moment.
func readSnapshot(dir string) (*bundle.Snapshot, *rule.Set, error) {
	snapshot, err := bundle.Directory{Path: dir}.Read()
	if err != nil {
		return nil, nil, usageError(fmt.Errorf("read rules: %w", err), "name their directory with --rules")
	}
	set, err := loadSnapshot(snapshot)
	if err != nil {
		return nil, nil, usageError(err, "mend them first: 'snitch policy check'")
	}
	return snapshot, set, nil
}

func loadSnapshot(s *bundle.Snapshot) (*rule.Set, error) {
	files, err := s.FS()
	if err != nil {
		return nil, err
	}
	loaded, err := rule.Load(files, rule.Options{})
	if err != nil {
		return nil, err
	}
	return loaded.Set, nil
}

func ruleCounts(ctx context.Context, state string) (map[string]event.RuleCount, error) {
	db, err := query.Open(ctx, filepath.Join(state, schema.FileName), nil)
	if err != nil {
		return nil, databaseError(err)
	}
	defer db.Close()
	list, err := db.RuleCounts(ctx)
	if err != nil {
		return nil, databaseError(err)
	}
	out := make(map[string]event.RuleCount, len(list))
	for _, c := range list {
		out[c.Rule] = c
	}
	return out, nil
}

// audited lists the rules and confinements of mode audit, by id.
func audited(set *rule.Set, counts map[string]event.RuleCount) (list []auditedRule) {
	add := func(id string, mode event.Mode, pos rule.Position) {
		if mode == event.ModeAudit {
			c := counts[id]
			list = append(list, auditedRule{ID: id, Position: pos.String(), Hits: c.Hits, WouldDeny: c.WouldDeny, file: pos.File})
		}
	}
	for i := range set.Rules {
		add(set.Rules[i].ID, set.Rules[i].Mode, set.Rules[i].Pos)
	}
	for i := range set.Confine {
		add(set.Confine[i].ID, set.Confine[i].Mode, set.Confine[i].Pos)
	}
	slices.SortFunc(list, func(a, b auditedRule) int { return strings.Compare(a.ID, b.ID) })
	return list
}

// choose marks what is to be promoted, and says why the rest is not.
func (o *EnforcePromoteOptions) choose(list []auditedRule) ([]auditedRule, error) {
	for _, id := range o.Selected {
		if !slices.ContainsFunc(list, func(a auditedRule) bool { return a.ID == id }) {
			ids := make([]string, len(list))
			for i := range list {
				ids[i] = list[i].ID
			}
			hint := "'snitch enforce promote --all --diff' lists them"
			if near := text.Nearest(id, ids); near != "" {
				hint = fmt.Sprintf("did you mean %q?", near)
			}
			return nil, usageError(fmt.Errorf("no rule of mode audit has the id %q", id), hint)
		}
	}
	if !o.All {
		list = slices.DeleteFunc(list, func(a auditedRule) bool { return !slices.Contains(o.Selected, a.ID) })
	}
	for i := range list {
		a := &list[i]
		switch {
		case a.WouldDeny > o.Most:
			a.Why = fmt.Sprintf("it would have denied %s: --most %d accepts it", text.Plural(a.WouldDeny, "connection"), a.WouldDeny)
		default:
			a.Promoted = true
		}
	}
	return list, nil
}

// edit is one file, before and after.
type edit struct {
	path        string
	before, now []byte
}

// promoted makes the edits, and proves that they change the modes and nothing
// else.
func promoted(s *bundle.Snapshot, set *rule.Set, list []auditedRule) ([]edit, error) {
	var edits []edit
	changed := bundle.Snapshot{Source: s.Source, Files: slices.Clone(s.Files)}
	var ids []string
	for i := range changed.Files {
		f := &changed.Files[i]
		var here []string
		for _, a := range list {
			if a.Promoted && a.file == f.Path {
				here = append(here, a.ID)
			}
		}
		if len(here) == 0 {
			continue
		}
		out, done, err := enforce.Promote(f.Data, here)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.Path, err)
		}
		if len(done) != len(here) {
			return nil, fmt.Errorf("%s: %d of %d rules were found", f.Path, len(done), len(here))
		}
		ids = append(ids, here...)
		edits = append(edits, edit{f.Path, f.Data, out})
		f.Data = out
	}
	now, err := loadSnapshot(&changed)
	if err != nil {
		return nil, fmt.Errorf("the changed rules do not load, nothing was written: %w", err)
	}
	if want := withModes(set, ids); now.Revision != want.Revision {
		return nil, errors.New("the change would be another one than of these modes, nothing was written: please report it with the rules")
	}
	return edits, nil
}

// withModes is set with these rules enforced.
func withModes(set *rule.Set, ids []string) *rule.Set {
	rules, confine := slices.Clone(set.Rules), slices.Clone(set.Confine)
	for i := range rules {
		if slices.Contains(ids, rules[i].ID) {
			rules[i].Mode = event.ModeEnforce
		}
	}
	for i := range confine {
		if slices.Contains(ids, confine[i].ID) {
			confine[i].Mode = event.ModeEnforce
		}
	}
	var lists []*rule.List
	for _, l := range set.Lists {
		lists = append(lists, l)
	}
	return rule.NewSet(rules, confine, lists, slices.Clone(set.Modules))
}

// make writes the files, or prints the change where they are not ours to write.
func (o *EnforcePromoteOptions) make(io stdio, edits []edit) error {
	foreign := ""
	switch {
	case o.Diff:
		foreign = "--diff"
	case underGit(o.Rules):
		foreign = "they are under git"
	case slices.ContainsFunc(edits, func(e edit) bool { return unix.Access(filepath.Join(o.Rules, e.path), unix.W_OK) != nil }):
		foreign = "they may not be written to"
	}
	for _, e := range edits {
		var err error
		if foreign != "" && !o.JSON {
			err = write(io.out, unified(e))
		} else if foreign == "" {
			err = replaceFile(filepath.Join(o.Rules, e.path), e.now)
		}
		if err != nil {
			return err
		}
	}
	if foreign != "" && len(edits) > 0 {
		return write(io.err, fmt.Sprintf("the files were not changed (%s): apply the diff where they come from\n", foreign))
	}
	return nil
}

// underGit looks for a repository around a directory.
func underGit(dir string) bool {
	dir, err := filepath.Abs(dir)
	for err == nil {
		if _, err := os.Lstat(filepath.Join(dir, ".git")); err == nil {
			return true
		}
		up := filepath.Dir(dir)
		if up == dir {
			break
		}
		dir = up
	}
	return false
}

// tell lists what was and was not promoted; that a named rule was not is "no".
func (o *EnforcePromoteOptions) tell(io stdio, list []auditedRule) error {
	refused := false
	out := io.err // beside a diff
	for i := range list {
		a := &list[i]
		refused = refused || !a.Promoted
		what := "promoted"
		if !a.Promoted {
			what = "not promoted: " + a.Why
		}
		if o.JSON {
			continue
		}
		line := fmt.Sprintf("%s (%s): %s\n", text.Clean(a.ID), text.Clean(a.Position), text.Clean(what))
		if err := write(out, line); err != nil {
			return err
		}
	}
	if o.JSON {
		if list == nil {
			list = []auditedRule{}
		}
		if err := printJSON(io.out, map[string]any{"rules": list}); err != nil {
			return err
		}
	} else if len(list) == 0 {
		if err := write(out, "no rule is of mode audit\n"); err != nil {
			return err
		}
	}
	if refused && !o.All {
		return errAnswerNo
	}
	return nil
}

// completeAudited completes ids of rules of mode audit.
func completeAudited(dir string, given []string) []string {
	if dir == "" {
		dir = defaultRules()
	}
	_, set, err := readSnapshot(dir)
	if err != nil {
		return nil
	}
	var out []string
	for _, a := range audited(set, nil) {
		if !slices.Contains(given, a.ID) {
			out = append(out, a.ID)
		}
	}
	return out
}
