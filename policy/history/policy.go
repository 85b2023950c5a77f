package history

import (
	"context"
	"crypto/sha256"
	"slices"
	"sort"
	"time"

	"snitch/monitor/event"
	"snitch/policy/rule"
)

// Decider decides facts as of a time, as the daemon would.
type Decider interface {
	Decide(ctx context.Context, f *rule.Facts, now time.Time) rule.Decision
}

// memoKept bounds the decisions that a Policy remembers; when there are more,
// it forgets all and decides again.
const memoKept = 1 << 18

// Policy is a rule set that decides history. It is for one goroutine.
type Policy struct {
	set     *rule.Set
	decider Decider
	reads   rule.Reads
	expires []time.Time // of its rules, sorted: between two of them nothing changes
	memo    map[memoKey]outcome
	buffer  []byte
	decided int
}

type memoKey struct {
	facts [16]byte
	epoch int
}

// outcome is what a decision means for history.
type outcome struct {
	action event.Action
	rule   string
	failed bool
}

// NewPolicy prepares set, which d decides by.
func NewPolicy(set *rule.Set, d Decider) *Policy {
	p := &Policy{set: set, decider: d, reads: set.Reads(), memo: make(map[memoKey]outcome)}
	for i := range set.Rules {
		p.expires = append(p.expires, set.Rules[i].Expires)
	}
	for i := range set.Confine {
		p.expires = append(p.expires, set.Confine[i].Expires)
	}
	p.expires = slices.DeleteFunc(p.expires, time.Time.IsZero)
	slices.SortFunc(p.expires, time.Time.Compare)
	return p
}

// Decided is how often the decider was asked.
func (p *Policy) Decided() int { return p.decided }

// Set is the rules that p decides by.
func (p *Policy) Set() *rule.Set { return p.set }

// epoch numbers the times between which no rule expires.
func (p *Policy) epoch(at int64) int {
	if len(p.expires) == 0 {
		return 0
	}
	now := time.Unix(0, at)
	return sort.Search(len(p.expires), func(i int) bool { return p.expires[i].After(now) })
}

// decide is the outcome for facts at a time, remembered by what the rules read
// of them.
func (p *Policy) decide(ctx context.Context, f *rule.Facts, at int64) outcome {
	b := p.reads.AppendPeers(p.reads.AppendSubjects(p.buffer[:0], f), f)
	if p.reads.Novelty {
		for _, n := range f.Novelty {
			b = append(b, byte(n))
		}
	}
	p.buffer = b
	sum := sha256.Sum256(b)
	key := memoKey{facts: [16]byte(sum[:16]), epoch: p.epoch(at)}
	if o, ok := p.memo[key]; ok {
		return o
	}
	p.decided++
	d := p.decider.Decide(ctx, f, time.Unix(0, at))
	o := outcome{action: d.Action, rule: d.Rule, failed: d.Error != ""}
	if len(p.memo) >= memoKept {
		clear(p.memo)
	}
	p.memo[key] = o
	return o
}

// readsMore reports whether the rules read facts that rows of schema 1 lack:
// accounts, places and packages of a lineage, and what a name is worth.
func (p *Policy) readsMore() bool {
	above := func(s rule.SubjectReads) bool {
		return s.User || s.UID || s.Cgroup || s.Unit || s.Container || s.Package
	}
	own := p.reads.Process
	return own.User || own.Package || above(p.reads.Parent) || above(p.reads.Ancestors) || p.reads.From.Names || p.reads.To.Names
}
