package notify

import (
	"cmp"
	"hash/maphash"
	"slices"
	"time"

	"snitch/monitor/event"
)

// Bounds of a plan.
const (
	maxGroups   = 128 // remembered, so that a repeat replaces
	maxTroubles = 16
)

// Pace is how often a desk is disturbed. Zero values are the defaults.
type Pace struct {
	Burst  int           // toasts at once, one of them for a denial only (default 5)
	Refill time.Duration // for one more (default 20 s)
	Repeat time.Duration // between two replacements of one toast (default 15 s)
	Pause  time.Duration // after a helper failed, doubled each time (default 5 s)
	Settle time.Duration // from the first alert without a toast to the summary (default 2 s)
}

func (p Pace) orDefault() Pace {
	def := func(v *time.Duration, d time.Duration) {
		if *v <= 0 {
			*v = d
		}
	}
	def(&p.Refill, 20*time.Second)
	def(&p.Repeat, 15*time.Second)
	def(&p.Pause, 5*time.Second)
	def(&p.Settle, 2*time.Second)
	if p.Burst <= 0 {
		p.Burst = 5
	}
	return p
}

// groupKey is what alerts of one toast have in common.
type groupKey struct {
	rule, program string
	trouble       bool
}

// group is the alerts of one toast.
type group struct {
	key     uint64
	alert   Alert // the latest
	trouble *Trouble
	count   uint64
	shown   uint64 // count when it was last shown
	shownAt time.Time
	paid    bool // its first toast has a token
}

func (g *group) dirty() bool { return g.count != g.shown }

// plan decides when which toast is shown on one desk. It is given the time and
// has no goroutine; its caller holds a mutex.
type plan struct {
	pace     Pace
	quiet    Quiet
	groups   map[groupKey]*group
	troubles int // of groups
	rest     rest
	tokens   int
	filled   time.Time // when the last token came
	nextKey  uint64
}

func newPlan(pace Pace, quiet Quiet, seed maphash.Seed) *plan {
	pace = pace.orDefault()
	return &plan{pace: pace, quiet: quiet, groups: map[groupKey]*group{}, rest: rest{seed: seed}, tokens: pace.Burst, nextKey: firstKey}
}

// add takes an alert. hold says that nobody is there to see it.
func (p *plan) add(a Alert, now time.Time, hold bool) {
	key := groupKey{rule: a.Rule, program: a.Program}
	if g := p.groups[key]; g != nil {
		g.alert = a
		g.count++
		return
	}
	_, quiet := p.quiet.until(now)
	if hold || quiet || !p.take(now, a.Action == event.ActionDeny) {
		p.rest.add(a, now)
		return
	}
	p.insert(key, &group{alert: a, count: 1, paid: true})
}

// trouble takes a trouble, which is never merely counted unless there are very
// many.
func (p *plan) trouble(t Trouble, now time.Time) {
	key := groupKey{program: t.Key, trouble: true}
	if g := p.groups[key]; g != nil {
		g.trouble = &t
		g.count++
		return
	}
	if p.troubles == maxTroubles {
		p.rest.addUnknown(1, now)
		return
	}
	p.insert(key, &group{trouble: &t, count: 1})
}

func (p *plan) insert(key groupKey, g *group) {
	if len(p.groups) >= maxGroups {
		p.evict()
	}
	g.key = p.nextKey
	p.nextKey += 2
	p.groups[key] = g
	if key.trouble {
		p.troubles++
	}
}

// evict forgets the group that was shown longest ago. One that waits to be shown
// is worth more than one that was.
func (p *plan) evict() {
	var oldest groupKey
	var found *group
	for key, g := range p.groups {
		if found == nil || g.dirty() != found.dirty() && found.dirty() || g.dirty() == found.dirty() && g.shownAt.Before(found.shownAt) {
			oldest, found = key, g
		}
	}
	p.remove(oldest)
}

func (p *plan) remove(key groupKey) {
	delete(p.groups, key)
	if key.trouble {
		p.troubles--
	}
}

