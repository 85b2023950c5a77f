package main

import (
	"fmt"
	"slices"
	"strings"
)

// diffContext is how many unchanged lines stand around a change.
const diffContext = 3

// unified is the change of one file as git and patch read it. It is for edits
// that change or drop single lines: before and after are walked side by side.
func unified(e edit) string {
	ops := lineOps(slices.Collect(strings.Lines(string(e.before))), slices.Collect(strings.Lines(string(e.now))))
	var b strings.Builder
	fmt.Fprintf(&b, "--- a/%s\n+++ b/%s\n", e.path, e.path)
	for at := 0; at < len(ops); {
		if ops[at].kind == ' ' {
			at++
			continue
		}
		first := max(0, at-diffContext)
		last := at // of the hunk, exclusive
		for quiet := 0; last < len(ops) && quiet <= 2*diffContext; last++ {
			if quiet++; ops[last].kind != ' ' {
				quiet = 0
			}
		}
		end := last
		for end > first && ops[end-1].kind == ' ' {
			end--
		}
		at = last
		hunk(&b, ops, first, min(len(ops), end+diffContext))
	}
	return b.String()
}

type lineOp struct {
	kind byte // ' ', '-', '+'
	text string
}

// lineOps walks two texts whose lines differ singly. A line that is not the
// next of the other text is gone when what follows it is, else changed.
func lineOps(before, now []string) (ops []lineOp) {
	i, j := 0, 0
	for i < len(before) {
		switch {
		case j < len(now) && before[i] == now[j]:
			ops = append(ops, lineOp{' ', before[i]})
			j++
		case len(before)-i > len(now)-j && (i+1 == len(before) || j < len(now) && before[i+1] == now[j]):
			ops = append(ops, lineOp{'-', before[i]})
		case j < len(now):
			ops = append(ops, lineOp{'-', before[i]}, lineOp{'+', now[j]})
			j++
		default:
			ops = append(ops, lineOp{'-', before[i]})
		}
		i++
	}
	for ; j < len(now); j++ {
		ops = append(ops, lineOp{'+', now[j]})
	}
	return ops
}

func hunk(b *strings.Builder, ops []lineOp, first, end int) {
	count := func(from, to int, gone byte) (n int) {
		for _, op := range ops[from:to] {
			if op.kind != gone {
				n++
			}
		}
		return n
	}
	fmt.Fprintf(b, "@@ -%d,%d +%d,%d @@\n", count(0, first, '+')+1, count(first, end, '+'), count(0, first, '-')+1, count(first, end, '-'))
	for _, op := range ops[first:end] {
		b.WriteByte(op.kind)
		b.WriteString(op.text)
		if !strings.HasSuffix(op.text, "\n") {
			b.WriteString("\n\\ No newline at end of file\n")
		}
	}
}
