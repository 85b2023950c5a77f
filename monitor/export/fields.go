package export

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"snitch/monitor/event"
)

// Severity is one of RFC 5424 and of the journal.
type Severity int

// Severities.
const (
	Warning Severity = 4
	Notice  Severity = 5
	Info    Severity = 6
)

// fieldOf is one named value of an item.
type fieldOf struct{ name, value string }

// message is an item as the journal and syslog tell it: the most telling fields
// first, for a message has a bound. Values are as processes and networks gave
// them: hostile.
type message struct {
	severity Severity
	id       string // connection, alert or program
	text     string
	fields   []fieldOf
}

func messageOf(i *Item) (message, bool) {
	switch {
	case i.Connection != nil:
		return connectionMessage(i.Connection), true
	case i.Alert != nil:
		return alertMessage(i.Alert), true
	case i.Program != nil:
		return programMessage(i.Program), true
	}
	return message{}, false
}

func connectionMessage(c *Change) message {
	peer, port := c.RAddr, c.RPort
	if c.Direction == event.Listen.String() {
		peer, port = c.LAddr, c.LPort
	}
	if c.Domain != "" {
		peer = c.Domain
	}
	m := message{severity: Info, id: "connection"}
	m.text = fmt.Sprintf("%s %s %s %s %s %s, %d bytes up, %d down, %s", c.Event, shown(c.Exe, c.Name), c.Direction, c.Proto, joined(peer, port), c.Result, c.Sent, c.Received, c.Action)
	if c.Action == event.ActionDeny.String() {
		m.severity = Notice
	}
	m.fields = []fieldOf{{"event", c.Event}, {"action", c.Action}, {"would", c.Would}, {"rule", c.Rule}, {"exe", c.Exe}, {"sha256", c.SHA256}, {"pid", number(c.PID)},
		{"uid", number(c.UID)}, {"user", c.User}, {"direction", c.Direction}, {"proto", c.Proto}, {"raddr", c.RAddr}, {"rport", number(c.RPort)}, {"domain", c.Domain},
		{"domain_source", c.DomainSource}, {"result", c.Result}, {"sent", number(c.Sent)}, {"received", number(c.Received)}, {"id", number(c.ID)},
		{"time", c.Time.Format(timeForm)}, {"last", c.Last.Format(timeForm)}, {"laddr", c.LAddr}, {"lport", number(c.LPort)}, {"country", c.Country}, {"revision", c.Revision},
		{"name", c.Name}, {"container", c.Container}, {"unit", c.Unit}, {"novelty", strings.Join(c.Novelty, " ")}, {"cmdline", c.Cmdline}}
	if p := c.Parent; p != nil {
		m.fields = append(m.fields, fieldOf{"parent_exe", p.Exe}, fieldOf{"parent_sha256", p.SHA256})
	}
	if p := c.Grandparent; p != nil {
		m.fields = append(m.fields, fieldOf{"grandparent_exe", p.Exe}, fieldOf{"grandparent_sha256", p.SHA256})
	}
	return m
}

func alertMessage(a *event.Alert) message {
	m := message{severity: Warning, id: "alert"}
	m.text = fmt.Sprintf("alert %s: %s", a.Rule, a.Reason)
	if a.Exe != "" {
		m.text += fmt.Sprintf(" (%s %s %s %s)", a.Exe, a.Direction, a.Proto, a.Peer)
	}
	m.fields = []fieldOf{{"kind", a.Kind.String()}, {"rule", a.Rule}, {"action", a.Action}, {"reason", a.Reason}, {"alert", strconv.FormatInt(a.ID, 10)},
		{"exe", a.Exe}, {"sha256", a.SHA256}, {"pid", number(a.PID)}, {"uid", number(a.UID)}, {"user", a.User}, {"direction", a.Direction}, {"proto", a.Proto},
		{"peer", a.Peer}, {"domain", a.Domain}, {"parent_exe", a.ParentExe}, {"parent_sha256", a.ParentSHA256}, {"cmdline", a.Cmdline}}
	return m
}

func programMessage(p *Program) message {
	m := message{severity: Notice, id: "program"}
	m.text = fmt.Sprintf("new %s: %s %s", strings.Join(p.What, ", "), shown(p.Exe, p.Name), p.SHA256)
	m.fields = []fieldOf{{"what", strings.Join(p.What, " ")}, {"exe", p.Exe}, {"sha256", p.SHA256}, {"pid", number(p.PID)}, {"uid", number(p.UID)}, {"user", p.User},
		{"name", p.Name}, {"parent_exe", p.Parent}, {"parent_sha256", p.PSHA}, {"time", p.Time.Format(timeForm)}, {"cmdline", p.Cmd}}
	return m
}

// timeForm is RFC 3339 with the microseconds that RFC 5424 allows.
const timeForm = "2006-01-02T15:04:05.000000Z07:00"

func number[N uint16 | uint32 | uint64](n N) string { return strconv.FormatUint(uint64(n), 10) }

func shown(exe, name string) string {
	if exe == "" {
		return "[" + name + "]"
	}
	return exe
}

func joined(addr string, port uint16) string {
	if port == 0 {
		return addr
	}
	return net.JoinHostPort(addr, strconv.Itoa(int(port)))
}

// plainText is s in one line that moves no terminal: what is not printable is
// escaped, and so is what is no UTF-8. It is at most limit bytes long.
func plainText(s string, limit int) string {
	var b strings.Builder
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		piece := s[i : i+size]
		switch {
		case r == utf8.RuneError && size <= 1:
			piece = fmt.Sprintf(`\x%02x`, s[i])
		case !unicode.IsPrint(r):
			piece = fmt.Sprintf(`\u%04x`, r)
		}
		if b.Len()+len(piece) > limit {
			break
		}
		b.WriteString(piece)
		i += size
	}
	return b.String()
}
