package history

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// evidence is what a rule rests on.
type evidence struct {
	total    Sums
	programs []string
	targets  []evidenceOf
}

type evidenceOf struct {
	name string
	Sums
}

func (e *evidence) join(o *evidence) {
	e.total.merge(o.total)
	for _, t := range o.targets {
		if i := slices.IndexFunc(e.targets, func(x evidenceOf) bool { return x.name == t.name }); i >= 0 {
			e.targets[i].merge(t.Sums)
		} else {
			e.targets = append(e.targets, t)
		}
	}
}

// text is the evidence for people.
func (e *evidence) text() string {
	var b strings.Builder
	if e.total.Connections == 0 {
		return ""
	}
	b.WriteString(e.total.text())
	const most = 5
	if list := e.programs; len(list) > 0 {
		b.WriteString("\nby " + strings.Join(list[:min(len(list), most)], ", "))
		if len(list) > most {
			fmt.Fprintf(&b, " and %d more", len(list)-most)
		}
	}
	if len(e.targets) > 1 {
		slices.SortFunc(e.targets, func(a, c evidenceOf) int {
			return cmp.Or(cmp.Compare(c.Connections, a.Connections), strings.Compare(a.name, c.name))
		})
		for i, t := range e.targets {
			if i == most {
				fmt.Fprintf(&b, "\n  and %d more", len(e.targets)-most)
				break
			}
			fmt.Fprintf(&b, "\n  %s: %d", t.name, t.Connections)
		}
	}
	return b.String()
}

// text is sums for people.
func (s Sums) text() string {
	times := "connections"
	if s.Connections == 1 {
		times = "connection"
	}
	return fmt.Sprintf("%d %s, %s to %s, %d bytes sent, %d received", s.Connections, times,
		s.First.Format(time.DateTime), s.Last.Format(time.DateTime), s.Sent, s.Received)
}
