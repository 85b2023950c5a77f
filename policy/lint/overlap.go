package lint

import (
	"fmt"
	"strings"
	"time"

	"snitch/monitor/event"
	"snitch/policy/report"
	"snitch/policy/rule"
)

// outvoted looks for rules that another one makes superfluous. Each rule is held
// only against those that an index says may cover it: a set has ten thousand
// rules, and most name a program or a host of their own.
func (c *checker) outvoted() {
	index := newIndex(c.set)
	for i := range c.set.Rules {
		a := &c.set.Rules[i]
		if c.gone[a.ID] || expired(a.Expires, c.now) {
			continue
		}
		for _, b := range index.candidates(a) {
			if check, why := c.superfluous(a, b); check != "" {
				c.gone[a.ID] = true
				c.add(report.Finding{Level: report.Warning, Check: check, Rule: a.ID, Pos: a.Pos, Message: why,
					Related: []report.Related{{Message: fmt.Sprintf("rule %s: %s", b.ID, b.Action), Pos: b.Pos}}})
				break
			}
		}
	}
}

// superfluous reports whether no action changes when a is removed, because of b.
// Only enforced rules are held against each other: one of mode audit says what
// would happen, which no vote replaces.
func (c *checker) superfluous(a, b *rule.Rule) (check, why string) {
	if a == b || c.gone[b.ID] || a.Mode != event.ModeEnforce || b.Mode != event.ModeEnforce || !outlives(b.Expires, a.Expires, c.now) {
		return "", ""
	}
	switch {
	case b.Action < a.Action:
		return "", ""
	case a.Action == event.ActionAllow && b.Action == event.ActionAlert && len(c.set.Confine) > 0:
		return "", "" // a still satisfies confinement, which b does not
	case !covers(c.set, b, a):
		return "", ""
	case a.Action == b.Action:
		return CheckRedundant, fmt.Sprintf("rule %s is redundant: rule %s matches all that it matches, with the same action", a.ID, b.ID)
	}
	return CheckShadowed, fmt.Sprintf("rule %s never decides: rule %s matches all that it matches, and %s beats %s", a.ID, b.ID, b.Action, a.Action)
}

func expired(at, now time.Time) bool { return !at.IsZero() && !now.Before(at) }

// outlives reports whether what expires at b is there as long as what expires at a.
func outlives(b, a, now time.Time) bool {
	return !expired(b, now) && (b.IsZero() || !a.IsZero() && !b.Before(a))
}

// index finds the rules that may cover another: by the one program or the one
// host that they name, else they may cover any.
type index struct {
	keyed map[string][]*rule.Rule
	any   []*rule.Rule
}

func newIndex(set *rule.Set) *index {
	x := &index{keyed: map[string][]*rule.Rule{}}
	for i := range set.Rules {
		r := &set.Rules[i]
		if keys := coverKeys(r); len(keys) > 0 {
			for _, k := range keys {
				x.keyed[k] = append(x.keyed[k], r)
			}
			continue
		}
		x.any = append(x.any, r)
	}
	return x
}

// coverKeys are what a rule that r covers must have one of; none when that
// cannot be said.
func coverKeys(r *rule.Rule) (keys []string) {
	if p := r.Match.Process; p != nil && allLiteral(p.Exe) {
		for _, e := range p.Exe {
			keys = append(keys, exeKey(e.Text))
		}
		return keys
	}
	if to := r.Match.To; to != nil {
		for _, h := range to.Host {
			if h.Kind != rule.HostName {
				return nil
			}
			keys = append(keys, hostKey(h.Name))
		}
	}
	return keys
}

func exeKey(path string) string  { return "exe " + path }
func hostKey(name string) string { return "host " + name }

func allLiteral(patterns []rule.Pattern) bool {
	for _, p := range patterns {
		if !p.Literal() {
			return false
		}
	}
	return len(patterns) > 0
}

// candidates are the rules that may cover a, each perhaps more than once.
func (x *index) candidates(a *rule.Rule) []*rule.Rule {
	out := append([]*rule.Rule(nil), x.any...)
	if p := a.Match.Process; p != nil && len(p.Exe) > 0 {
		out = append(out, x.keyed[exeKey(p.Exe[0].Text)]...)
	}
	to := a.Match.To
	if to == nil || len(to.Host) == 0 {
		return out
	}
	switch h := to.Host[0]; h.Kind {
	case rule.HostName:
		out = append(out, x.keyed[hostKey(h.Name)]...)
	case rule.HostList: // a small list may lie in names
		for key, rules := range x.keyed {
			if strings.HasPrefix(key, hostKey("")) {
				out = append(out, rules...)
			}
		}
	case rule.HostInvalid, rule.HostBelow, rule.HostSuffix, rule.HostNet:
	}
	return out
}
