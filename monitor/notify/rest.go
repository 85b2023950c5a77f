package notify

import (
	"fmt"
	"hash/maphash"
	"path"
	"slices"
	"strings"
	"time"

	"snitch/monitor/event"
)

const (
	maxPrograms = 1 << 14 // counted apart
	maxNamed    = 3       // programs and rules named in a summary
)

// rest counts the alerts that got no toast of their own.
type rest struct {
	alerts   uint64
	denied   uint64
	seed     maphash.Seed        // of all that may adopt one another
	programs map[uint64]struct{} // hashes of paths
	full     bool                // there were more
	names    []string            // of the first programs
	rules    []string            // the first
	began    time.Time           // of what was not shown yet
	shown    uint64              // alerts that the last summary counted
	shownAt  time.Time
}

func (r *rest) add(a Alert, now time.Time) {
	if !r.dirty() {
		r.began = now
	}
	r.alerts++
	if a.Action == event.ActionDeny {
		r.denied++
	}
	r.nameRule(a.Rule)
	if r.know(maphash.String(r.seed, a.Program)) && len(r.names) < maxNamed {
		r.names = append(r.names, path.Base(a.Program))
	}
}

// know reports whether a program is new.
func (r *rest) know(id uint64) bool {
	if _, known := r.programs[id]; known {
		return false
	}
	if len(r.programs) == maxPrograms {
		r.full = true
		return false
	}
	if r.programs == nil {
		r.programs = map[uint64]struct{}{}
	}
	r.programs[id] = struct{}{}
	return true
}

func (r *rest) nameRule(rule string) {
	if len(r.rules) <= maxNamed && !slices.Contains(r.rules, rule) {
		r.rules = append(r.rules, rule)
	}
}

// addUnknown counts alerts that the queue had no room for.
func (r *rest) addUnknown(n uint64, now time.Time) {
	if n == 0 {
		return
	}
	if !r.dirty() {
		r.began = now
	}
	r.alerts += n
}

// adopt adds what another of the same seed counted.
func (r *rest) adopt(o *rest, now time.Time) {
	if o.alerts == 0 {
		return
	}
	if !r.dirty() {
		r.began = now
	}
	r.alerts += o.alerts
	r.denied += o.denied
	r.full = r.full || o.full
	for id := range o.programs {
		r.know(id)
	}
	for _, rule := range o.rules {
		r.nameRule(rule)
	}
	r.names = append(r.names, o.names[:min(len(o.names), maxNamed-len(r.names))]...)
}

func (r *rest) dirty() bool { return r.alerts != r.shown }

// summary is the toast for all of them.
func (r *rest) summary() toast {
	title := plural(r.alerts, "more alert")
	if n := len(r.programs); n > 1 {
		title = plural(uint64(n), "more program")
		if r.full {
			title = "More than " + title
		}
	}
	lines := []string{plural(r.alerts, "alert")}
	if r.denied > 0 {
		lines[0] += ", " + grouped(r.denied) + " denied"
	}
	if len(r.names) > 0 {
		lines = append(lines, "Programs: "+list(r.names, len(r.programs) > len(r.names)))
	}
	if len(r.rules) > 0 {
		lines = append(lines, "Rules: "+list(r.rules[:min(len(r.rules), maxNamed)], len(r.rules) > maxNamed))
	}
	lines = append(lines, "snitch alerts lists them all")
	return toast{Key: summaryKey, Title: title, Body: strings.Join(lines, "\n"), Urgency: urgencyNormal, Icon: iconAlert}
}

// list names some of many.
func list(names []string, more bool) string {
	var out []string
	for _, name := range names {
		out = append(out, clean(name, maxLine/maxNamed-4, false))
	}
	if more {
		out = append(out, "…")
	}
	return strings.Join(out, ", ")
}

func plural(n uint64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return grouped(n) + " " + noun + "s"
}

// grouped writes n with a comma before each three digits.
func grouped(n uint64) string {
	if n < 1000 {
		return fmt.Sprint(n)
	}
	return grouped(n/1000) + fmt.Sprintf(",%03d", n%1000)
}
