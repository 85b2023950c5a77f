package history

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"snitch/monitor/event"
	"snitch/policy/rule"
	"snitch/policy/table"
)

// Defaults of LearnOptions.
const (
	DefaultSubdomains = 3
	DefaultAddresses  = 8
	DefaultPorts      = 16
)

// LearnOptions say how far a draft generalises.
type LearnOptions struct {
	Confine    bool   // also write confine entries for the programs
	Subdomains int    // so many names below one registrable domain become the domain; 0: DefaultSubdomains
	Addresses  int    // so many addresses of one /24 or /64 become the network; 0: DefaultAddresses
	Ports      int    // more ports than these become a range; 0: DefaultPorts
	Min        uint64 // what was seen less often is left out, and told
}

func (o LearnOptions) withDefaults() LearnOptions {
	for field, value := range map[*int]int{&o.Subdomains: DefaultSubdomains, &o.Addresses: DefaultAddresses, &o.Ports: DefaultPorts} {
		if *field <= 0 {
			*field = value
		}
	}
	o.Min = max(1, o.Min)
	return o
}

// Draft is what Learn made: rules that allow what happened.
type Draft struct {
	Set      *rule.Set
	Comments rule.Comments
	Rows     Sums      // of the window
	Covered  Sums      // that the rules allow
	LeftOut  []LeftOut // why not the others
}

// LeftOut is rows for which there is no rule.
type LeftOut struct {
	Reason  string `json:"reason"`
	Program string `json:"program"`
	Sums
}

// Yaml writes the draft as one file of rules.
func (d *Draft) Yaml() ([]byte, error) { return rule.Marshal(d.Set, d.Comments) }

// Reasons why rows are left out.
const (
	leftUnknown  = "the program is not known"
	leftFile     = "the program's file was removed or never had a name"
	leftModified = "the program's file is not the one of its package"
	leftView     = "the program is of another mount namespace, and its digest is not known"
	leftScript   = "its script is not known, or of another mount namespace"
	leftText     = "its path cannot be written as a rule"
	leftRare     = "seen less often than asked for"
	leftKernel   = "no process did it: see the rules shipped for the kernel"
)

// Learn drafts the least rules that allow the rows of s: by package or file,
// unit and parent, registrable domain or network, and port. Replaying the same
// rows against them denies nothing, which Learn makes sure of by reading them a
// second time: a confine entry that would deny one of them is dropped. What
// should not be allowed without a look is left out and listed. The same rows
// give the same draft.
func Learn(ctx context.Context, s Source, opts LearnOptions, progress Progress) (*Draft, error) {
	l := learner{opts: opts.withDefaults(), groups: make(map[groupID]*group), left: make(map[leftKey]*Sums)}
	w := newWalker(s, progress)
	err := w.each(ctx, false, func(r *Row, c *class) error {
		l.rows.add(r)
		if c.learned == nil {
			c.learned = l.place(c.facts, c.program)
		}
		c.learned.add(r)
		return nil
	})
	if err != nil {
		return nil, err
	}
	d := l.draft()
	if err := l.verify(ctx, s, d); err != nil {
		return nil, err
	}
	l.comment(d)
	return d, nil
}

type leftKey struct{ reason, program string }

// learner gathers what programs did.
type learner struct {
	opts   LearnOptions
	rows   Sums
	groups map[groupID]*group
	left   map[leftKey]*Sums
	ids    map[string]*evidence // of the rules, by id
}

// place finds where rows of these facts are counted.
func (l *learner) place(f *rule.Facts, program string) *Sums {
	id, reason := identify(f)
	if reason != "" {
		return l.leave(reason, program)
	}
	g := l.groups[id]
	if g == nil {
		g = &group{id: id, atoms: make(map[atom]*Sums), exes: make(map[string]bool), parents: make(map[string]bool), digests: make(map[event.Digest]bool)}
		l.groups[id] = g
	}
	g.note(f)
	at := atomOf(f)
	sums := g.atoms[at]
	if sums == nil {
		sums = new(Sums)
		g.atoms[at] = sums
	}
	return sums
}

func (l *learner) leave(reason, program string) *Sums {
	key := leftKey{reason, program}
	sums := l.left[key]
	if sums == nil {
		sums = new(Sums)
		l.left[key] = sums
	}
	return sums
}

