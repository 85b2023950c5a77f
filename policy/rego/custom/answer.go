package custom

import (
	"context"
	"errors"
	"time"

	"snitch/policy/rule"
)

// Deadline is how long a package may take for one connection, unless a Config
// says otherwise.
const Deadline = 50 * time.Millisecond

// Answer is what all packages said of one connection.
type Answer struct {
	Votes    []rule.CustomVote
	Degraded []string // packages that did not answer, sorted
}

// Decide asks every package about every input, in process. It is for CI and
// the tests of rules: a module that allocates without bound ends the caller.
func (p *Program) Decide(ctx context.Context, inputs []Input, deadline time.Duration) ([]Answer, error) {
	out := make([]Answer, len(inputs))
	var errs []error
	for _, u := range p.packages {
		for i := range inputs {
			votes, err := p.evalWithin(ctx, u.name, &inputs[i], deadline)
			if err != nil {
				errs = append(errs, err)
				out[i].Degraded = append(out[i].Degraded, u.name)
				continue
			}
			out[i].Votes = append(out[i].Votes, votes...)
		}
	}
	return out, errors.Join(errs...)
}

func (p *Program) evalWithin(ctx context.Context, name string, in *Input, deadline time.Duration) ([]rule.CustomVote, error) {
	ctx, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	return p.Eval(ctx, name, in)
}
