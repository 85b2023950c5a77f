package nft

import (
	"fmt"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
)

// line is one nft rule.
type line struct {
	exprs []expr.Any
	note  string // a comment for people, and what counters are read back by
}

// chain is an nft chain; one without a hook is only jumped to.
type chain struct {
	name  string
	hook  *nftables.ChainHook
	lines []line
}

func (c *chain) add(note string, parts ...[]expr.Any) {
	c.lines = append(c.lines, line{join(parts...), note})
}

// layout is the content of the table, not yet in the kernel.
type layout struct {
	sets   []*set
	chains []*chain
	setOf  map[string]string // by content
	extra  int               // chains made by helper
}

// chain makes a named chain. The kernel takes chains in any order, because all
// of them are made before the first rule.
func (l *layout) chain(name string, hook *nftables.ChainHook) *chain {
	c := &chain{name: name, hook: hook}
	l.chains = append(l.chains, c)
	return c
}

// helper makes a chain that only the compiler names.
func (l *layout) helper() *chain {
	l.extra++
	return l.chain(fmt.Sprintf("part%d", l.extra), nil)
}

// entries is how much the kernel holds: rules and intervals.
func (l *layout) entries() (n int) {
	for _, s := range l.sets {
		n += len(s.items)
	}
	for _, c := range l.chains {
		n += len(c.lines)
	}
	return n
}
