package remote

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"snitch/monitor/event"
	"snitch/monitor/store"
	"snitch/monitor/store/query"
	"snitch/monitor/store/schema"
)

// sender is a host with its own record, whose parcels reach the server.
type sender struct {
	t     *testing.T
	name  string
	dir   string
	clock time.Time
	store *store.Store
}

func newSender(t *testing.T, name string, clock time.Time) *sender {
	t.Helper()
	h := &sender{t: t, name: name, dir: t.TempDir(), clock: clock}
	var err error
	h.store, err = store.Open(t.Context(), store.Config{Dir: h.dir, Group: -1, Now: func() time.Time { return h.clock },
		Outbox: &store.Outbox{Pack: NewPacker(name), Ready: func() {}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.store.Close() })
	return h
}

// record writes connections from first on with the bytes that they have so far.
func (h *sender) record(first, n, bytes uint64, closed bool) {
	h.t.Helper()
	b := store.Batch{Time: h.clock, Losses: []event.Loss{{Time: h.clock, Cause: event.LossHash, Count: 1}}}
	for id := first; id < first+n; id++ {
		c := testConnection(id, testProcess(int(id)), bytes*id, 2*bytes*id)
		c.Opened, c.Last, c.Closed = h.clock.Add(-time.Minute), h.clock, closed
		c.Remote = netip.AddrPortFrom(netip.AddrFrom4([4]byte{203, 0, 113, byte(id)}), 443)
		c.Decision.Rule = "rule-of-" + h.name
		b.Connections = append(b.Connections, c)
	}
	h.store.Append(b)
	if err := h.store.Flush(h.t.Context()); err != nil {
		h.t.Fatal(err)
	}
}

// send delivers what waits.
func (h *sender) send(db *DB) {
	h.t.Helper()
	for {
		p, ok, err := h.store.NextParcel(h.t.Context())
		if err != nil {
			h.t.Fatal(err)
		}
		if !ok {
			return
		}
		unpacked, err := unpack(p.Key, p.Data)
		if err != nil {
			h.t.Fatal(err)
		}
		deliver(h.t, db, true, unpacked)
		if err := h.store.ParcelArrived(&p); err != nil {
			h.t.Fatal(err)
		}
	}
}

func openRecord(t *testing.T, dir string) *query.DB {
	t.Helper()
	db, err := query.Open(t.Context(), filepath.Join(dir, schema.FileName), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// sums groups all of a record.
func sums(t *testing.T, db *query.DB, by string, filters ...string) map[string]query.GroupRow {
	t.Helper()
	f, err := query.Parse(filters)
	if err != nil {
		t.Fatal(err)
	}
	g, err := db.Group(context.WithoutCancel(t.Context()), query.GroupQuery{By: []string{by}, Filters: f})
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]query.GroupRow{"": g.Total}
	for _, r := range g.Rows {
		out[by+"="+r.Keys[0]] = r
	}
	return out
}

func sameSums(t *testing.T, what string, got, want query.GroupRow) {
	t.Helper()
	if got.Connections != want.Connections || got.Sent != want.Sent || got.Received != want.Received || got.Denied != want.Denied || got.WouldDeny != want.WouldDeny || want.Connections == 0 {
		t.Errorf("%s: the fleet has %+v, the hosts have %+v", what, got, want)
	}
}

// testMirror: what two hosts recorded is in the copy, each byte once, under the
// host that recorded it.
func testMirror(t *testing.T, s *site) {
	s.schema()
	s.reader()
	now := time.Now()
	web, db := newSender(t, "web-1", now.Add(-3*time.Hour)), newSender(t, "db-1", now.Add(-2*time.Hour))
	to := s.open(s.writer())
	web.record(1, 30, 10, false)
	db.record(1, 50, 1000, true)
	web.send(to)
	db.send(to)
	dir := t.TempDir()
	m, err := OpenMirror(t.Context(), s.access(s.name+"_reader", "secret"), MirrorConfig{Dir: dir, Window: 24 * time.Hour, Log: quietLog()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	}()
	refresh := func() {
		t.Helper()
		if err := m.refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	refresh()
	// Then they grow and close, a host's clock steps back, and a third one comes.
	web.clock = now.Add(-time.Hour)
	web.record(1, 30, 25, false)
	web.send(to)
	refresh()
	web.clock = web.clock.Add(-5 * time.Minute)
	web.record(1, 30, 26, true)
	web.record(31, 5, 7, false)
	web.send(to)
	late := newSender(t, "café-3", now.Add(-20*time.Hour)) // its rows waited for long
	late.record(1, 3, 99, true)
	late.send(to)
	refresh()
	refresh() // nothing is there twice

	fleet := openRecord(t, dir)
	hosts, programs := sums(t, fleet, "host"), sums(t, fleet, "exe")
	all, perExe := query.GroupRow{}, map[string]query.GroupRow{}
	for _, h := range []*sender{web, db, late} {
		own := sums(t, openRecord(t, h.dir), "exe")
		sameSums(t, h.name, hosts["host="+h.name], own[""])
		for key, row := range own {
			if key == "" {
				key, all = "all", added(all, row)
			} else {
				sameSums(t, h.name+" "+key, sums(t, fleet, "exe", "host="+h.name)[key], row)
			}
			perExe[key] = added(perExe[key], row)
		}
		// The sums of the filter and of the rows agree too.
		sameSums(t, "rule of "+h.name, sums(t, fleet, "rule", "host="+h.name)["rule=rule-of-"+h.name], own[""])
	}
	sameSums(t, "all", hosts[""], all)
	for key, want := range perExe {
		if key != "all" {
			sameSums(t, key, programs[key], want)
		}
	}
	if len(hosts) != 4 {
		t.Errorf("hosts: %v", hosts)
	}
	sameRows(t, fleet, db)
	st := m.Status()
	if len(st.Hosts) != 3 || st.Hosts[1].Name != "db-1" || st.Hosts[1].Last.IsZero() || st.Rows == 0 {
		t.Errorf("status: %+v", st)
	}
	o, err := fleet.Overview(t.Context(), now.Add(-24*time.Hour), now)
	if err != nil || o.Now.Sent != all.Sent || o.Now.Received != all.Received || o.Now.Losses != 6 {
		t.Errorf("overview: %+v, %v; want %+v", o.Now, err, all)
	}
}

func added(a, b query.GroupRow) query.GroupRow {
	a.Connections, a.Sent, a.Received = a.Connections+b.Connections, a.Sent+b.Sent, a.Received+b.Received
	a.Denied, a.WouldDeny = a.Denied+b.Denied, a.WouldDeny+b.WouldDeny
	return a
}

// sameRows compares what the fleet shows of a connection with what its host does.
func sameRows(t *testing.T, fleet *query.DB, h *sender) {
	t.Helper()
	read := func(db *query.DB, filter ...string) map[string]event.Record {
		f, err := query.Parse(filter)
		if err != nil {
			t.Fatal(err)
		}
		out := map[string]event.Record{}
		err = db.Connections(t.Context(), query.Query{Filters: f}, func(r event.Record) error {
			out[r.RAddr] = r
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	there, here := read(fleet, "host="+h.name), read(openRecord(t, h.dir))
	for addr, want := range here {
		got := there[addr]
		short := func(r *event.Record) string {
			return fmt.Sprint(r.Time.Truncate(time.Microsecond), r.Last.Truncate(time.Microsecond), r.PID, r.Exe, r.SHA256, r.UID, r.Container, r.Direction, r.Family, r.Proto, r.LAddr,
				r.LPort, r.RPort, r.DomainSource, r.Country, r.Sent, r.Received, r.Packets, r.Result, r.Action, r.Would, r.Mode, r.Rule, r.Matches, r.Novelty, r.Parent.Exe, r.Grandparent != nil)
		}
		if got.Host != h.name || short(&got) != short(&want) {
			t.Errorf("%s:\n fleet %s\n host  %s", addr, short(&got), short(&want))
		}
	}
}

// testOddRows: rows that no snitch writes, of a host that somebody took over,
// neither stop the copy nor hide what others wrote.
func testOddRows(t *testing.T, s *site) {
	s.schema()
	s.reader()
	good := newSender(t, "good", time.Now().Add(-time.Hour))
	good.record(1, 4, 10, true)
	to := s.open(s.writer())
	good.send(to)
	p := parcels(t, testGrowth(5))[0]
	p.head.Host, p.head.Written = "evil", time.Now().Add(-time.Hour)
	deliver(t, to, true, p)
	future := parcels(t, testGrowth(2))[0]
	future.head.Host, future.head.Written = "evil", time.Now().AddDate(50, 0, 0)
	deliver(t, to, true, future)
	for _, change := range []string{"sent = -5", "received = 9223372036854775807", "uid = -1", "rport = 2000000000", "lport = -7", "raddr = 'nonsense'", "sha256 = 'zz'", "family = 'x'",
		"action = 'y'", "ancestors = '\"'", "opened = NULL", "n = n - 2147480000"} {
		s.Exec(t, s.name, "UPDATE snitch_connection SET "+change+" WHERE host = 'evil'")
		dir := t.TempDir()
		m, err := OpenMirror(t.Context(), s.access(s.name+"_reader", "secret"), MirrorConfig{Dir: dir, Window: 24 * time.Hour, Log: quietLog()})
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := m.refresh(t.Context()); err != nil {
				t.Errorf("%s: %v", change, err)
			}
		}
		if err := m.Close(); err != nil {
			t.Error(err)
		}
		sameSums(t, change, sums(t, openRecord(t, dir), "host")["host=good"], sums(t, openRecord(t, good.dir), "exe")[""])
	}
	s.Exec(t, s.name, "UPDATE snitch_schema SET version = 2")
	m, err := OpenMirror(t.Context(), s.access(s.name+"_reader", "secret"), MirrorConfig{Dir: t.TempDir(), Window: time.Hour, Log: quietLog()})
	if err != nil {
		t.Fatal(err)
	}
	m.tell(m.refresh(t.Context()))
	if st := m.Status(); st.Problem == "" || !st.Read.IsZero() {
		t.Errorf("other tables than ours were read: %+v", st)
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
}

func TestWords(t *testing.T) {
	w := newWords()
	for n := range uint8(13) {
		if r := event.Result(n); w.results[r.String()] != r {
			t.Errorf("result %v came back as %v", r, w.results[r.String()])
		}
	}
	for _, f := range []uint16{event.AFInet, event.AFInet6, event.AFPacket, event.AFVsock, event.AFXDP, 1} {
		if got := w.families[event.FamilyName(f)]; got != f {
			t.Errorf("family %d came back as %d", f, got)
		}
	}
	for _, p := range []uint16{event.ProtoTCP, event.ProtoMPTCP, 99} {
		if got := w.protocols[event.ProtoName(event.AFInet, p)]; got != p {
			t.Errorf("protocol %d came back as %d", p, got)
		}
	}
	if w.actions["nonsense"] != event.ActionNone || w.causes["hash"] != event.LossHash {
		t.Error("words are not those of events")
	}
}

func quietLog() *slog.Logger { return slog.New(slog.DiscardHandler) }