// draft makes the rules.
func (l *learner) draft() *Draft {
	l.ids = make(map[string]*evidence)
	var rules []rule.Rule
	var confine []rule.Confine
	subjects := make(map[subject]*group)
	for _, g := range sortedGroups(l.groups) {
		if n := l.dropRare(g); n == 0 {
			continue
		}
		process := g.process(l.alone(g))
		for _, e := range g.endpoints(l.opts) {
			m := e.match
			m.Process = process
			id := l.name(g, e)
			l.ids[id] = &e.evidence
			rules = append(rules, rule.Rule{ID: id, Action: event.ActionAllow, Mode: event.ModeEnforce, Match: m})
		}
		if s := g.id.subject; l.opts.Confine && subjects[s] == nil {
			subjects[s] = g
		} else if l.opts.Confine {
			subjects[s].join(g)
		}
	}
	for _, g := range sortedSubjects(subjects) {
		confine = append(confine, rule.Confine{ID: l.unique(slug(g.id.subject.name())+"-only", g.id.subject.key()), Mode: event.ModeEnforce, Process: g.subjectMatch()})
	}
	return &Draft{Set: rule.NewSet(rules, confine, nil, nil), Rows: l.rows}
}

// dropRare leaves out what was seen too seldom and returns how much is left.
func (l *learner) dropRare(g *group) int {
	for at, sums := range g.atoms {
		if sums.Connections < l.opts.Min {
			l.leave(leftRare, g.id.subject.name()+" "+at.String()).merge(*sums)
			delete(g.atoms, at)
		}
	}
	return len(g.atoms)
}

// alone reports whether a program was only seen without a script, so that its
// rules need not say so.
func (l *learner) alone(g *group) bool {
	for id := range l.groups {
		if id.subject == g.id.subject && id.script != rule.None {
			return false
		}
	}
	return true
}

// verify reads the rows again and drops confine entries that would deny any
// of them, but for those that were too rare on purpose.
func (l *learner) verify(ctx context.Context, s Source, d *Draft) error {
	t := table.Compile(d.Set)
	dropped := make(map[string]bool)
	w := newWalker(s, nil)
	var left Sums
	err := w.each(ctx, false, func(r *Row, c *class) error {
		if c.learned == nil {
			votes := t.Votes(c.facts)
			c.learned = &left
			if len(votes.Rules) > 0 {
				c.learned = &d.Covered
			} else if !l.rare(c.facts) {
				for _, id := range votes.Confine {
					dropped[id] = true
				}
			}
		}
		c.learned.add(r)
		return nil
	})
	if err != nil || len(dropped) == 0 {
		return err
	}
	d.Set = rule.NewSet(d.Set.Rules, slices.DeleteFunc(d.Set.Confine, func(c rule.Confine) bool { return dropped[c.ID] }), nil, nil)
	return nil
}

// rare reports whether rows of these facts were left out for being seldom.
func (l *learner) rare(f *rule.Facts) bool {
	id, reason := identify(f)
	if reason != "" {
		return false
	}
	g := l.groups[id]
	return g == nil || g.atoms[atomOf(f)] == nil
}

// comment writes the evidence beside the rules.
func (l *learner) comment(d *Draft) {
	d.Comments.Rules = make(map[string]string, len(l.ids))
	for id, e := range l.ids {
		d.Comments.Rules[id] = e.text()
	}
	for key, sums := range l.left {
		d.LeftOut = append(d.LeftOut, LeftOut{key.reason, key.program, *sums})
	}
	slices.SortFunc(d.LeftOut, func(a, b LeftOut) int {
		if n := strings.Compare(a.Reason, b.Reason); n != 0 {
			return n
		}
		return strings.Compare(a.Program, b.Program)
	})
	var b strings.Builder
	fmt.Fprintf(&b, "Drafted by snitch policy learn from %s.\nRead it before you sign it: what happened is not what should happen.\n", d.Rows.text())
	fmt.Fprintf(&b, "The rules allow %d of them.", d.Covered.Connections)
	const most = 100
	if len(d.LeftOut) > 0 {
		b.WriteString(" Not these:\n")
	}
	for i, x := range d.LeftOut {
		if i == most {
			fmt.Fprintf(&b, "  and %d more\n", len(d.LeftOut)-most)
			break
		}
		fmt.Fprintf(&b, "  %s: %s (%d)\n", x.Program, x.Reason, x.Connections)
	}
	d.Comments.Head = b.String()
}
