package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"slices"
	"strings"
	"time"

	"snitch/cmd/internal/broker"
	"snitch/cmd/internal/config"
	"snitch/cmd/internal/control"
	"snitch/monitor/event"
	"snitch/monitor/store"
	"snitch/policy"
	"snitch/policy/bundle"
	"snitch/policy/rule"
	"snitch/policy/suite"
	"snitch/rules"
)

// ruleSource is the directory of rules, or the shipped audit set as long as it
// has none.
type ruleSource struct{ bundle.Directory }

func newRuleSource(dir string) ruleSource {
	return ruleSource{bundle.Directory{Path: dir, Guarded: true}}
}

// Read implements policy.Source.
func (s ruleSource) Read() (*bundle.Snapshot, error) {
	if s.Path == "" {
		return shipped()
	}
	snapshot, err := s.Directory.Read()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return shipped()
	case err != nil:
		return nil, err
	case !slices.ContainsFunc(snapshot.Files, func(f bundle.File) bool { return isRuleFile(f.Path) }):
		return shipped()
	}
	return snapshot, nil
}

// isRuleFile tells rules from their tests and from what lies beside them.
func isRuleFile(path string) bool {
	for _, suffix := range []string{".yaml", ".yml", ".rego"} {
		if name, ok := strings.CutSuffix(path, suffix); ok {
			return !strings.HasSuffix(name, "_test")
		}
	}
	return false
}

// Watch implements policy.Source. The shipped set never changes.
func (s ruleSource) Watch(ctx context.Context, log *slog.Logger, changed func()) error {
	if s.Path == "" {
		<-ctx.Done()
		return nil
	}
	return s.Directory.Watch(ctx, log, changed)
}

// shipped is the set for machines without rules.
func shipped() (*bundle.Snapshot, error) {
	data, err := fs.ReadFile(rules.Files(), rules.Default)
	if err != nil {
		return nil, fmt.Errorf("read shipped rules: %w", err)
	}
	return &bundle.Snapshot{Source: "shipped with snitch", Files: []bundle.File{{Path: rules.Default, Data: data}}}, nil
}

// compile makes a policy of the files, as the configuration of this machine
// wants it, with what protect adds.
func compile(ctx context.Context, s *bundle.Snapshot, cfg config.Rules, protect func(*rule.Set) (*rule.Set, error), opts policy.Options) (*policy.Policy, error) {
	files, err := s.FS()
	if err != nil {
		return nil, err
	}
	loaded, err := rule.Load(files, rule.Options{Revision: s.Revision})
	if err != nil {
		return nil, err
	}
	if opts.Log != nil {
		for _, w := range loaded.Warnings {
			opts.Log.Warn("rules are doubtful", "warning", w.Error())
		}
	}
	if cfg.Test {
		if err := testRules(ctx, loaded, opts.Log); err != nil {
			return nil, err
		}
	}
	set, err := protect(policy.WithoutAlerts(loaded.Set, cfg.IDs()))
	if err != nil {
		return nil, err
	}
	return policy.Prepare(ctx, set, opts)
}

// maxFailures bounds the failed cases that an error names.
const maxFailures = 20

// testRules runs the cases beside the rules. Those of sets with custom Rego are
// for CI: a module without bounds must not run here.
func testRules(ctx context.Context, loaded *rule.Loaded, log *slog.Logger) error {
	if slices.ContainsFunc(loaded.Set.Modules, func(m rule.Module) bool { return !m.Test }) {
		if log != nil {
			log.Warn("the tests of rules with custom Rego run in CI only", "component", "policy")
		}
		return nil
	}
	voter, err := suite.NewOPA(ctx, loaded.Set)
	if err != nil {
		return fmt.Errorf("test rules: %w", err)
	}
	r, err := suite.Run(ctx, suite.Config{Set: loaded.Set, Tests: loaded.Tests, Voter: voter, Now: time.Now()})
	if err != nil {
		return fmt.Errorf("test rules: %w", err)
	}
	if r.OK() {
		return nil
	}
	lines := []string{"the rules fail their tests:"}
	for _, f := range r.Findings() {
		if len(lines) > maxFailures {
			lines = append(lines, "…")
			break
		}
		lines = append(lines, fmt.Sprintf("%s: %s", f.Pos, f.Message))
	}
	return errors.New(strings.Join(lines, "\n"))
}

