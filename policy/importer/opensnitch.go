package importer

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"snitch/monitor/event"
)

// openRule is one rule file of OpenSnitch (its wiki, "Rules").
type openRule struct {
	Created     json.RawMessage `json:"created"`
	Updated     json.RawMessage `json:"updated"`
	Name        string          `json:"name"`
	Description string          `json:"description"`
	Enabled     *bool           `json:"enabled"`
	Precedence  bool            `json:"precedence"`
	NoLog       bool            `json:"nolog"`
	Action      string          `json:"action"`
	Duration    string          `json:"duration"`
	Operator    openOperator    `json:"operator"`
}

type openOperator struct {
	Type      string          `json:"type"`
	Operand   string          `json:"operand"`
	Data      json.RawMessage `json:"data"`
	Sensitive bool            `json:"sensitive"`
	List      []openOperator  `json:"list"`

	unread []string // keys that are none of these
}

// UnmarshalJSON also notes what it does not know.
func (o *openOperator) UnmarshalJSON(b []byte) error {
	type plain openOperator
	if err := json.Unmarshal(b, (*plain)(o)); err != nil {
		return err
	}
	o.unread = unread(b, "type", "operand", "data", "sensitive", "list")
	return nil
}

// OpenSnitch reads rule files of OpenSnitch. An error is about a file that is
// none, and nothing is imported.
func OpenSnitch(files []Source) (*Result, error) {
	if len(files) > maxRules {
		return nil, fmt.Errorf("%d files are more than %d", len(files), maxRules)
	}
	res := &Result{Product: "OpenSnitch", Notes: []string{
		"OpenSnitch stops at the first deny or priority rule; here every matching rule votes and the strictest wins",
		"OpenSnitch compares paths without regard to case unless told otherwise; paths here are exact",
		"protocols tcp and udp are of IPv4 only in OpenSnitch, of both families here",
		"an allow by host name believes only names that this program resolved itself",
		"a disabled rule still ends OpenSnitch's search for another one; here it is left out",
	}}
	names := ids{}
	for _, f := range files {
		var r openRule
		if err := decode(f, &r); err != nil {
			return nil, err
		}
		res.Items = append(res.Items, openItem(f, r, names))
	}
	return res, nil
}

func openItem(f Source, r openRule, names ids) Item {
	item := Item{File: f.Name, Name: shown(r.Name)}
	var d draft
	for _, key := range unread(f.Data, "created", "updated", "name", "description", "enabled", "precedence", "nolog", "action", "duration", "operator") {
		d.note("the key %q is not known and not carried over", key)
	}
	if err := d.openRule(&r); err != nil {
		item.Notes = []string{err.Error()}
		return item
	}
	d.rule.ID = "unnamed"
	if err := readable(&d.rule); err != nil {
		item.Notes = []string{err.Error()}
		return item
	}
	d.rule.ID = names.make(r.Name, "opensnitch")
	item.Rule, item.Notes = &d.rule, d.notes
	return item
}

func (d *draft) openRule(r *openRule) error {
	switch {
	case r.Enabled != nil && !*r.Enabled:
		return refuse("it is disabled")
	case r.Duration != "" && r.Duration != "always":
		return refuse("it is temporary (duration %s)", shown(r.Duration))
	}
	switch r.Action {
	case "allow":
		d.rule.Action = event.ActionAllow
	case "deny":
		d.rule.Action = event.ActionDeny
	case "reject":
		d.rule.Action = event.ActionDeny
		d.note("reject is deny here: the program is told at once that it may not connect")
	default:
		return refuse("action %q is not known", shown(r.Action))
	}
	d.rule.Mode = event.ModeEnforce
	if d.rule.Reason = shown(r.Description); d.rule.Reason == "" {
		d.rule.Reason = "imported from OpenSnitch: " + shown(r.Name)
	}
	d.rule.Match.Direction = []event.Direction{event.Out} // all that OpenSnitch judges
	if err := d.openOperator(&r.Operator, 0); err != nil {
		return err
	}
	if r.NoLog {
		d.note("nolog is not carried over: every connection is recorded here")
	}
	if r.Precedence {
		d.note("priority is not carried over: a stricter rule that matches too wins; give that one an exception")
	}
	return nil
}

