package rule

import (
	"bytes"
	"net/netip"
)

// readList reads a file of names and networks in the forms that such lists
// come in: one a line, or a hosts file that sends names nowhere. A # begins a
// comment. What is none of this is an error: a list that is half read protects
// half.
func readList(c *collector, name, file string, src []byte) *List {
	src = bytes.TrimPrefix(src, []byte("\xef\xbb\xbf"))
	var b listBuilder
	b.names.text = make([]byte, 0, len(src))
	b.names.grow(2 * (bytes.Count(src, []byte("\n")) + 1))
	failed := 0
	for line := 1; len(src) > 0; line++ {
		text := src
		if i := bytes.IndexByte(src, '\n'); i >= 0 {
			text, src = src[:i], src[i+1:]
		} else {
			src = nil
		}
		col, msg := b.line(text)
		if msg == "" {
			continue
		}
		if failed++; failed <= maxErrors {
			c.error(Position{file, line, col}, "%s", msg)
		} else {
			c.dropped++
		}
	}
	return b.list(name)
}

// maxLine bounds a line of a list: a name, or a hosts entry with some.
const maxLine = 4096

// line reads one line; msg says what is wrong at byte col.
func (b *listBuilder) line(raw []byte) (col int, msg string) {
	if len(raw) > maxLine {
		return 1, "the line is longer than any entry of a list"
	}
	if i := bytes.IndexByte(raw, '#'); i >= 0 && !bytes.HasPrefix(raw[i:], []byte("##")) && !bytes.HasPrefix(raw[i:], []byte("#@#")) || i == 0 {
		raw = raw[:i]
	}
	text := bytes.Trim(raw, " \t\r")
	if len(text) == 0 || text[0] == ';' {
		return 0, ""
	}
	col = bytes.Index(raw, text) + 1
	if i := bytes.IndexAny(text, " \t"); i >= 0 {
		msg = b.hostsLine(text[:i], text[i:])
	} else {
		msg = b.item(text)
	}
	if msg != "" {
		if foreign := foreignFormat(text); foreign != "" {
			msg = foreign
		}
	}
	return col, msg
}

// item adds one name or network.
func (b *listBuilder) item(text []byte) string {
	// Most of a million lines are plain names: they need no more than a check.
	if checkName(text) == nil {
		b.names.add(HostName, text)
		return ""
	}
	h, err := parseListItem(string(text))
	if err != nil {
		return err.Error()
	}
	b.add(h)
	return ""
}

// hostsLine adds the names of an entry of a hosts file.
func (b *listBuilder) hostsLine(address, names []byte) string {
	if string(address) != b.address {
		a, err := netip.ParseAddr(string(address))
		if err != nil {
			return "want one name, address or network a line, or the lines of a hosts file (0.0.0.0 NAME)"
		}
		b.address, b.nowhere = string(address), a.IsUnspecified() || a.IsLoopback()
	}
	for name := range bytes.FieldsSeq(names) {
		if ownName(name) {
			continue
		}
		if !b.nowhere {
			return "this hosts file sends a name to " + b.address + ": a list of blocked names sends them to 0.0.0.0, 127.0.0.1 or ::"
		}
		if looksLikeAddress(string(name)) {
			return "an address where a hosts file has a name: " + clip(string(name))
		}
		if msg := b.item(name); msg != "" {
			return msg
		}
	}
	return ""
}

// ownName reports the names that every hosts file has for the host itself.
func ownName(name []byte) bool {
	switch string(name) {
	case "localhost", "localhost.localdomain", "localhost4", "localhost6", "localhost4.localdomain4", "localhost6.localdomain6",
		"local", "broadcasthost", "0.0.0.0", "127.0.0.1",
		"ip6-localhost", "ip6-loopback", "ip6-localnet", "ip6-mcastprefix", "ip6-allnodes", "ip6-allrouters", "ip6-allhosts":
		return true
	}
	return false
}

// foreignFormat recognises the lists of ad blockers and resolvers, whose
// entries mean more than a name.
func foreignFormat(text []byte) string {
	has := func(s string) bool { return bytes.Contains(text, []byte(s)) }
	begins := func(s string) bool { return bytes.HasPrefix(text, []byte(s)) }
	switch {
	case begins("||"), begins("@@"), begins("!"), begins("[Adblock"), has("##"), has("#@#"), has("^"), begins("|"):
		return "this is an ad blocker's filter, which says more than a name: get the list in its hosts or domains form"
	case begins("address=/"), begins("server=/"), begins("local=/"):
		return "this is a configuration of dnsmasq: get the list in its hosts or domains form"
	case begins("local-zone:"), begins("local-data:"):
		return "this is a configuration of unbound: get the list in its hosts or domains form"
	case has("IN CNAME"), has(" CNAME "), begins("$TTL"), begins("$ORIGIN"):
		return "this is a response policy zone: get the list in its hosts or domains form"
	}
	return ""
}
