package lint

import (
	"cmp"
	"slices"
	"strings"

	"snitch/monitor/event"
	"snitch/policy/rule"
)

// part is one condition of two matches, as a comparison needs it.
type part struct {
	any          bool // the second has no such condition
	inside, meet bool
}

// processParts compares the conditions on one process, its lineage left out.
func processParts(a, b *rule.ProcessMatch) []part {
	return []part{
		exePart(a, b),
		compare(kinds(a), b.Kind, same[event.ExecutableKind], same[event.ExecutableKind]),
		compare(a.SHA256, b.SHA256, same[event.Digest], same[event.Digest]),
		globPart(a.Name, b.Name), globPart(a.Script, b.Script),
		compare(a.ScriptSHA256, b.ScriptSHA256, same[event.Digest], same[event.Digest]),
		globPart(a.Cmdline, b.Cmdline),
		compare(a.Reputation, b.Reputation, same[event.Reputation], same[event.Reputation]),
		compare(a.User, b.User, same[string], same[string]),
		rangePart(uidSpans(a.UID), uidSpans(b.UID)),
		globPart(a.Cgroup, b.Cgroup), globPart(a.Unit, b.Unit), globPart(a.Container, b.Container), globPart(a.Package, b.Package),
	}
}

func same[T comparable](a, b T) bool { return a == b }

// compare holds two lists of a fact with one value against each other. An empty
// list is no condition.
func compare[T any](a, b []T, inside, meet func(a, b T) bool) part {
	if len(b) == 0 {
		return part{any: true, inside: true, meet: true}
	}
	if len(a) == 0 {
		return part{meet: true}
	}
	p := part{inside: true}
	for _, x := range a {
		p.inside = p.inside && slices.ContainsFunc(b, func(y T) bool { return inside(x, y) })
		p.meet = p.meet || slices.ContainsFunc(b, func(y T) bool { return meet(x, y) })
	}
	return p
}

func globPart(a, b []rule.Pattern) part { return compare(a, b, globInside, globsMeet) }

// exePart knows that a host path means files only, unless the same match names
// the kind of the subject.
func exePart(a, b *rule.ProcessMatch) part {
	p := globPart(a.Exe, b.Exe)
	if p.any || len(b.Kind) > 0 || !slices.ContainsFunc(b.Exe, hostPath) {
		return p // a kind of b's own is compared elsewhere, and lifts the restriction
	}
	if !onlyFiles(a.Kind) {
		p.inside = false
	}
	return p
}

// kinds are those that a subject of p has: host paths alone are files.
func kinds(p *rule.ProcessMatch) []event.ExecutableKind {
	if len(p.Kind) > 0 || len(p.Exe) == 0 || slices.ContainsFunc(p.Exe, func(e rule.Pattern) bool { return !hostPath(e) }) {
		return p.Kind
	}
	return []event.ExecutableKind{event.ExecutableFile}
}

func hostPath(p rule.Pattern) bool { return strings.HasPrefix(p.Text, "/") }

// onlyFiles reports whether a match with these kinds takes host paths for files.
func onlyFiles(kinds []event.ExecutableKind) bool {
	return !slices.ContainsFunc(kinds, func(k event.ExecutableKind) bool { return k != event.ExecutableFile })
}

// processInside reports whether every process of a is one of b. Nil is any.
func processInside(a, b *rule.ProcessMatch) bool {
	if b == nil {
		return true
	}
	if a == nil {
		a = &rule.ProcessMatch{}
	}
	for _, p := range processParts(a, b) {
		if !p.inside {
			return false
		}
	}
	if b.Parent != nil && (a.Parent == nil || !processInside(a.Parent, b.Parent)) {
		return false
	}
	if b.Ancestor == nil {
		return true
	}
	// A parent is an ancestor.
	return a.Ancestor != nil && processInside(a.Ancestor, b.Ancestor) || a.Parent != nil && processInside(a.Parent, b.Ancestor)
}

// processesMeet reports whether one process may be of both; it errs towards yes.
// Two ancestors may be different ones, so they never keep matches apart.
func processesMeet(a, b *rule.ProcessMatch) bool {
	if a == nil || b == nil {
		return true
	}
	for _, p := range processParts(a, b) {
		if !p.meet {
			return false
		}
	}
	return processesMeet(a.Parent, b.Parent)
}

// span is an inclusive range of numbers.
type span struct{ first, last uint32 }

func uidSpans(in []rule.UIDRange) []span {
	out := make([]span, len(in))
	for i, r := range in {
		out[i] = span{r.First, r.Last}
	}
	return out
}

func portSpans(in []rule.PortRange) []span {
	out := make([]span, len(in))
	for i, r := range in {
		out[i] = span{uint32(r.First), uint32(r.Last)}
	}
	return out
}

// rangePart compares unions of ranges.
func rangePart(a, b []span) part {
	whole := joined(b)
	return compare(a, whole,
		func(x, y span) bool { return y.first <= x.first && x.last <= y.last },
		func(x, y span) bool { return x.first <= y.last && y.first <= x.last })
}

// joined sorts ranges and joins those that touch.
func joined(in []span) []span {
	sorted := slices.Clone(in)
	slices.SortFunc(sorted, func(a, b span) int { return cmp.Compare(a.first, b.first) })
	var out []span
	for _, s := range sorted {
		if n := len(out); n > 0 && uint64(s.first) <= uint64(out[n-1].last)+1 {
			out[n-1].last = max(out[n-1].last, s.last)
			continue
		}
		out = append(out, s)
	}
	return out
}
