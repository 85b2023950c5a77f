package lint

import (
	"slices"

	"snitch/monitor/event"
	"snitch/policy/rule"
)

// matchInside reports whether every connection of a is one of b.
func matchInside(a, b *rule.Match, wa, wb world) bool {
	return processInside(a.Process, b.Process) && endInside(a.From, b.From, wa, wb) && endInside(a.To, b.To, wa, wb) &&
		compare(a.Direction, b.Direction, same[event.Direction], same[event.Direction]).inside &&
		compare(a.Novelty, b.Novelty, same[rule.Novelty], same[rule.Novelty]).inside
}

// matchesMeet reports whether one connection may be of both; it errs towards
// yes. Several novelties may hold at once, so they keep nothing apart.
func matchesMeet(a, b *rule.Match) bool {
	return processesMeet(a.Process, b.Process) && endsMeet(a.From, b.From) && endsMeet(a.To, b.To) &&
		compare(a.Direction, b.Direction, same[event.Direction], same[event.Direction]).meet
}

// exceptionsInside reports whether b leaves alone nothing of a that a itself
// does not leave alone. Exceptions believe trusted names only.
func exceptionsInside(a *rule.Match, of, b []rule.Match, lists map[string]*rule.List) bool {
	w := world{lists: lists, trusted: true}
	for i := range b {
		if matchesMeet(a, &b[i]) && !slices.ContainsFunc(of, func(e rule.Match) bool { return matchInside(&b[i], &e, w, w) }) {
			return false
		}
	}
	return true
}

// worldOf is what the match of a rule with this action is read in.
func worldOf(set *rule.Set, action event.Action) world {
	return world{lists: set.Lists, trusted: action == event.ActionAllow}
}

// covers reports whether b matches whatever a matches.
func covers(set *rule.Set, b, a *rule.Rule) bool {
	return matchInside(&a.Match, &b.Match, worldOf(set, a.Action), worldOf(set, b.Action)) &&
		exceptionsInside(&a.Match, a.Except, b.Except, set.Lists)
}
