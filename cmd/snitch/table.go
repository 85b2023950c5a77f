package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"path"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"snitch/cmd/internal/text"
	"snitch/monitor/event"
)

// Widths of the columns of a table of connections, in cells. Program and remote
// share what is left of a terminal; elsewhere they are these wide and not cut.
const (
	userWidth    = 9
	countryWidth = 2
	protoWidth   = 5
	bytesWidth   = 7
	resultWidth  = 11
	programWidth = 32
	remoteWidth  = 46
	narrow       = 100 // a terminal narrower than this shows no user and no country
)

// Forms of the first column.
const (
	fullTime  = "2006-01-02 15:04:05"
	shortTime = "15:04:05"
)

// table prints connections for people, one aligned line each. It belongs to one
// goroutine.
type table struct {
	out      io.Writer
	form     string // of the time
	terminal bool
	colour   bool
	headed   bool
}

func newTable(out io.Writer, form string) *table {
	t := &table{out: out, form: form, terminal: isTerminal(out)}
	t.colour = t.terminal && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	return t
}

// isTerminal reports whether w is a terminal.
func isTerminal(w io.Writer) bool { return columns(w) > 0 }

// columns is the width of terminal w, 0 when it is none.
func columns(w io.Writer) int {
	f, ok := w.(*os.File)
	if !ok {
		return 0
	}
	size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return 0
	}
	if size.Col == 0 {
		return 80 // a terminal that does not know
	}
	return int(size.Col)
}

// row prints one connection.
func (t *table) row(r *event.Record) error {
	width := columns(t.out) // it may have been resized
	line := ""
	if !t.headed {
		t.headed = true
		line = t.line(width, []string{"TIME", "PROGRAM ← PARENT", "USER", " ", "REMOTE", "CC", "PROTO", "     UP", "   DOWN", "RESULT"}) + "\n"
	}
	body := t.line(width, []string{r.Time.Local().Format(t.form), program(r), who(r), arrow(r.Direction), otherEnd(r),
		r.Country, r.Proto, right(text.Bytes(r.Sent)), right(text.Bytes(r.Received)), result(r)})
	if code := hue(r); t.colour && code != "" {
		body = code + body + "\x1b[0m"
	}
	return write(t.out, line+body+"\n")
}

// line joins the cells, cleaned and fitted.
func (t *table) line(width int, cells []string) string {
	widths := []int{len(t.form), programWidth, userWidth, 1, remoteWidth, countryWidth, protoWidth, bytesWidth, bytesWidth, resultWidth}
	if t.terminal {
		if width < narrow {
			widths[2], widths[5] = 0, 0
		}
		rest := width - len(t.form) - userWidth - 1 - countryWidth - protoWidth - 2*bytesWidth - resultWidth - len(widths) + 1
		if width < narrow {
			rest += userWidth + 1 + countryWidth + 1
		}
		widths[1] = max(10, rest*2/5)
		widths[4] = max(14, rest-widths[1])
	}
	line := ""
	for i, cell := range cells {
		if widths[i] == 0 {
			continue
		}
		if i > 0 {
			line += " "
		}
		cell = text.Clean(cell)
		if last := i == len(cells)-1; !last || t.terminal {
			if t.terminal || text.Width(cell) < widths[i] {
				cell = text.Fit(cell, widths[i], i == 4)
			}
		}
		line += cell
	}
	return line
}

// program is what runs and who started it.
func program(r *event.Record) string {
	s := short(&r.Ancestor)
	if r.Script != "" {
		s += " " + path.Base(r.Script)
	}
	if r.Parent != nil {
		s += " ← " + short(r.Parent)
	}
	return s
}

func short(a *event.Ancestor) string {
	switch {
	case a.Exe != "" && a.ExeKind == "file":
		return path.Base(a.Exe)
	case a.Exe != "":
		return path.Base(a.Exe) + " (" + a.ExeKind + ")"
	case a.Name != "":
		return "[" + a.Name + "]"
	}
	return "?"
}

func who(r *event.Record) string {
	if r.User != "" {
		return r.User
	}
	return strconv.FormatUint(uint64(r.UID), 10)
}

func arrow(direction string) string {
	switch direction {
	case "out":
		return "→"
	case "in":
		return "←"
	case "listen":
		return "●"
	}
	return "?"
}

// otherEnd is the peer: its name, if one is known, and its address; for a
// listener its own address. A name that is only a label begins with "~".
func otherEnd(r *event.Record) string {
	addr, port := r.RAddr, r.RPort
	if r.Direction == "listen" {
		addr, port = r.LAddr, r.LPort
	}
	at := addr
	if port != 0 {
		at = net.JoinHostPort(addr, strconv.Itoa(int(port)))
	}
	if at == "" {
		at = r.Family
	}
	switch {
	case r.Domain == "":
		return at
	case r.DomainSource == "reverse":
		return "~" + r.Domain + " " + at
	}
	return r.Domain + " " + at
}

func result(r *event.Record) string {
	if r.Action == "deny" || r.Action == "alert" {
		return r.Result + " " + r.Action
	}
	return r.Result
}

func right(s string) string { return fmt.Sprintf("%*s", bytesWidth, s) }

// hue is the colour of a line: what failed stands out, what listens steps back.
func hue(r *event.Record) string {
	switch {
	case r.Action == "deny" || r.Result == "denied":
		return "\x1b[31m"
	case r.Action == "alert":
		return "\x1b[35m"
	}
	switch r.Result {
	case "refused", "timeout", "unreachable", "reset", "failed", "aborted":
		return "\x1b[33m"
	case "listening":
		return "\x1b[2m"
	}
	return ""
}

// updateEvery bounds how often a connection that goes on gets another line.
const updateEvery = 10 * time.Second
