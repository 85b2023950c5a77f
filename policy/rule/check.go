package rule

import (
	"slices"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"snitch/monitor/event"
)

type expiry = time.Time

// defaultDirection is what a match means that names no direction.
func defaultDirection(m *Match) []event.Direction {
	switch {
	case m.To != nil && m.From == nil:
		return []event.Direction{event.Out}
	case m.From != nil && m.To == nil:
		return []event.Direction{event.In}
	}
	return nil
}

// finishMatch fills the direction and refuses conditions that exclude each
// other: such a match can never be what somebody meant.
func finishMatch(r *reader, n *yaml.Node, m *Match) {
	if len(m.Direction) == 0 {
		m.Direction = defaultDirection(m)
	}
	if m.From != nil && slices.Contains(m.Direction, event.Listen) {
		r.fail(n, "a listener has no peer, so from never matches beside direction: listen; write to for its own address and port")
	}
	if len(m.Direction) > 0 && len(m.Novelty) > 0 {
		listens := slices.Contains(m.Direction, event.Listen)
		connects := slices.ContainsFunc(m.Direction, func(d event.Direction) bool { return d != event.Listen })
		if !listens && all(m.Novelty, NoveltyListener) {
			r.fail(n, "novelty: listener needs direction: listen, this match is of direction %s", oneOf(stringsOf(m.Direction)))
		}
		if !connects && all(m.Novelty, NoveltyDestination) {
			r.fail(n, "novelty: destination never matches beside direction: listen: a listener has no destination")
		}
	}
	if m.From != nil && m.To != nil && len(m.From.Proto) > 0 && len(m.To.Proto) > 0 &&
		!slices.ContainsFunc(m.To.Proto, func(p string) bool { return slices.Contains(m.From.Proto, p) }) {
		r.fail(n, "from.proto and to.proto exclude each other, but a connection has one protocol: write it once")
	}
	checkPortless(r, n, m)
}

// checkPortless refuses a port beside protocols that have none.
func checkPortless(r *reader, n *yaml.Node, m *Match) {
	var protos []string
	port := false
	for _, e := range []*EndpointMatch{m.From, m.To} {
		if e != nil {
			protos = append(protos, e.Proto...)
			port = port || len(e.Port) > 0
		}
	}
	with := slices.ContainsFunc(protos, func(p string) bool { return !slices.Contains(portless, p) })
	if port && len(protos) > 0 && !with {
		r.fail(n, "port never matches beside proto: %s, which has no ports", oneOf(protos))
	}
}

func all[T comparable](list []T, v T) bool {
	return !slices.ContainsFunc(list, func(x T) bool { return x != v })
}

func stringsOf[T interface{ String() string }](list []T) []string {
	out := make([]string, len(list))
	for i, v := range list {
		out[i] = v.String()
	}
	return out
}

// textNode writes a text so that every YAML reader takes it for that text,
// those of YAML 1.1 included, which read no and 0755 otherwise.
func textNode(s string) *yaml.Node {
	n := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s}
	if needsQuotes(s) {
		n.Style = yaml.DoubleQuotedStyle
	}
	return n
}

// needsQuotes finds texts that would read as something else. What it does not
// find, the encoder still quotes, in the other quotes.
func needsQuotes(s string) bool {
	switch strings.ToLower(s) {
	case "y", "n", "yes", "no", "on", "off", "true", "false", "null", "~", "<<", "=":
		return true
	}
	return strings.IndexAny(s, "*@!&%`#|>'\"") == 0 || strings.ContainsAny(s, ":,[]{}\n") || strings.Contains(s, " #")
}

// numberNode writes digits as a number, anything else as a text.
func numberNode(s string) *yaml.Node {
	if strings.Trim(s, "0123456789") == "" {
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!int", Value: s}
	}
	return textNode(s)
}

// number makes a value write numbers.
func number[T interface {
	comparable
	String() string
}](v value[T]) value[T] {
	v.write = func(x T) *yaml.Node { return numberNode(x.String()) }
	return v
}