// adopt takes over what was held for somebody who was not there.
func (p *plan) adopt(o *plan, now time.Time) {
	p.rest.adopt(&o.rest, now)
	for key, g := range o.groups {
		if key.trouble {
			p.trouble(*g.trouble, now)
		}
	}
}

// take takes a token. The last one is for what is urgent.
func (p *plan) take(now time.Time, urgent bool) bool {
	p.refill(now)
	if p.tokens == 0 || p.tokens == 1 && !urgent && p.pace.Burst > 1 {
		return false
	}
	p.tokens--
	return true
}

func (p *plan) refill(now time.Time) {
	if p.tokens == p.pace.Burst || now.Before(p.filled) {
		p.filled = now
		return
	}
	n := int(min(now.Sub(p.filled)/p.pace.Refill, time.Duration(p.pace.Burst)))
	p.tokens = min(p.tokens+n, p.pace.Burst)
	p.filled = p.filled.Add(time.Duration(n) * p.pace.Refill)
}

// due returns the toasts to show now, and when to ask again: the zero time when
// nothing waits.
func (p *plan) due(now time.Time) (toasts []toast, wake time.Time) {
	if end, quiet := p.quiet.until(now); quiet {
		if p.waits() {
			wake = end
		}
		return nil, wake
	}
	later := func(at time.Time) {
		if wake.IsZero() || at.Before(wake) {
			wake = at
		}
	}
	for _, g := range p.groups {
		if !g.dirty() {
			continue
		}
		if at := p.ready(g, now); at.After(now) {
			later(at)
			continue
		}
		g.shown, g.shownAt = g.count, now
		toasts = append(toasts, g.toast())
	}
	if p.rest.dirty() {
		at := p.rest.began.Add(p.pace.Settle)
		if next := p.rest.shownAt.Add(p.pace.Repeat); !p.rest.shownAt.IsZero() && next.After(at) {
			at = next
		}
		if at.After(now) {
			later(at)
		} else {
			p.rest.shown, p.rest.shownAt = p.rest.alerts, now
			toasts = append(toasts, p.rest.summary())
		}
	}
	slices.SortFunc(toasts, func(a, b toast) int { return cmp.Compare(a.Key, b.Key) })
	return toasts, wake
}

// ready returns when a dirty group may be shown, now or later.
func (p *plan) ready(g *group, now time.Time) time.Time {
	if g.paid && g.shown == 0 {
		return now
	}
	if next := g.shownAt.Add(p.pace.Repeat); g.shown > 0 && next.After(now) {
		return next
	}
	if p.take(now, g.trouble != nil) {
		g.paid = true
		return now
	}
	return p.filled.Add(p.pace.Refill)
}

func (p *plan) waits() bool {
	if p.rest.dirty() {
		return true
	}
	for _, g := range p.groups {
		if g.dirty() {
			return true
		}
	}
	return false
}

// missed says that a toast did not get to the screen: it is due again.
func (p *plan) missed(key uint64) {
	if key == summaryKey {
		p.rest.shown = 0
		return
	}
	if _, g := p.find(key); g != nil {
		g.shown, g.paid = 0, true
	}
}

// dismissed says that the person put a toast away: what comes next is new.
func (p *plan) dismissed(key uint64) {
	if key == summaryKey {
		p.rest = rest{seed: p.rest.seed, shownAt: p.rest.shownAt}
		return
	}
	if k, g := p.find(key); g != nil && !g.dirty() {
		p.remove(k)
	}
}

// alert returns the latest alert of a toast. Summaries and troubles have none.
func (p *plan) alert(key uint64) (Alert, bool) {
	if _, g := p.find(key); g != nil && g.trouble == nil {
		return g.alert, true
	}
	return Alert{}, false
}

// find returns the group of a toast, nil for none.
func (p *plan) find(key uint64) (groupKey, *group) {
	for k, g := range p.groups {
		if g.key == key {
			return k, g
		}
	}
	return groupKey{}, nil
}
