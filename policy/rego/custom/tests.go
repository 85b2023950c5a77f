package custom

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/open-policy-agent/opa/v1/storage"
	"github.com/open-policy-agent/opa/v1/tester"

	"snitch/policy/rule"
)

// TestOptions of Test.
type TestOptions struct {
	Run     string        // regular expression over "PACKAGE.test_NAME"; "" is every test
	Timeout time.Duration // of one test; 0 is 5 s
	Options
}

// TestResult is one test of a *_test.rego file.
type TestResult struct {
	Package string // "x_test"
	Name    string // "test_…"
	Pos     rule.Position
	Passed  bool
	Skipped bool   // named todo_test_…
	Message string // why it did not pass
	Took    time.Duration
}

// Test compiles all modules, tests included, and runs the tests in process,
// one after the other. What does not compile is a *rule.Errors.
func Test(ctx context.Context, modules []rule.Module, lists map[string]*rule.List, opts TestOptions) ([]TestResult, error) {
	src, err := load(modules, lists)
	if err != nil {
		return nil, err
	}
	if _, err := src.compile(); err != nil {
		return nil, err
	}
	if opts.Timeout <= 0 {
		opts.Timeout = 5 * time.Second
	}
	runner := tester.NewRunner().SetCompiler(newCompiler()).SetStore(src.store).SetModules(src.modules).
		SetTimeout(opts.Timeout).SetParallel(1).RaiseBuiltinErrors(opts.Strict).Filter(opts.Run)
	var out []TestResult
	err = storage.Txn(ctx, src.store, storage.TransactionParams{}, func(txn storage.Transaction) error {
		results, err := runner.RunTests(ctx, txn)
		if err != nil {
			return src.failed(err)
		}
		for r := range results {
			out = append(out, newResult(r, opts.Timeout))
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(out, func(a, b TestResult) int {
		if c := strings.Compare(a.Pos.File, b.Pos.File); c != 0 {
			return c
		}
		return a.Pos.Line - b.Pos.Line
	})
	return out, nil
}

func newResult(r *tester.Result, timeout time.Duration) TestResult {
	out := TestResult{Package: strings.TrimPrefix(r.Package, "data.snitch.custom."), Name: r.Name, Pos: position(r.Location),
		Passed: r.Pass(), Skipped: r.Skip, Took: r.Duration}
	switch {
	case r.Error != nil && r.Duration >= timeout:
		out.Message = fmt.Sprintf("took longer than %s", timeout)
	case r.Error != nil:
		out.Message = plain(r.Error).Error()
	case r.Fail:
		out.Message = "not true"
		for names, sub := range r.SubResults.Iter {
			if sub.Fail {
				out.Message = "not true for " + strings.Join(names, "/")
				break
			}
		}
	}
	return out
}
