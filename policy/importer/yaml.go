package importer

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"snitch/policy/rule"
)

// YAML is the imported rules as a file, with what is not as it was in comments:
// of a rule above it, of what was not imported at the top.
func (r *Result) YAML() ([]byte, error) {
	comments := rule.Comments{Head: r.head(), Rules: map[string]string{}}
	var rules []rule.Rule
	for i := range r.Items {
		item := &r.Items[i]
		if item.Rule == nil {
			continue
		}
		rules = append(rules, *item.Rule)
		lines := []string{fmt.Sprintf("%s: %s", shown(item.File), item.Name)}
		for _, n := range item.Notes {
			lines = append(lines, "differs: "+shown(n))
		}
		comments.Rules[item.Rule.ID] = strings.Join(lines, "\n")
	}
	lists := make([]*rule.List, len(r.Lists))
	for i, l := range r.Lists {
		lists[i] = rule.NewList(l.Name, l.Hosts)
	}
	out, err := rule.Marshal(rule.NewSet(rules, nil, lists, nil), comments)
	if err != nil {
		return nil, fmt.Errorf("write imported rules: %w", err)
	}
	return out, nil
}

// head is the comment at the top of the file.
func (r *Result) head() string {
	whole, changed, left := r.Count()
	lines := []string{fmt.Sprintf("Imported from %s: %d rules as they were, %d with a difference, %d not imported.", r.Product, whole, changed, left)}
	for _, n := range r.Notes {
		lines = append(lines, "note: "+n)
	}
	lines = append(lines, r.Left()...)
	return strings.Join(lines, "\n")
}

// Left is a line for each rule that was not imported, with the reason.
func (r *Result) Left() []string {
	var lines []string
	for i := range r.Items {
		if item := &r.Items[i]; item.Rule == nil {
			lines = append(lines, fmt.Sprintf("not imported: %s: %s: %s", shown(item.File), item.Name, shown(strings.Join(slices.Clone(item.Notes), "; "))))
		}
	}
	return lines
}

// readable reports whether a rule reads back as the one that is written. The
// reader has rules of its own for texts (no spaces at the ends, no control
// characters …): a foreign text that breaks one is no condition here.
func readable(r *rule.Rule) error {
	text, err := rule.Marshal(rule.NewSet([]rule.Rule{*r}, nil, nil, nil), rule.Comments{})
	if err != nil {
		return refuse("it cannot be written: %s", shown(err.Error()))
	}
	back, err := rule.Parse("rule.yaml", text)
	if err != nil {
		return refuse("it cannot be said here: %s", shown(err.Error()))
	}
	if !reflect.DeepEqual(back.Set.Rules[0].Match, r.Match) || back.Set.Rules[0].Reason != r.Reason {
		return refuse("a text of it would not stay as it is")
	}
	return nil
}
