package monitor

import (
	"net/netip"
	"testing"
	"time"

	"pgregory.net/rapid"

	"snitch/monitor/event"
)

// TestConnectionsConserve feeds random deltas, ends, upkeep and a tiny table
// and checks that the last snapshots of all rows hold exactly the bytes fed.
func TestConnectionsConserve(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		table := newConnections(rapid.IntRange(1, 8).Draw(t, "max"))
		c := &clock{}
		now := time.Unix(1000, 0)
		var sent, received uint64
		last := map[uint64]event.Connection{}
		take := func() {
			for _, row := range taken(table, now) {
				if old, ok := last[row.ID]; ok && old.Closed {
					t.Fatalf("row %d was published after it was closed", row.ID)
				}
				last[row.ID] = row
			}
		}
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			switch rapid.IntRange(0, 9).Draw(t, "step") {
			case 0:
				take()
			case 1:
				now = now.Add(time.Duration(rapid.IntRange(0, 300).Draw(t, "seconds")) * time.Second)
				table.sweep(now)
				table.compact()
			default:
				f := drawFlow(t, now)
				sent += f.Sent
				received += f.Received
				row, fresh := table.add(&f, c)
				if fresh {
					row.Process = drawProcess(t, f.ID)
				}
			}
		}
		take()
		var gotSent, gotReceived uint64
		for _, row := range last {
			gotSent += row.Sent
			gotReceived += row.Received
		}
		if gotSent != sent || gotReceived != received {
			t.Fatalf("rows hold %d sent, %d received; fed were %d and %d", gotSent, gotReceived, sent, received)
		}
	})
}

func drawFlow(t *rapid.T, now time.Time) event.Flow {
	return event.Flow{
		FlowKey: event.FlowKey{
			ID:     event.ProcessID{PID: rapid.Uint32Range(1, 3).Draw(t, "pid")},
			Cookie: rapid.Uint64Range(0, 4).Draw(t, "cookie"),
			Remote: netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, rapid.Byte().Draw(t, "host") % 3}), 53),
			Proto:  event.ProtoUDP,
			Kind:   event.FlowKind(rapid.IntRange(1, 7).Draw(t, "kind")),
		},
		Family:    event.AFInet,
		Sent:      rapid.Uint64Range(0, 1000).Draw(t, "sent"),
		Received:  rapid.Uint64Range(0, 1000).Draw(t, "received"),
		FirstBoot: uint64(now.UnixNano()),
		LastBoot:  uint64(now.UnixNano()),
		Result:    event.ResultEstablished,
		Closed:    rapid.IntRange(0, 3).Draw(t, "closed") == 0,
	}
}

func drawProcess(t *rapid.T, id event.ProcessID) *event.Process {
	p := &event.Process{ID: id}
	p.Executable.Reason = event.HashKnown
	if rapid.Bool().Draw(t, "pending") {
		p.Executable.Reason = event.HashPending
	}
	return p
}

// taken is all that the table hands over.
func taken(table *connections, now time.Time) (out []event.Connection) {
	table.take(now, func(rows []event.Connection) { out = append(out, rows...) })
	return out
}

// BenchmarkManyPeers is one socket that talks to ever new peers, and its end.
func BenchmarkManyPeers(b *testing.B) {
	const peers = 65536
	now := time.Unix(1000, 0)
	for b.Loop() {
		table, n := newConnections(peers), 0
		for i := range peers {
			f := event.Flow{FlowKey: event.FlowKey{Cookie: 1, Kind: event.FlowDatagram, Proto: event.ProtoUDP,
				Remote: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 9)},
				Sent: 1, SentOps: 1, FirstBoot: uint64(now.UnixNano()), LastBoot: uint64(now.UnixNano()), Closed: i == peers-1}
			table.add(&f, &clock{})
		}
		table.take(now, func(rows []event.Connection) { n += len(rows) })
		if n != peers || len(table.rows) != 0 {
			b.Fatalf("%d rows were handed over, %d are left", n, len(table.rows))
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/peers, "ns/row")
}

