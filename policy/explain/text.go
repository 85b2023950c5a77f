package explain

import (
	"fmt"
	"slices"
	"strings"
)

// maxWant is how many items of a condition are printed.
const maxWant = 6

// Text is the explanation for people, in lines without colour. Values come
// from processes and peers: characters that could steer a terminal are quoted.
func (e *Explanation) Text() string {
	var w writer
	w.head(e)
	w.matches("Also matching", e.others())
	w.matches("Expired", e.Expired)
	w.exceptions(e.Exceptions)
	w.confinement(e.Confinement)
	w.near(e)
	w.flip(e)
	w.removals(e)
	if slices.ContainsFunc(e.Matches, func(m Match) bool { return strings.HasPrefix(m.ID, "custom.") }) {
		w.line("Custom modules are taken as they voted; with other facts they may vote otherwise.")
	}
	return w.String()
}

// others are the matches that did not win.
func (e *Explanation) others() (out []Match) {
	for _, m := range e.Matches {
		if !m.Winner {
			out = append(out, m)
		}
	}
	return out
}

type writer struct{ strings.Builder }

func (w *writer) line(format string, args ...any) { fmt.Fprintf(w, format+"\n", args...) }

func (w *writer) head(e *Explanation) {
	if e.Rule == "" {
		w.line("%s: %s", e.Action, e.Reason)
		return
	}
	reason := ""
	if e.Reason != "rule "+e.Rule { // Combine's words for none
		reason = ": " + printable(e.Reason)
	}
	w.line("%s by %s (%s)%s", e.Action, e.Rule, e.Pos, reason)
}

func (w *writer) matches(title string, ms []Match) {
	if len(ms) == 0 {
		return
	}
	w.line("%s:", title)
	for _, m := range ms {
		verb := m.Action
		if m.Mode == "audit" {
			verb = "would " + m.Action
		}
		reason := ""
		if m.Reason != "" {
			reason = ": " + printable(m.Reason)
		}
		w.line("  %s by %s (%s)%s", verb, m.ID, m.Pos, reason)
	}
}

func (w *writer) exceptions(es []Exception) {
	if len(es) == 0 {
		return
	}
	w.line("Exceptions that held:")
	for _, e := range es {
		w.line("  not %s by %s (%s): exception %d, on %s", e.Action, e.ID, e.Pos, e.Number, strings.Join(e.Keys, ", "))
	}
}

func (w *writer) confinement(c Confinement) {
	switch {
	case len(c.By) > 0 && len(c.Granted) > 0:
		w.line("Confined by %s; granted by %s.", strings.Join(c.By, ", "), strings.Join(c.Granted, ", "))
	case len(c.By) > 0:
		w.line("Confined by %s; no allow rule grants it.", strings.Join(c.By, ", "))
	case len(c.Audit) > 0:
		w.line("Not confined; in audit it would be, by %s.", strings.Join(c.Audit, ", "))
	default:
		w.line("Not confined.")
	}
}

func (w *writer) near(e *Explanation) {
	if len(e.NearMisses) == 0 {
		return
	}
	w.line("Near misses:")
	for _, n := range e.NearMisses {
		verb := n.Action
		if n.Mode == "audit" {
			verb = "would " + n.Action
		}
		got := "is " + printable(n.Got)
		if n.State == "absent" || n.Got == "" {
			got = "is not known"
		}
		if n.Key == "novelty" && n.Got == "" {
			got = "has nothing"
		}
		w.line("  %s by %s (%s): %s wants %s, %s", verb, n.ID, n.Pos, n.Key, wanted(n.Want), got)
	}
	if e.MoreNear > 0 {
		w.line("  and %d more", e.MoreNear)
	}
}

func wanted(items []string) string {
	more := ""
	if len(items) > maxWant {
		more = fmt.Sprintf(" or %d more", len(items)-maxWant)
		items = items[:maxWant]
	}
	return printable(strings.Join(items, " or ")) + more
}

func (w *writer) flip(e *Explanation) {
	if e.Flip == nil {
		switch e.FlipSearched {
		case 0: // the search was cut short at once
		case 1:
			w.line("No change of one fact makes it another action.")
		default:
			w.line("No change of %d facts or fewer makes it another action.", e.FlipSearched)
		}
		return
	}
	by := ""
	if e.Flip.Rule != "" {
		by = " by " + e.Flip.Rule
	}
	w.line("The smallest change that makes it %s%s:", e.Flip.Action, by)
	for _, c := range e.Flip.Changes {
		w.line("  %s: %s instead of %s", c.Key, known(c.To), known(c.From))
	}
}

func known(value string) string {
	if value == "" {
		return "not known"
	}
	return printable(value)
}

func (w *writer) removals(e *Explanation) {
	for _, r := range e.Removals {
		w.line("Without %s (%s) it would be %s.", r.ID, r.Pos, r.Action)
	}
}

// printable quotes a text that a terminal would not print as it is.
func printable(s string) string {
	quoted := fmt.Sprintf("%q", s)
	if quoted == `"`+s+`"` {
		return s
	}
	return quoted
}
