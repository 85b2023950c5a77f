package custom

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/metrics"
	"github.com/open-policy-agent/opa/v1/rego"
	"github.com/open-policy-agent/opa/v1/topdown"

	"snitch/monitor/event"
	"snitch/policy/rule"
)

// Bounds of what a package may answer for one connection.
const (
	maxVotes  = 64
	maxReason = 512 // bytes
)

var voteID = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,63}$`)

// ErrNoPackage says that a program has no package of that name.
var ErrNoPackage = errors.New("no such package")

// Eval asks one package about one connection. An error says that the package
// has no votes: it failed, ctx ended, or it answered what is no vote.
func (p *Program) Eval(ctx context.Context, name string, in *Input) ([]rule.CustomVote, error) {
	text, err := json.Marshal(in)
	if err != nil {
		return nil, fmt.Errorf("encode input: %w", err)
	}
	return p.evalJSON(ctx, name, text)
}

func (p *Program) evalJSON(ctx context.Context, name string, input []byte) ([]rule.CustomVote, error) {
	u := p.unit(name)
	if u == nil {
		return nil, fmt.Errorf("package %q: %w", name, ErrNoPackage)
	}
	value, err := ast.ValueFromReader(bytes.NewReader(input))
	if err != nil {
		return nil, fmt.Errorf("read input: %w", err)
	}
	var failed []topdown.Error
	results, err := u.query.Eval(ctx, rego.EvalParsedInput(value), rego.EvalMetrics(metrics.NoOp()),
		rego.EvalInterQueryBuiltinValueCache(p.values), rego.EvalBuiltinErrorList(&failed), rego.EvalExternalCancel(canceller{ctx}))
	switch {
	case ctx.Err() != nil:
		return nil, fmt.Errorf("package %s: %w", name, ctx.Err())
	case err != nil:
		return nil, fmt.Errorf("package %s: %w", name, plain(err))
	case len(failed) > 0:
		return nil, fmt.Errorf("package %s: %w", name, plain(&failed[0]))
	case len(results) != 1:
		return nil, fmt.Errorf("package %s: no result", name)
	}
	return u.votes(results[0].Bindings)
}

// canceller asks the context itself, which needs no goroutine.
type canceller struct{ ctx context.Context }

func (c canceller) Cancelled() bool { return c.ctx.Err() != nil }

// Cancel belongs to the interface and is never called.
func (c canceller) Cancel() {}

func (p *Program) unit(name string) *unit {
	for _, u := range p.packages {
		if u.name == name {
			return u
		}
	}
	return nil
}

// plain is an error of OPA's in one line, place first.
func plain(err error) error {
	var e *topdown.Error
	if errors.As(err, &e) && e.Location != nil {
		return rule.Error{Pos: position(e.Location), Msg: strings.Join(strings.Fields(e.Message), " ")}
	}
	return err
}

var voteActions = map[string]event.Action{"deny": event.ActionDeny, "alert": event.ActionAlert, "allow": event.ActionAllow}

// votes reads the sets.
func (u *unit) votes(bindings rego.Vars) ([]rule.CustomVote, error) {
	var out []rule.CustomVote
	for _, set := range sortedKeys(u.sets) {
		term, ok := bindings[set].(*ast.Term)
		if !ok {
			return nil, fmt.Errorf("package %s: no result for %s", u.name, set)
		}
		members, ok := term.Value.(ast.Set)
		if !ok {
			return nil, fmt.Errorf("%s: %s is no set", u.sets[set], set)
		}
		if len(out)+members.Len() > maxVotes {
			return nil, fmt.Errorf("%s: more than %d votes", u.sets[set], maxVotes)
		}
		for _, member := range members.Slice() {
			id, reason, err := vote(member.Value)
			if err != nil {
				return nil, fmt.Errorf("%s: %s: %w", u.sets[set], set, err)
			}
			out = append(out, rule.CustomVote{ID: "custom." + u.name + "." + id, Action: voteActions[set], Reason: reason, Pos: u.sets[set]})
		}
	}
	return out, nil
}

// vote reads a member: an id, or an object of id and reason.
func vote(v ast.Value) (id, reason string, err error) {
	switch v := v.(type) {
	case ast.String:
		id = string(v)
	case ast.Object:
		if id, err = member(v, "id", true); err != nil {
			return "", "", err
		}
		if reason, err = member(v, "reason", false); err != nil {
			return "", "", err
		}
		for _, key := range v.Keys() {
			if !key.Equal(ast.StringTerm("id")) && !key.Equal(ast.StringTerm("reason")) {
				return "", "", fmt.Errorf("member has the key %.64s, want id and reason", key)
			}
		}
	default:
		return "", "", fmt.Errorf("member is a %s, want a string or an object of id and reason", ast.ValueName(v))
	}
	if !voteID.MatchString(id) {
		return "", "", fmt.Errorf("member has the id %.80q, want small letters, digits, dot, _ and - (at most 64)", id)
	}
	if len(reason) > maxReason {
		return "", "", fmt.Errorf("member %s has a reason of %d bytes, more than %d", id, len(reason), maxReason)
	}
	return id, reason, nil
}

func member(o ast.Object, key string, must bool) (string, error) {
	t := o.Get(ast.StringTerm(key))
	if t == nil {
		if must {
			return "", fmt.Errorf("member has no %s", key)
		}
		return "", nil
	}
	s, ok := t.Value.(ast.String)
	if !ok {
		return "", fmt.Errorf("member has a %s that is no string", key)
	}
	return string(s), nil
}
