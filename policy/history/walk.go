package history

import (
	"context"
	"fmt"
	"net"
	"strconv"

	"snitch/monitor/event"
	"snitch/policy/rule"
)

// Bounds of what is remembered of rows while they are read; when there are
// more, all is forgotten and read again.
const (
	classesKept   = 1 << 18
	decisionsKept = 1 << 16
)

// class is all rows of one key.
type class struct {
	facts       *rule.Facts // while its first row is handed out
	complete    bool
	program     string
	destination string
	learned     *Sums // where Learn counts its rows
	// results are by policy, those that were asked for.
	results []result
}

// result is what one policy says of a class between two expiries.
type result struct {
	policy *Policy
	epoch  int
	input  uint64
	outcome
}

// walker goes over rows once.
type walker struct {
	source    Source
	progress  Progress
	classes   map[Key]*class
	decisions map[int64]event.Decision
	rows      uint64
}

func newWalker(s Source, p Progress) *walker {
	if p == nil {
		p = func(uint64) {}
	}
	return &walker{source: s, progress: p, classes: make(map[Key]*class), decisions: make(map[int64]event.Decision)}
}

// each calls f with every row and its class.
func (w *walker) each(ctx context.Context, ports bool, f func(*Row, *class) error) error {
	err := w.source.Rows(ctx, ports, func(r *Row) error {
		if w.rows++; w.rows%progressEvery == 0 {
			w.progress(w.rows)
			if err := ctx.Err(); err != nil {
				return err
			}
		}
		c := w.classes[r.Key]
		if c == nil {
			facts, complete, err := r.Facts()
			if err != nil {
				return fmt.Errorf("read facts: %w", err)
			}
			if len(w.classes) >= classesKept {
				clear(w.classes)
			}
			c = &class{facts: &facts, complete: complete, program: programOf(&facts), destination: destinationOf(&facts)}
			w.classes[r.Key] = c
		}
		err := f(r, c)
		c.facts = nil
		return err
	})
	w.progress(w.rows)
	return err
}

// recorded is the decision of a row.
func (w *walker) recorded(r *Row) (event.Decision, error) {
	if d, ok := w.decisions[r.Decided]; ok {
		return d, nil
	}
	d, err := r.Decision()
	if err != nil {
		return d, fmt.Errorf("read decision: %w", err)
	}
	if len(w.decisions) >= decisionsKept {
		clear(w.decisions)
	}
	w.decisions[r.Decided] = d
	return d, nil
}

// by is what p says of a row at the time of its decision.
func (c *class) by(ctx context.Context, p *Policy, r *Row) (result, error) {
	epoch := p.epoch(r.when())
	for i := range c.results {
		if have := &c.results[i]; have.policy == p && have.epoch == epoch {
			return *have, nil
		}
	}
	if c.facts == nil {
		facts, _, err := r.Facts()
		if err != nil {
			return result{}, fmt.Errorf("read facts: %w", err)
		}
		c.facts = &facts
	}
	made := result{p, epoch, p.reads.Input(c.facts), p.decide(ctx, c.facts, r.when())}
	c.results = append(c.results, made)
	return made, nil
}

// when is the time at which a row was decided, or would have been.
func (r *Row) when() int64 {
	if r.At != 0 {
		return r.At
	}
	return r.Opened
}

// programOf names a process for people.
func programOf(f *rule.Facts) string {
	p := &f.Process
	switch {
	case p.Exe != "" && p.Kind == event.ExecutableFile:
		return p.Exe
	case p.Exe != "":
		return p.Exe + " (" + p.Kind.String() + ")"
	case p.Name != "":
		return "[" + p.Name + "]"
	}
	return "[unknown]"
}

// destinationOf names the other end for people: a peer by name or address, of
// inbound connections by how far away it is, for their addresses are many.
func destinationOf(f *rule.Facts) string {
	service := f.Proto
	if f.To.HasPort {
		service += "/" + strconv.Itoa(int(f.To.Port))
	}
	switch f.Direction {
	case event.In:
		return "from " + rule.ScopeOf(f.From.Addr).String() + " to " + service
	case event.Listen:
		return "listens on " + service
	}
	host := hostOf(&f.To)
	if host == "" {
		return service
	}
	if !f.To.HasPort {
		return f.Proto + "://" + host
	}
	return f.Proto + "://" + net.JoinHostPort(host, strconv.Itoa(int(f.To.Port)))
}

// hostOf is the best name of a peer, else its address.
func hostOf(e *rule.Endpoint) string {
	for _, n := range e.Names {
		if n.Trusted {
			return n.Domain
		}
	}
	if len(e.Names) > 0 && e.Names[0].Source != event.NameReverse {
		return e.Names[0].Domain
	}
	if e.Addr.IsValid() {
		return e.Addr.String()
	}
	return ""
}