// TestConnectionsEmpty checks that rows which ended leave nothing behind.
func TestConnectionsEmpty(t *testing.T) {
	table, now := newConnections(100), time.Unix(1000, 0)
	for i := range 50 {
		f := event.Flow{FlowKey: event.FlowKey{Cookie: uint64(i % 7), ID: event.ProcessID{PID: uint32(i)}, Kind: event.FlowConnect},
			Closed: true, LastBoot: uint64(now.UnixNano())}
		table.add(&f, &clock{})
	}
	if got := len(taken(table, now)); got != 50 {
		t.Errorf("took %d rows, want 50", got)
	}
	if n := len(table.rows) + len(table.byCookie) + len(table.byProcess) + len(table.ended) + len(table.dirty); n != 0 {
		t.Errorf("%d entries are left of rows that ended", n)
	}
}

// TestEcho checks that a last word without a byte, after an accepted connection
// is over, makes no second row; one with bytes does, and so does an attempt of
// a socket that connects again.
func TestEcho(t *testing.T) {
	for name, c := range map[string]struct {
		kind  event.FlowKind
		bytes uint64
		after time.Duration
		want  int
	}{
		"echo":           {event.FlowAccept, 0, 0, 0},
		"late echo":      {event.FlowAccept, 0, echoFor, 0},
		"bytes":          {event.FlowAccept, 1, 0, 1},
		"much later":     {event.FlowAccept, 0, 5 * echoFor, 1},
		"connects again": {event.FlowConnect, 0, 0, 1},
	} {
		t.Run(name, func(t *testing.T) {
			table, now := newConnections(100), time.Unix(1000, 0)
			taken(table, now)
			f := event.Flow{FlowKey: event.FlowKey{Cookie: 1, Kind: c.kind}, Sent: 5, SentOps: 1, Closed: true}
			table.add(&f, &clock{})
			if got := taken(table, now); len(got) != 1 {
				t.Fatalf("%d rows", len(got))
			}
			for at := time.Duration(0); at <= c.after; at += echoFor {
				taken(table, now.Add(at))
			}
			f.Sent, f.SentOps = c.bytes, c.bytes
			table.add(&f, &clock{})
			if got := taken(table, now.Add(c.after)); len(got) != c.want {
				t.Errorf("got %d more rows, want %d", len(got), c.want)
			}
		})
	}
}

// TestRepublish checks that every open row is handed over again, once.
func TestRepublish(t *testing.T) {
	table, now := newConnections(100), time.Unix(1000, 0)
	for i := range 10 {
		table.add(&event.Flow{FlowKey: event.FlowKey{Cookie: uint64(i + 1), Kind: event.FlowConnect}}, &clock{})
	}
	taken(table, now)
	if got := taken(table, now); len(got) != 0 {
		t.Fatalf("%d rows came without a change", len(got))
	}
	table.touchAll()
	if got := taken(table, now); len(got) != 10 {
		t.Fatalf("got %d rows, want all 10", len(got))
	}
	if got := taken(table, now); len(got) != 0 {
		t.Fatalf("%d rows came twice", len(got))
	}
}

// TestPendingDigestHoldsRow checks that an ended row waits for its digest, is
// told of it, and does not wait for ever.
func TestPendingDigestHoldsRow(t *testing.T) {
	table, now := newConnections(100), time.Unix(1000, 0)
	id := event.ProcessID{PID: 7}
	pending := &event.Process{ID: id, Executable: event.Executable{Reason: event.HashPending}}
	f := event.Flow{FlowKey: event.FlowKey{ID: id, Cookie: 1, Kind: event.FlowConnect}, Closed: true, LastBoot: uint64(now.UnixNano())}
	row, _ := table.add(&f, &clock{})
	row.Process = pending
	if got := taken(table, now); len(got) != 1 || got[0].Closed {
		t.Fatalf("a row whose digest is being read: got %+v, want one open row", got)
	}
	known := *pending
	known.Executable.Reason, known.Executable.SHA256 = event.HashKnown, event.Digest{1}
	table.processChanged(&known)
	got := taken(table, now)
	if len(got) != 1 || !got[0].Closed || got[0].Process.Executable.SHA256 != known.Executable.SHA256 {
		t.Fatalf("after the digest came: got %+v, want one closed row with it", got)
	}

	row, _ = table.add(&f, &clock{})
	row.Process = pending
	taken(table, now)
	if got := taken(table, now.Add(settleFor+time.Second)); len(got) != 1 || !got[0].Closed {
		t.Fatalf("after %v: got %+v, want the row closed without a digest", settleFor, got)
	}
}
