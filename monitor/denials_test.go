package monitor

import (
	"net/netip"
	"testing"
	"time"

	"snitch/monitor/event"
)

// attempt is what the kernel refused, at a moment.
func attempt(proto uint16, direction event.Direction, cookie uint64, remote string, at time.Time) *event.Connection {
	return &event.Connection{Process: &event.Process{ID: event.ProcessID{PID: 1}}, Opened: at, Last: at, Direction: direction, Family: event.AFInet, Proto: proto,
		Remote: netip.MustParseAddrPort(remote), Cookie: cookie, Result: event.ResultDenied,
		Decision: event.Decision{Action: event.ActionDeny, Rule: "r"}}
}

// flowOf is what the kernel counts of the same socket and peer.
func flowOf(c *event.Connection, kind event.FlowKind, result event.Result, sent uint64, closed bool) event.Flow {
	f := event.Flow{FlowKey: event.FlowKey{ID: c.Process.ID, Cookie: c.Cookie, Remote: c.Remote, Proto: c.Proto, Kind: kind}, Family: c.Family,
		FirstBoot: uint64(c.Opened.UnixNano()), LastBoot: uint64(c.Opened.UnixNano()), Result: result, Sent: sent, Closed: closed}
	if sent > 0 {
		f.SentOps = 1
	}
	return f
}

// TestDeniedIsOneRow: what the kernel refused and what it saw of the same socket
// and peer is one row that says denied, whichever is told first.
func TestDeniedIsOneRow(t *testing.T) {
	now := time.Unix(1000, 0)
	tcp := attempt(event.ProtoTCP, event.Out, 7, "192.0.2.1:443", now)
	failed := flowOf(tcp, event.FlowConnect, event.ResultFailed, 0, true)
	cut := attempt(event.ProtoTCP, event.Out, 8, "192.0.2.1:443", now)
	for name, steps := range map[string][]any{
		"refused first":       {tcp, &failed},
		"seen first":          {&failed, tcp},
		"refused twice":       {tcp, tcp, &failed},
		"between two turns":   {tcp, nil, &failed},
		"the end comes later": {&failed, nil, tcp},
		"cut":                 {ref(flowOf(cut, event.FlowConnect, event.ResultEstablished, 5, false)), nil, cut, ref(flowOf(cut, event.FlowConnect, event.ResultReset, 3, true))},
	} {
		t.Run(name, func(t *testing.T) {
			table, clock := newConnections(100), &clock{}
			table.telling = true
			last := map[uint64]event.Connection{}
			turn := func(at time.Time) {
				for _, row := range taken(table, at) {
					last[row.ID] = row
				}
			}
			for _, step := range steps {
				switch s := step.(type) {
				case *event.Connection:
					table.deny(s, clock)
				case *event.Flow:
					if row, fresh := table.add(s, clock); fresh {
						row.Process = tcp.Process
					}
				case nil:
					turn(now.Add(tellWithin / 2))
				}
			}
			turn(now.Add(time.Minute))
			if len(last) != 1 || len(table.rows) != 0 {
				t.Fatalf("%d rows, %d of them open: %+v", len(last), len(table.rows), last)
			}
			for _, row := range last {
				if row.Result != event.ResultDenied || row.Decision.Rule != "r" || !row.Closed || row.Sent != 0 && row.Sent != 8 {
					t.Errorf("got %+v", row)
				}
			}
		})
	}
}

func ref(f event.Flow) *event.Flow { return &f }

// TestDeniedDatagrams: a socket that is refused one peer goes on with others,
// and with the same one when rules let it.
func TestDeniedDatagrams(t *testing.T) {
	now := time.Unix(1000, 0)
	table, clock := newConnections(100), &clock{}
	a, b := attempt(event.ProtoUDP, event.Out, 9, "192.0.2.1:53", now), attempt(event.ProtoUDP, event.Out, 9, "192.0.2.2:53", now)
	table.deny(a, clock)
	table.deny(a, clock)
	seen := flowOf(b, event.FlowDatagram, event.ResultEstablished, 10, false)
	row, _ := table.add(&seen, clock)
	row.Process = a.Process
	if got := taken(table, now); len(got) != 2 {
		t.Fatalf("%d rows, want 2: %+v", len(got), got)
	}
	if row := table.rows[denialKey(a)]; row.Result != event.ResultDenied {
		t.Errorf("refused: %v", row.Result)
	}
	if row.Result != event.ResultEstablished {
		t.Errorf("allowed: %v", row.Result)
	}
	again := flowOf(a, event.FlowDatagram, event.ResultEstablished, 4, false)
	table.add(&again, clock)
	if row := table.rows[denialKey(a)]; row.Result != event.ResultEstablished || row.Decision.Action != event.ActionNone || row.Sent != 4 {
		t.Errorf("allowed by now: %+v", row.Connection)
	}
	end := flowOf(a, event.FlowDatagram, event.ResultInvalid, 0, true)
	table.add(&end, clock)
	if got := taken(table, now.Add(time.Minute)); len(got) != 2 || len(table.rows) != 0 {
		t.Errorf("%d rows ended, %d are open", len(got), len(table.rows))
	}
}

// TestDeniedCallers: who calls a listener in vain has a row of its own, which
// ends by itself.
func TestDeniedCallers(t *testing.T) {
	now := time.Unix(1000, 0)
	table, clock := newConnections(100), &clock{}
	for _, remote := range []string{"192.0.2.1:1000", "192.0.2.1:1001", "192.0.2.1:1000"} {
		table.deny(attempt(event.ProtoTCP, event.In, 5, remote, now), clock)
	}
	if got := taken(table, now); len(got) != 2 {
		t.Fatalf("%d rows, want 2", len(got))
	}
	table.sweep(now.Add(idleAfter + time.Second))
	if got := taken(table, now.Add(idleAfter+time.Minute)); len(got) != 2 || !got[0].Closed || len(table.rows) != 0 {
		t.Errorf("%d rows ended, %d are open", len(got), len(table.rows))
	}
}

// TestDenialsBounded: what finds no room is counted.
func TestDenialsBounded(t *testing.T) {
	var d denials
	c := attempt(event.ProtoTCP, event.Out, 7, "192.0.2.1:443", time.Unix(1000, 0))
	for range maxDenials + 3 {
		d.put(c)
	}
	if list, lost := d.take(); len(list) != maxDenials || lost != 3 {
		t.Errorf("%d kept, %d lost", len(list), lost)
	}
}
