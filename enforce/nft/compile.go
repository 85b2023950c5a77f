package nft

import (
	"slices"
	"time"

	"github.com/google/nftables/expr"

	"snitch/monitor/event"
	"snitch/policy/rule"
)

// compiler makes the chains of judgement of a set.
type compiler struct {
	*layout
	set *rule.Set
	now time.Time
	// cgroup is the id of a cgroup by its path, 0 when there is none.
	cgroup func(path string) uint64
	// used is what cgroup answered: the table holds as long as it does.
	used map[string]uint64
	// cgroups says that rules name some: kernels before 5.13 cannot match them.
	cgroups bool
}

func (c *compiler) cgroupID(path string) uint64 {
	id, ok := c.used[path]
	if !ok {
		id = c.cgroup(path)
		c.used[path] = id
	}
	return id
}

// judge fills a chain with the rules as a view sees them. Their order is that
// of decisions: a deny wins over everything, an alert rule satisfies no
// confinement, an allow spares from it.
func (c *compiler) judge(v view) {
	ch := c.chain(v.name, nil)
	c.rules(ch, v, event.ActionDeny, false, only(counter(), goTo(chainReject)))
	if v.alerts {
		c.rules(ch, v, event.ActionAlert, false, only(counter()))
	}
	c.rules(ch, v, event.ActionAllow, true, only(counter(), accept()))
	for i := range c.set.Confine {
		e := &c.set.Confine[i]
		if !c.votes(e.Mode, e.Expires) {
			continue
		}
		alts := c.process(e.Process, v, false)
		except := make([][]alternative, len(e.Except))
		for j := range e.Except {
			except[j] = c.process(&e.Except[j], v, true)
		}
		c.vote(ch, e.ID, e.Expires, alts, except, only(counter(), goTo(chainReject)))
	}
}

// rules adds the enforced rules of one action.
func (c *compiler) rules(ch *chain, v view, action event.Action, over bool, do []expr.Any) {
	for i := range c.set.Rules {
		r := &c.set.Rules[i]
		if r.Action != action || !c.votes(r.Mode, r.Expires) || action == event.ActionAlert && !c.countable(r) {
			continue
		}
		alts := c.match(&r.Match, v, over)
		except := make([][]alternative, len(r.Except))
		for j := range r.Except {
			except[j] = c.match(&r.Except[j], v, true)
		}
		c.vote(ch, r.ID, r.Expires, alts, except, do)
	}
}

// countable reports whether the table can tell what an alert rule matches.
func (c *compiler) countable(r *rule.Rule) bool {
	k := &checker{set: c.set, id: r.ID, at: r.At}
	k.match("", &r.Match)
	for i := range r.Except {
		k.match("", &r.Except[i])
	}
	return len(k.refused) == 0
}

func (c *compiler) votes(mode event.Mode, expires time.Time) bool {
	return mode == event.ModeEnforce && (expires.IsZero() || c.now.Before(expires))
}

// vote does what a rule says for its alternatives without its exceptions. What
// expires does so in the kernel, whether or not the daemon lives then.
func (c *compiler) vote(ch *chain, id string, expires time.Time, alts []alternative, except [][]alternative, do []expr.Any) {
	if len(alts) == 0 {
		return
	}
	var until []expr.Any
	if !expires.IsZero() {
		until = before(expires.UnixNano())
	}
	if !slices.ContainsFunc(except, func(e []alternative) bool { return len(e) > 0 }) {
		c.emit(ch, id, until, alts, do)
		return
	}
	rest := c.helper()
	c.emit(ch, "", until, alts, only(jump(rest.name)))
	c.exceptions(rest, id, except, do)
}

// emit adds a line for each alternative. That no deeper cgroup is there takes a
// chain of its own: the load ends a rule instead of answering no.
func (c *compiler) emit(ch *chain, note string, until []expr.Any, alts []alternative, do []expr.Any) {
	for _, a := range alts {
		if a.deeper == 0 {
			ch.add(note, until, a.exprs, do)
			continue
		}
		exact := c.helper()
		exact.add("", cgroupAt(a.deeper, expr.CmpOpNeq, 0), only(back()))
		exact.add(note, do)
		ch.add("", until, a.exprs, only(jump(exact.name)))
	}
}

// exceptions returns from ch for each exception and does what the rule says
// for the rest.
func (c *compiler) exceptions(ch *chain, id string, except [][]alternative, do []expr.Any) {
	for _, a := range slices.Concat(except...) {
		if a.deeper == 0 {
			ch.add("", a.exprs, only(back()))
			continue
		}
		exact, rest := c.helper(), c.helper()
		ch.add("", a.exprs, only(goTo(exact.name)))
		ch.add("", only(goTo(rest.name)))
		exact.add("", cgroupAt(a.deeper, expr.CmpOpNeq, 0), only(goTo(rest.name)))
		exact.add("", only(back()))
		ch = rest
	}
	ch.add(id, do)
}