// tryRules compiles the files without running anything of them, and counts rules.
func tryRules(ctx context.Context, s *bundle.Snapshot, cfg config.Rules) (rules int, err error) {
	p, err := compile(ctx, s, cfg, alsoProtected, policy.Options{Spawn: func(context.Context) (io.ReadWriteCloser, error) { return nil, policy.ErrNoWorker }})
	if err != nil {
		return 0, err
	}
	defer p.Close()
	return len(p.Set.Rules) + len(p.Set.Confine), nil
}

// openEngine makes what decides. It comes after the store, which knows what is
// new.
func (d *daemon) openEngine(context.Context) error {
	d.engine = policy.New(policy.Config{Mode: event.ModeAudit}, policy.Deps{History: d.store, Log: d.log.With("component", "policy")})
	d.closers = append(d.closers, func() error { d.engine.Close(); return nil })
	return nil
}

// openPolicy loads the rules. The record keeps what they were.
func (d *daemon) openPolicy(ctx context.Context) error {
	opts := policy.Options{Log: d.log, Spawn: func(ctx context.Context) (io.ReadWriteCloser, error) { return d.broker.Start(ctx, broker.CustomRules) }}
	source, err := d.source(newRuleSource(d.cfg.Rules.Dir))
	if err != nil {
		return err
	}
	d.manager = policy.NewManager(policy.ManagerConfig{
		Source: source, Keeper: bundle.Keeper{Dir: d.state.path}, Engine: d.engine,
		Compile: func(s *bundle.Snapshot) (*policy.Policy, error) { return compile(ctx, s, d.cfg.Rules, d.protect, opts) },
		Used:    d.policyUsed, Alert: d.raise, Log: d.log.With("component", "policy"),
	})
	if err := d.startPolicy(); err != nil {
		return rulesError(err)
	}
	return nil
}

func rulesError(err error) error {
	return usageError(fmt.Errorf("load rules: %w", err), "mend them, and try them first with 'snitch policy check'")
}

// policyUsed keeps the rules with the record, so that it can be replayed, and
// has open connections decided again. What reading them needed is given back.
func (d *daemon) policyUsed(p *policy.Policy, from *bundle.Snapshot) {
	if d.fleet != nil {
		d.fleet.Used(from.Digest())
	}
	files := make([]store.RuleFile, 0, len(from.Files))
	for _, f := range from.Files {
		files = append(files, store.RuleFile{Path: f.Path, Data: f.Data})
	}
	if off := d.cfg.Rules.IDs(); len(off) > 0 {
		files = append(files, store.RuleFile{Path: switchedOff, Data: []byte(strings.Join(off, "\n") + "\n")})
	}
	files = append(files, d.protectedFiles(p.Set)...)
	d.enforce.Use(context.Background(), p)
	if err := d.store.PutRuleSet(p.Set.Revision, files); err != nil {
		d.log.Warn("the record does not keep these rules", "component", "policy", "error", err)
	}
	if d.monitor == nil {
		return // service.trim comes once all is there
	}
	d.monitor.Republish()
	if err := broker.Trim(); err != nil {
		d.log.Debug("memory was not given back", "error", err)
	}
}

// setAlerts records what a person did about alerts.
func (d *daemon) setAlerts(ctx context.Context, ids []int64, state event.AlertState) error {
	for _, id := range ids {
		if err := d.store.SetAlert(ctx, id, state); err != nil {
			return err
		}
	}
	return nil
}

// policyStatus is what the rules are and how deciding goes.
func (d *daemon) policyStatus() control.Policy {
	m, e := d.manager.State(), d.engine.Stats()
	packages, degraded := customStatus(d.engine)
	return control.Policy{Source: m.Source, Revision: m.Revision, Loaded: m.Loaded, LoadTime: m.Took.Seconds(), Rules: m.Rules, Confine: m.Confine,
		LastGood: m.Kept, Error: m.Error, Evaluated: e.Evaluated, Errors: e.Errors, CacheHits: e.Hits, Cached: e.Cached,
		Packages: packages, Degraded: degraded, Waiting: e.Late, Undecided: e.Undecided, Slowest: e.Slowest.Seconds()}
}

// customStatus counts the custom packages and names those that do not answer,
// with the reason.
func customStatus(e *policy.Engine) (packages int, degraded []string) {
	p := e.Policy()
	if p == nil {
		return 0, nil
	}
	all := p.Custom()
	for _, s := range all {
		if s.Degraded {
			degraded = append(degraded, s.Package+": "+s.Reason)
		}
	}
	return len(all), degraded
}
