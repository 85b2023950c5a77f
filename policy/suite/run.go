package suite

import (
	"context"
	"fmt"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"snitch/monitor/event"
	"snitch/policy/report"
	"snitch/policy/rule"
)

// Voter says which rules match: OPA, but for tests of errors.
type Voter interface {
	Votes(ctx context.Context, f *rule.Facts, now time.Time) (rule.Votes, error)
}

// Config is one run.
type Config struct {
	Set   *rule.Set
	Tests []rule.TestFile
	Voter Voter
	// Rego are the results of the tests of custom modules, which run elsewhere.
	Rego []Result
	Now  time.Time      // of decisions whose case names no time
	Run  *regexp.Regexp // only cases whose name it matches; nil: all
	// MinCoverage is the least share of rules that must decide a case, in
	// percent; 0: no bound.
	MinCoverage  float64
	RequireTests bool // every file of rules needs a case that one of its rules decides
	Mutate       bool
}

// tried is a case with what the set says about it.
type tried struct {
	c      *rule.Case
	now    time.Time
	votes  rule.Votes
	result Result
}

// Run runs the cases. An error is of the run itself, never of a case.
func Run(ctx context.Context, cfg Config) (*Report, error) {
	began := time.Now()
	var cases []tried
	for i := range cfg.Tests {
		for j := range cfg.Tests[i].Cases {
			c := &cfg.Tests[i].Cases[j]
			if cfg.Run != nil && !cfg.Run.MatchString(c.Name) {
				continue
			}
			now := cfg.Now
			if !c.At.IsZero() {
				now = c.At
			}
			cases = append(cases, tried{c: c, now: now})
		}
	}
	if err := decideAll(ctx, &cfg, cases); err != nil {
		return nil, err
	}
	rep := &Report{}
	for i := range cases {
		rep.Results = append(rep.Results, cases[i].result)
	}
	rep.Coverage = coverage(cfg.Set, rep.Results)
	for _, r := range cfg.Rego {
		if cfg.Run == nil || cfg.Run.MatchString(r.Name) {
			rep.Results = append(rep.Results, r)
		}
	}
	rep.demand(&cfg)
	if cfg.Mutate {
		var err error
		if rep.Mutation, err = mutate(ctx, cfg.Set, cases); err != nil {
			return nil, err
		}
	}
	rep.Elapsed = time.Since(began)
	return rep, nil
}

// decideAll decides the cases, as many at once as there are processors.
func decideAll(ctx context.Context, cfg *Config, cases []tried) error {
	g, ctx := errgroup.WithContext(ctx)
	workers := runtime.GOMAXPROCS(0)
	for w := range workers {
		g.Go(func() error {
			for i := w; i < len(cases); i += workers {
				if err := ctx.Err(); err != nil {
					return fmt.Errorf("run tests: %w", err)
				}
				cases[i].decide(ctx, cfg)
			}
			return nil
		})
	}
	return g.Wait()
}

func (t *tried) decide(ctx context.Context, cfg *Config) {
	began := time.Now()
	t.result = Result{Name: t.c.Name, Pos: t.c.Pos}
	votes, err := cfg.Voter.Votes(ctx, &t.c.Facts, t.now)
	if err != nil {
		t.result.Err = "no decision: " + err.Error()
	} else {
		slices.Sort(votes.Rules)
		slices.Sort(votes.Confine)
		t.votes = votes
		d := cfg.Set.Combine(votes, t.now)
		t.result.Decision = &d
		t.result.Differences = differences(&t.c.Expect, &d)
	}
	t.result.Elapsed = time.Since(began)
}

// differences holds a decision against what a case expects.
func differences(want *rule.Expect, got *rule.Decision) []Difference {
	var out []Difference
	if want.Action != event.ActionNone && want.Action != got.Action {
		out = append(out, Difference{"expect.action", want.Action.String(), got.Action.String()})
	}
	winner := want.Rule
	if winner == rule.None {
		winner = ""
	}
	if want.Rule != "" && winner != got.Rule {
		out = append(out, Difference{"expect.rule", want.Rule, got.Rule})
	}
	if want.Reason != "" && want.Reason != got.Reason {
		out = append(out, Difference{"expect.reason", want.Reason, got.Reason})
	}
	if want.Matches != nil {
		ids := make([]string, len(got.Matches))
		for i, m := range got.Matches {
			ids[i] = m.ID
		}
		if expected := slices.Sorted(slices.Values(want.Matches)); !slices.Equal(expected, ids) {
			out = append(out, Difference{"expect.matches", strings.Join(expected, ", "), strings.Join(ids, ", ")})
		}
	}
	return out
}

// demand adds what the run asks for beyond the cases.
func (r *Report) demand(cfg *Config) {
	if got := r.Coverage.Percent(); got < cfg.MinCoverage {
		f := report.Finding{Level: report.Error, Check: CheckCoverage, Message: fmt.Sprintf("%.1f %% of the rules decide a case, want %.1f %%", got, cfg.MinCoverage)}
		for _, c := range r.Coverage.Rules {
			if !c.Done {
				f.Related = append(f.Related, report.Related{Message: "rule " + c.ID + " decides no case", Pos: c.Pos})
			}
		}
		r.Problems = append(r.Problems, f)
	}
	if !cfg.RequireTests {
		return
	}
	for _, f := range r.Coverage.Files {
		if f.Done == 0 {
			r.Problems = append(r.Problems, report.Finding{Level: report.Error, Check: CheckUntested, Pos: rule.Position{File: f.File},
				Message: "no test: none of its rules decides a case"})
		}
	}
}
