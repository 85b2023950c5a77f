package query

import (
	"strconv"
	"strings"

	"snitch/monitor/store/schema"
)

// builder collects the arguments of a statement while its text is made. Text
// of users never becomes text of the statement.
type builder struct{ args []any }

// arg adds an argument and returns its name in the statement.
func (b *builder) arg(v any) string {
	b.args = append(b.args, v)
	return "?" + strconv.Itoa(len(b.args))
}

// where is the condition that all filters hold for row c of connection.
func (b *builder) where(fs Filters) string {
	parts := make([]string, 0, len(fs))
	for i := range fs {
		condition := fs[i].field.sql(b, fs[i].items)
		if fs[i].not {
			condition = "NOT " + condition
		}
		parts = append(parts, condition)
	}
	return strings.Join(parts, " AND ")
}

// either is true when one of the items' conditions is.
func (b *builder) either(items []item, condition func(*item) string) string {
	parts := make([]string, len(items))
	for i := range items {
		parts[i] = condition(&items[i])
	}
	return "(" + strings.Join(parts, " OR ") + ")"
}

// text asks whether a text expression, which may not be NULL, matches.
func (b *builder) text(expression string, items []item) string {
	return b.either(items, func(it *item) string {
		parts := make([]string, len(it.globs))
		for i, g := range it.globs {
			if s, ok := g.literal(); ok {
				parts[i] = expression + " = " + b.arg(s)
			} else {
				parts[i] = "snitch_glob(" + b.arg(string(g)) + ", " + expression + ")"
			}
		}
		return "(" + strings.Join(parts, " OR ") + ")"
	})
}

// texts selects the numbers of the strings that match. Table text holds every
// kind of string, so a pattern is only tried on those that the column uses.
func (b *builder) texts(table, column string, items []item) string {
	var literals, patterns []item
	for _, it := range items {
		if s, ok := it.globs[0].literal(); ok && len(it.globs) == 1 {
			literals = append(literals, item{name: s})
		} else {
			patterns = append(patterns, it)
		}
	}
	var sets []string
	if len(literals) > 0 {
		sets = append(sets, "SELECT id FROM text WHERE "+b.either(literals, func(it *item) string {
			return "(hash = " + b.arg(schema.TextHash(it.name)) + " AND value = " + b.arg(it.name) + ")"
		}))
	}
	if len(patterns) > 0 {
		sets = append(sets, "SELECT id FROM text WHERE id IN (SELECT "+column+" FROM "+table+") AND "+b.text("value", patterns))
	}
	return strings.Join(sets, " UNION ALL ")
}

// listed asks whether a list has a member that matches.
func (b *builder) listed(items []item) string {
	return b.either(items, func(it *item) string {
		return "snitch_list(" + b.arg(string(it.globs[0])) + ", items)"
	})
}

// codes lists the numbers of the items.
func (b *builder) codes(items []item) string {
	var all []int64
	for _, it := range items {
		all = append(all, it.codes...)
	}
	return b.list(all)
}

// list lists numbers.
func (b *builder) list(numbers []int64) string {
	parts := make([]string, len(numbers))
	for i, n := range numbers {
		parts[i] = b.arg(n)
	}
	return strings.Join(parts, ", ")
}

// matchesEmpty reports whether an item matches the empty string, and so what
// is not there.
func matchesEmpty(items []item) bool {
	for _, it := range items {
		if anyMatch(it.globs, "") {
			return true
		}
	}
	return false
}
