package top

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	"snitch/cmd/internal/tui/ui"
	"snitch/monitor/event"
	"snitch/monitor/store/query"
)

// View is what the rows of the table are.
type View uint8

// Views.
const (
	Programs View = iota
	Connections
	Destinations
	Users
	Countries
	Listening
	views
)

// String is the name that the tab shows.
func (v View) String() string {
	return [...]string{"programs", "connections", "destinations", "users", "countries", "listening"}[v%views]
}

// Order is what rows are sorted by.
type Order uint8

// Orders.
const (
	ByRate Order = iota
	BySent
	ByReceived
	ByConnections
	ByName
	ByAge
	orders
)

// String names it.
func (o Order) String() string {
	return [...]string{"rate", "sent", "received", "connections", "name", "last active"}[o%orders]
}

// Ask is a question to a collector.
type Ask struct {
	View    View
	Order   Order
	Reverse bool
	Filters query.Filters
}

// Row is one line of the table. It is not changed once it was made.
type Row struct {
	Key            string        // which row it is, as time goes on
	Field, Value   string        // the filter that selects what the row adds up
	Record         *event.Record // the connection, or an example
	Name           string
	Connections    int // open
	Ended          bool
	Sent, Received uint64
	Up, Down       uint64 // bytes a second
	History        [samples]uint64
	Ports          []uint16 // that are listened on
	Denied, Would  int      // connections denied, and those that rules would deny
	Alerts         int
	Undecided      int
	Allowed        int
	Last           time.Time
}

// Rows answers a question.
func (c *Collector) Rows(ask Ask) []*Row {
	c.mu.Lock()
	rows := map[string]*Row{}
	var order []*Row
	for _, x := range c.conns {
		if ask.View == Listening && (x.rec.Direction != "listen" || x.closed) || !ask.Filters.Match(x.rec) {
			continue
		}
		key, field, value, name := identify(ask.View, x.rec)
		r := rows[key]
		if r == nil {
			r = &Row{Key: key, Field: field, Value: value, Name: name, Record: x.rec, Ended: true}
			rows[key] = r
			order = append(order, r)
		}
		r.add(x, c.tick)
	}
	c.mu.Unlock()
	for _, r := range order {
		slices.Sort(r.Ports)
		r.Ports = slices.Compact(r.Ports)
	}
	Sort(order, ask.Order, ask.Reverse)
	return order
}

// identify says which row a connection belongs to.
func identify(v View, r *event.Record) (key, field, value, name string) {
	switch v {
	case Programs:
		return r.ExeView + "\x00" + r.Exe + "\x00" + r.Script, "exe", r.Exe, ui.Program(r)
	case Destinations:
		if r.Domain != "" {
			return "d" + r.Domain, "domain", r.Domain, r.Domain
		}
		return "a" + r.RAddr, "raddr", r.RAddr, r.RAddr
	case Users:
		return strconv.FormatUint(uint64(r.UID), 10), "uid", strconv.FormatUint(uint64(r.UID), 10), ui.User(r)
	case Countries:
		return r.Country, "country", r.Country, r.Country
	}
	return r.Time.Format(time.RFC3339Nano) + r.Proto + strconv.Itoa(int(r.PID)) + r.LAddr + strconv.Itoa(int(r.LPort)) + r.RAddr + strconv.Itoa(int(r.RPort)), "", "", ui.Program(r)
}

func (r *Row) add(x *conn, now uint64) {
	rec := x.rec
	if !x.closed {
		r.Ended = false
		if rec.Direction == "listen" {
			r.Ports = append(r.Ports, rec.LPort)
		}
	}
	if x.open() {
		r.Connections++
	}
	r.Sent += rec.Sent
	r.Received += rec.Received
	r.judge(rec)
	if last := latest(rec); last.After(r.Last) {
		r.Last, r.Record = last, rec
	}
	if x.last+samples <= now {
		return
	}
	// Over some samples each, as the rates: the daemon's seconds are not ours.
	var over flow
	for i := range uint64(samples - 1) {
		t := now - samples + 1 + i
		over.add(x.sample(t))
		if i >= smooth {
			over.sub(x.sample(t - smooth))
		}
		r.History[i] += over.total() / smooth
	}
	r.Up += over.sent / smooth
	r.Down += over.received / smooth
}

func latest(r *event.Record) time.Time {
	if r.Last.After(r.Time) {
		return r.Last
	}
	return r.Time
}

func (r *Row) judge(rec *event.Record) {
	switch {
	case rec.Action == "deny":
		r.Denied++
	case rec.Would == "deny":
		r.Would++
	case rec.Action == "alert":
		r.Alerts++
	case rec.Action == "undecided":
		r.Undecided++
	case rec.Action == "allow":
		r.Allowed++
	}
}

// Verdict is the gravest thing that was said about a row's connections.
func (r *Row) Verdict() string {
	count := func(n int, word string) string {
		if r.Denied+r.Would+r.Alerts+r.Undecided+r.Allowed == 1 {
			return word
		}
		return word + " " + strconv.Itoa(n)
	}
	switch {
	case r.Denied > 0:
		return count(r.Denied, "✗ deny")
	case r.Would > 0:
		return count(r.Would, "✗ would deny")
	case r.Alerts > 0:
		return count(r.Alerts, "! alert")
	case r.Undecided > 0:
		return "? undecided"
	case r.Allowed > 0:
		return "✓ allow"
	}
	return "· none"
}

// Sort sorts rows, the greatest first, names from A; reverse turns it round.
// What is equal is sorted by bytes, name and key, so that rows do not jump.
func Sort(rows []*Row, by Order, reverse bool) {
	slices.SortFunc(rows, func(a, b *Row) int {
		d := cmp.Or(cmp.Compare(b.number(by), a.number(by)), byBytes(a, b, by), strings.Compare(a.Name, b.Name), strings.Compare(a.Key, b.Key))
		if reverse {
			return -d
		}
		return d
	})
}

func byBytes(a, b *Row, by Order) int {
	if by != ByRate {
		return 0
	}
	return cmp.Compare(b.Sent+b.Received, a.Sent+a.Received)
}

// number is what an order compares, 0 for names.
func (r *Row) number(by Order) uint64 {
	switch by {
	case ByRate:
		return r.Up + r.Down
	case BySent:
		return r.Sent
	case ByReceived:
		return r.Received
	case ByConnections:
		return uint64(r.Connections)
	case ByAge:
		return uint64(max(0, r.Last.UnixNano()))
	}
	return 0
}
