package table

import (
	"time"

	"snitch/monitor/event"
)

// Verdict is what the kernel does with a destination of a class.
type Verdict uint8

// Verdicts; the numbers stand in the kernel's tables.
const (
	VerdictInvalid Verdict = 0
	Ask            Verdict = 1 // user space decides: the tables cannot
	Allow          Verdict = 2
	Alert          Verdict = 3
	Deny           Verdict = 4
)

var verdictNames = [...]string{"invalid", "ask", "allow", "alert", "deny"}

// String is the name that tables are printed with.
func (v Verdict) String() string {
	if int(v) >= len(verdictNames) {
		return verdictNames[0]
	}
	return verdictNames[v]
}

// Action is the action of a decision with this verdict, ActionUndecided for Ask.
func (v Verdict) Action() event.Action {
	switch v {
	case Allow:
		return event.ActionAllow
	case Alert:
		return event.ActionAlert
	case Deny:
		return event.ActionDeny
	}
	return event.ActionUndecided
}

// Entry is the value of one entry of the verdict table.
type Entry struct {
	Verdict Verdict
	// Rule is a rule that makes it so, "" where no rule matches. Of Ask it is
	// a rule that needs user space ("custom" for custom modules).
	Rule string
	// Exact says that Rule is the winner. Else the action is certain, and a
	// rule of the same action that needs user space may win by its smaller id.
	Exact bool
	// Cacheable says that the answer, also that to an Ask, holds for the next
	// connection of this class to the same peer until something expires.
	Cacheable bool
	// Until is when a rule that counts here expires: from then on the entry
	// reads as Ask. Zero: never.
	Until time.Time
}

// tri is what a table knows of a condition: unknown stands for what only user
// space can tell.
type tri uint8

const (
	no tri = iota
	unknown
	yes
)

func triIf(b bool) tri {
	if b {
		return yes
	}
	return no
}

// tally is the votes of one cell, by what is known of them.
type tally struct {
	yes, maybe [4]string // by event.Action: smallest id, "" none
	confined   string    // smallest id that confines for sure
	perhaps    string    // one that confines for all that is known
	custom     bool      // custom modules vote too
	stable     bool      // no vote depends on novelty or custom modules
	until      time.Time
}

func (t *tally) vote(a event.Action, id string, known tri) {
	slot := &t.yes[a]
	if known == unknown {
		slot = &t.maybe[a]
	}
	if *slot == "" || id < *slot {
		*slot = id
	}
}

// confine notes an entry. Entries come in the order of their ids.
func (t *tally) confine(id string, known tri) {
	switch {
	case known == yes && t.confined == "":
		t.confined = id
	case known == unknown && t.perhaps == "":
		t.perhaps = id
	}
}

func (t *tally) expires(at time.Time) {
	if !at.IsZero() && (t.until.IsZero() || at.Before(t.until)) {
		t.until = at
	}
}

// entry resolves the votes as rule.Set.Combine does, as far as they are known:
// the strictest wins, and Ask where what is unknown could change the action.
func (t *tally) entry() Entry {
	deny, alert, allow := t.yes[event.ActionDeny], t.yes[event.ActionAlert], t.yes[event.ActionAllow]
	mayDeny, mayAlert, mayAllow := t.maybe[event.ActionDeny], t.maybe[event.ActionAlert], t.maybe[event.ActionAllow]
	if granted := allow != "" || mayAllow != "" || t.custom; !granted && t.confined != "" && (deny == "" || t.confined < deny) {
		deny = t.confined
	}
	switch confined := allow == "" && t.confined != ""; {
	case deny != "":
		exact := behind(mayDeny, deny) && behind(t.perhaps, deny) && (!confined || behind(t.confined, deny)) && !t.custom
		return t.verdict(Deny, deny, exact)
	case mayDeny != "":
		return t.verdict(Ask, mayDeny, false)
	case t.custom:
		return t.verdict(Ask, customRule, false)
	case confined:
		return t.verdict(Ask, t.confined, false)
	case t.perhaps != "" && allow == "":
		return t.verdict(Ask, t.perhaps, false)
	case alert != "":
		return t.verdict(Alert, alert, behind(mayAlert, alert))
	case mayAlert != "" && (allow != "" || mayAllow != ""):
		return t.verdict(Ask, mayAlert, false)
	case allow != "":
		return t.verdict(Allow, allow, behind(mayAllow, allow))
	case mayAllow != "":
		return t.verdict(Ask, mayAllow, false)
	}
	return t.verdict(Alert, "", mayAlert == "")
}

func (t *tally) verdict(v Verdict, rule string, exact bool) Entry {
	return Entry{Verdict: v, Rule: rule, Exact: exact, Cacheable: t.stable, Until: t.until}
}

// behind reports whether a vote of id cannot win over one of winner.
func behind(id, winner string) bool { return id == "" || id >= winner }

// customRule is the Rule of an Ask for custom modules.
const customRule = "custom"
