package ui

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"snitch/cmd/internal/text"
	"snitch/monitor/event"
)

// Fact is a line of a detail view. Without a name it goes on with the one
// before; without a value it is a heading.
type Fact struct {
	Name, Value string
	Tone        Tone
}

// Detail shows facts, wrapped and scrolled.
type Detail struct {
	Title  string
	Facts  []Fact
	offset int
	page   int
}

// Key scrolls and reports whether the key does that.
func (d *Detail) Key(key string) bool {
	switch key {
	case "up", "k":
		d.offset--
	case "down", "j":
		d.offset++
	case "pgup":
		d.offset -= d.page
	case "pgdown", "space":
		d.offset += d.page
	case "home", "g":
		d.offset = 0
	case "end", "G":
		d.offset = 1 << 20
	default:
		return false
	}
	return true
}

// DetailKeys are the bindings of Key, for help.
func DetailKeys() KeyMap {
	return KeyMap{
		{Action: "back", Keys: []string{"esc", "backspace", "enter"}, Help: "back", Hint: "back"},
		{Keys: []string{"down", "up", "j k"}, Help: "scroll", Hint: "scroll"},
		{Keys: []string{"pgdown", "pgup"}, Help: "a page"},
	}
}

// nameWidth is that of the names of facts.
const nameWidth = 12

// Lines draws height lines.
func (d *Detail) Lines(t *Theme, width, height int) []string {
	all := []string{t.Line(width, Span{Text: " " + d.Title, Tone: Strong}), t.Line(width)}
	room := max(8, width-nameWidth-3)
	for _, f := range d.Facts {
		if f.Value == "" {
			all = append(all, t.Line(width), t.Line(width, Span{Text: " " + f.Name, Tone: Title}))
			continue
		}
		name := f.Name
		for _, part := range Wrap(Clean(f.Value), room) {
			all = append(all, t.Line(width, Span{Text: " "}, Span{Text: name, Tone: Dim, Width: nameWidth}, Span{Text: " "}, Span{Text: part, Tone: f.Tone}))
			name = ""
		}
	}
	d.page = max(1, height-1)
	d.offset = min(max(0, d.offset), max(0, len(all)-height))
	all = all[d.offset:]
	for len(all) < height {
		all = append(all, t.Line(width))
	}
	return all[:height]
}

// Wrap cuts cleaned s into parts of at most width cells.
func Wrap(s string, width int) []string {
	var out []string
	var b strings.Builder
	n := 0
	for _, r := range s {
		w := Width(string(r))
		if n+w > width && n > 0 {
			out = append(out, b.String())
			b.Reset()
			n = 0
		}
		b.WriteRune(r)
		n += w
	}
	return append(out, b.String())
}

// RecordFacts is all that the record has of a connection; place is where the
// other end is, if more than its country is known.
func RecordFacts(r *event.Record, u Units, place string) []Fact {
	var out []Fact
	add := func(name, value string, tone Tone) {
		if value != "" {
			out = append(out, Fact{Name: name, Value: value, Tone: tone})
		}
	}
	add("peer", Arrow(r.Direction)+" "+Peer(r), Strong)
	add("address", r.RAddr, Plain)
	add("place", cmp.Or(place, r.Country), Plain)
	if r.Domain != "" {
		add("name from", r.DomainSource, Plain)
	}
	add("claimed", r.SNI, Plain)
	add("protocol", r.Proto+" "+r.Family+", "+r.Result, Plain)
	add("local", HostPort(r.LAddr, r.LPort), Plain)
	add("time", r.Time.Local().Format(time.DateTime)+", "+text.Duration(max(0, r.Last.Sub(r.Time))), Plain)
	add("bytes", fmt.Sprintf("%s sent, %s received", u.Bytes(r.Sent), u.Bytes(r.Received)), Plain)
	add("verdict", verdict(r), VerdictTone(r.Action, r.Would))
	add("reason", r.Reason, Plain)
	add("rule at", r.Position, Plain)
	add("new", strings.Join(r.Novelty, ", "), Warn)
	add("user", User(r), Plain)
	add("unit", r.Unit, Plain)
	add("container", r.Container, Plain)
	add("script", r.Script, Plain)
	out = append(out, lineage(r)...)
	return out
}

func verdict(r *event.Record) string {
	s := r.Action
	if r.Would != "" && r.Would != r.Action {
		s += ", rules say " + r.Would
	}
	if r.Rule != "" {
		s += " by " + r.Rule
	}
	return s
}

// VerdictTone is how a decision looks.
func VerdictTone(action, would string) Tone {
	switch {
	case action == "deny", would == "deny":
		return Bad
	case action == "alert", would == "alert", action == "undecided":
		return Warn
	case action == "allow":
		return Good
	}
	return Dim
}

func lineage(r *event.Record) []Fact {
	out := processFacts(fmt.Sprintf("process %d", r.PID), &r.Ancestor)
	names := []string{"parent", "grandparent"}
	all := []*event.Ancestor{r.Parent, r.Grandparent}
	for i := range r.Ancestors {
		names = append(names, "before")
		all = append(all, &r.Ancestors[i])
	}
	for i, a := range all {
		if a != nil {
			out = append(out, processFacts(names[i], a)...)
		}
	}
	return out
}

func processFacts(heading string, a *event.Ancestor) []Fact {
	out := []Fact{{Name: heading}}
	add := func(name, value string) {
		if value != "" {
			out = append(out, Fact{Name: name, Value: value})
		}
	}
	exe := a.Exe
	if a.ExeView != "" {
		exe += " (in " + a.ExeView + ")"
	}
	add("file", exe)
	if a.ExeKind != "file" {
		add("kind", a.ExeKind)
	}
	add("name", a.Name)
	add("command", a.Cmdline)
	add("sha256", a.SHA256)
	if a.SHA256 == "" && a.HashReason != "" {
		add("sha256", "none: "+a.HashReason)
	}
	add("package", a.Package)
	return out
}

// VerdictMark is a decision in a sign and a word.
func VerdictMark(action, would string) string {
	switch {
	case action == "deny":
		return "✗ deny"
	case would == "deny":
		return "✗ would deny"
	case action == "alert":
		return "! alert"
	case action == "undecided":
		return "? undecided"
	case action == "allow":
		return "✓ allow"
	}
	return "· " + action
}