// openOperator adds one condition, or the conditions of a list, which all hold.
func (d *draft) openOperator(o *openOperator, depth int) error {
	if depth > maxDepth {
		return refuse("operators nested more than %d deep", maxDepth)
	}
	if len(o.unread) > 0 {
		return refuse("the key %q of an operator is not known: it may be a condition", o.unread[0])
	}
	if o.Type != "list" {
		return d.openCondition(o)
	}
	list := o.List
	if data := o.text(); len(list) == 0 && strings.HasPrefix(data, "[") { // older versions
		if err := json.Unmarshal([]byte(data), &list); err != nil {
			return refuse("its list of operators does not parse")
		}
	}
	if len(list) == 0 {
		return refuse("its list of operators is empty")
	}
	if len(list) > maxWords {
		return refuse("%d operators", len(list))
	}
	for i := range list {
		if err := d.openOperator(&list[i], depth+1); err != nil {
			return err
		}
	}
	return nil
}

// text is the data of an operator, which is a string in every version but for
// some numbers.
func (o *openOperator) text() string {
	var s string
	if json.Unmarshal(o.Data, &s) == nil {
		return s
	}
	return strings.TrimSpace(string(o.Data))
}

func (d *draft) openCondition(o *openOperator) error {
	data := o.text()
	switch o.Operand {
	case "true":
		return nil
	case "process.id":
		return refuse("process.id: a process id means another program tomorrow")
	case "process.hash.md5", "process.hash.sha1":
		return refuse("%s: rules here name SHA-256 only", o.Operand)
	case "iface.in", "iface.out":
		return refuse("%s: interfaces are not known here", o.Operand)
	}
	if strings.HasPrefix(o.Operand, "process.env.") {
		return refuse("%s: environments are not read here", shown(o.Operand))
	}
	if o.Type == "lists" || strings.HasPrefix(o.Operand, "lists.") {
		return refuseList(o.Operand, data)
	}
	values, err := d.openValues(o, data)
	if err != nil {
		return err
	}
	return d.openOperand(o, values)
}

// refuseList says what to do about a directory of lists, which is no part of the
// rule file.
func refuseList(operand, dir string) error {
	switch operand {
	case "lists.domains", "lists.ips", "lists.nets":
		return refuse("%s of %s: copy its files beside the rules, name each under lists: and write host: @NAME", operand, shown(dir))
	case "lists.domains_regexp":
		return refuse("%s of %s: names have no regular expressions here; write each as .example.org or *.example.org", operand, shown(dir))
	case "lists.hash.md5":
		return refuse("%s of %s: rules here name SHA-256 only", operand, shown(dir))
	}
	return refuse("%s of %s: this kind of list is not known", shown(operand), shown(dir))
}

// openValues are the values that an operator compares with: one, or those of a
// regular expression.
func (d *draft) openValues(o *openOperator, data string) ([]string, error) {
	switch o.Type {
	case "simple", "network", "range":
		if data == "" {
			return nil, refuse("%s is compared with nothing", shown(o.Operand))
		}
		return []string{data}, nil
	case "regexp":
		out, begins, ends, err := words(data)
		if err != nil {
			return nil, err
		}
		return d.openAnchors(o.Operand, out, begins, ends)
	}
	return nil, refuse("operator type %q is not known", shown(o.Type))
}

// openAnchors makes of expressions that match anywhere in a text patterns that
// match whole texts. Texts of paths and commands get stars; numbers and names
// have none, so there the difference is said.
func (d *draft) openAnchors(operand string, in []string, begins, ends bool) ([]string, error) {
	if slices.Contains(in, "") && begins && ends && len(in) == 1 {
		return nil, refuse("%s matches nothing", shown(operand))
	}
	stars := operand == "process.path" || operand == "process.parent.path" || operand == "process.command"
	if begins && ends {
		return in, nil
	}
	out := make([]string, len(in))
	open := false
	for i, w := range in {
		before := begins || strings.HasPrefix(w, "*")
		after := ends || strings.HasSuffix(w, "*")
		open = open || !before || !after
		if stars && !before {
			w = "*" + w
		}
		if stars && !after {
			w += "*"
		}
		out[i] = w
	}
	if open && !stars {
		d.note("%s: the expression also matched inside longer texts; here it matches whole ones", operand)
	}
	return out, nil
}
