package lint

import (
	"maps"
	"slices"

	"snitch/policy/report"
	"snitch/policy/rule"
	"snitch/policy/table"
)

// lists looks for lists that nothing names. Custom modules may read any.
func (c *checker) lists() {
	if len(c.set.Modules) > 0 {
		return
	}
	used := map[string]bool{}
	match := func(m *rule.Match) {
		for _, e := range []*rule.EndpointMatch{m.From, m.To} {
			if e == nil {
				continue
			}
			for _, h := range e.Host {
				if h.Kind == rule.HostList {
					used[h.Name] = true
				}
			}
		}
	}
	for i := range c.set.Rules {
		match(&c.set.Rules[i].Match)
		for j := range c.set.Rules[i].Except {
			match(&c.set.Rules[i].Except[j])
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.set.Lists)) {
		if !used[name] {
			c.say(report.Info, CheckUnusedList, "", c.set.Lists[name].Pos, "no rule names the list @%s", name)
		}
	}
}

// userSpace names what the kernel asks about.
func (c *checker) userSpace() {
	for _, residual := range table.Residuals(c.set) {
		for _, reason := range residual.Reasons {
			what, pos := "custom Rego", residual.Pos
			if residual.ID != "" {
				what = residual.ID
			}
			if r := c.set.Rule(residual.ID); r != nil {
				pos = r.At(reason.Key)
			}
			if reason.Key != "" {
				what += ", " + reason.Key
			}
			c.say(report.Info, CheckUserSpace, residual.ID, pos, "%s: decided in user space: %s", what, reason.Why)
		}
	}
}

// tests holds the ids that tests expect against those that exist.
func (c *checker) tests(expected map[string]rule.Position) {
	if expected == nil {
		return
	}
	exists := map[string]bool{}
	untested := func(id string, pos rule.Position) {
		exists[id] = true
		if _, ok := expected[id]; !ok {
			c.say(report.Info, CheckUntested, id, pos, "no test expects rule %s", id)
		}
	}
	for i := range c.set.Rules {
		untested(c.set.Rules[i].ID, c.set.Rules[i].Pos)
	}
	for i := range c.set.Confine {
		untested(c.set.Confine[i].ID, c.set.Confine[i].Pos)
	}
	for _, id := range slices.Sorted(maps.Keys(expected)) {
		if !exists[id] && !customID(id) {
			c.say(report.Error, CheckUnknownRule, id, expected[id], "there is no rule %s", id)
		}
	}
}

// customID reports whether a custom module names its rules so: only running it
// tells which there are.
func customID(id string) bool { return len(id) > len("custom.") && id[:len("custom.")] == "custom." }
