package api

import (
	"net/http"
	"time"

	"snitch/monitor/event"
	"snitch/policy/explain"
	"snitch/policy/history"
)

// Why is the answer to /api/why.
type Why struct {
	Text        string               `json:"text"` // for people
	Explanation *explain.Explanation `json:"explanation"`
	Revision    string               `json:"revision"` // of the rules that were asked
	Then        bool                 `json:"then"`     // they are those that decided
}

// Rules are the rules in use, with what they did.
type Rules struct {
	Revision string      `json:"revision"`
	Loaded   time.Time   `json:"loaded,omitzero"`
	Source   string      `json:"source"`
	Files    []RuleFile  `json:"files"`
	Entries  []RuleEntry `json:"entries"`
	Problem  string      `json:"problem,omitempty"` // why there is no more to say
}

// RuleFile is a file of the rules.
type RuleFile struct {
	Path string `json:"path"`
	Text string `json:"text"`
}

// RuleEntry is a rule, a confine entry, or a package of custom Rego.
type RuleEntry struct {
	ID      string    `json:"id"`
	Kind    string    `json:"kind"`   // rule, confine, module; gone: it counted once and is no more
	Action  string    `json:"action"` // "" of a module
	Mode    string    `json:"mode"`
	Reason  string    `json:"reason"`
	Expires time.Time `json:"expires,omitzero"`
	File    string    `json:"file"`
	Line    int       `json:"line"`
	Text    string    `json:"text"`
	event.RuleCount
	// Dead: it matched nothing since the record began.
	Dead bool `json:"dead"`
}

// PolicyPage is the answer to /api/policy.
type PolicyPage struct {
	Rules
	Since time.Time `json:"since,omitzero"` // the record begins
}

// Candidate is the body of POST /api/try: rules to decide history by.
type Candidate struct {
	Text   string    `json:"text"`
	Add    bool      `json:"add"` // to the rules in use, instead of in their place
	Since  time.Time `json:"since"`
	Until  time.Time `json:"until"`
	Filter []string  `json:"filter"`
}

// Trial is what a candidate would have done.
type Trial struct {
	Faults []string         `json:"faults"` // why it does not load: file:line:col: message
	Rules  []history.Change `json:"rules"`  // what differs from the rules in use
	Report *history.Report  `json:"report"` // null with faults
	Took   float64          `json:"took"`   // seconds
}

func (h *Handler) policy(r *http.Request) (any, error) {
	rules, err := h.cfg.Judge.Rules(r.Context())
	if err != nil {
		return nil, err
	}
	out := PolicyPage{Rules: rules}
	out.Files, out.Entries = nonNil(out.Files), nonNil(out.Entries)
	db, err := h.cfg.DB(r.Context())
	if err != nil {
		return nil, err
	}
	counts, err := db.RuleCounts(r.Context())
	if err != nil {
		return nil, err
	}
	out.count(counts)
	if runs, err := db.Runs(r.Context()); err == nil && len(runs) > 0 {
		out.Since = runs[0].Started
	}
	return out, nil
}

// count joins what rules did to the rules.
func (p *PolicyPage) count(counts []event.RuleCount) {
	did := make(map[string]event.RuleCount, len(counts))
	for _, c := range counts {
		did[c.Rule] = c
	}
	for i := range p.Entries {
		e := &p.Entries[i]
		e.RuleCount = did[e.ID]
		e.Rule = e.ID
		e.Dead = e.Hits == 0 && e.Kind != "module"
		delete(did, e.ID)
	}
	for _, c := range counts {
		if _, left := did[c.Rule]; left {
			p.Entries = append(p.Entries, RuleEntry{ID: c.Rule, Kind: "gone", RuleCount: c})
		}
	}
}

// maxCandidate bounds the text of a candidate.
const maxCandidate = 256 << 10

func (h *Handler) try(r *http.Request) (any, error) {
	var c Candidate
	if err := body(r, &c); err != nil {
		return nil, err
	}
	if len(c.Text) > maxCandidate {
		return nil, &Problem{http.StatusRequestEntityTooLarge, "These rules are longer than 256 KiB.", "Use snitch policy replay --candidate."}
	}
	if c.Text == "" {
		return nil, &Problem{http.StatusBadRequest, "There are no rules to try.", ""}
	}
	began := time.Now()
	t, err := h.cfg.Judge.Try(r.Context(), c)
	t.Took = time.Since(began).Seconds()
	t.Faults, t.Rules = nonNil(t.Faults), nonNil(t.Rules)
	return t, err
}
