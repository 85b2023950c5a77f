package suite

import (
	"slices"
	"strings"

	"snitch/monitor/event"
	"snitch/policy/rule"
)

// Coverage is which rules the cases exercised.
type Coverage struct {
	Rules []Covered // sorted by file and place
	Files []FileCoverage
}

// Covered is one rule or confine entry.
type Covered struct {
	ID      string
	Pos     rule.Position
	Matched int // cases in whose decision it took part
	Decided int // cases that it won
	// Done says that it decided a case; for one of mode audit, which never
	// wins, that it matched one.
	Done bool
}

// FileCoverage sums up one file of rules.
type FileCoverage struct {
	File        string
	Rules, Done int
}

// Percent is the share of rules that are done; 100 when there is none.
func (c *Coverage) Percent() float64 {
	done := 0
	for _, r := range c.Rules {
		if r.Done {
			done++
		}
	}
	return percent(done, len(c.Rules))
}

func percent(n, of int) float64 {
	if of == 0 {
		return 100
	}
	return 100 * float64(n) / float64(of)
}

// coverage counts what the decisions of cases exercised.
func coverage(set *rule.Set, results []Result) Coverage {
	matched, decided := map[string]int{}, map[string]int{}
	for i := range results {
		d := results[i].Decision
		if d == nil {
			continue
		}
		decided[d.Rule]++
		for _, m := range d.Matches {
			matched[m.ID]++
		}
	}
	var c Coverage
	add := func(id string, mode event.Mode, pos rule.Position) {
		r := Covered{ID: id, Pos: pos, Matched: matched[id], Decided: decided[id]}
		r.Done = r.Decided > 0 || mode == event.ModeAudit && r.Matched > 0
		c.Rules = append(c.Rules, r)
	}
	for i := range set.Rules {
		add(set.Rules[i].ID, set.Rules[i].Mode, set.Rules[i].Pos)
	}
	for i := range set.Confine {
		add(set.Confine[i].ID, set.Confine[i].Mode, set.Confine[i].Pos)
	}
	slices.SortStableFunc(c.Rules, func(a, b Covered) int {
		if o := strings.Compare(a.Pos.File, b.Pos.File); o != 0 {
			return o
		}
		return a.Pos.Line - b.Pos.Line
	})
	for _, r := range c.Rules {
		if n := len(c.Files); n == 0 || c.Files[n-1].File != r.Pos.File {
			c.Files = append(c.Files, FileCoverage{File: r.Pos.File})
		}
		f := &c.Files[len(c.Files)-1]
		f.Rules++
		if r.Done {
			f.Done++
		}
	}
	return c
}
