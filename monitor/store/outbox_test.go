package store

import (
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"snitch/monitor/event"
)

// told adds up what a packer was shown, as a remote record would.
type told struct {
	rows, first, execs, losses int
	sent, received, packets    uint64
	alerts                     uint64
	parcels                    byte
}

func (o *told) pack(g *Growth) []Parcel {
	p := Parcel{Rows: len(g.Connections), Data: fmt.Append(nil, g.Time)}
	for _, c := range g.Connections {
		o.rows++
		if c.First {
			o.first++
		}
		o.sent, o.received, o.packets = o.sent+c.Sent, o.received+c.Received, o.packets+c.Packets
		p.Sent, p.Received = p.Sent+c.Sent, p.Received+c.Received
	}
	for i := range g.Alerts {
		o.alerts += g.Alerts[i].Count
	}
	o.execs += len(g.Execs)
	o.losses += len(g.Losses)
	o.parcels++
	p.Key = [16]byte{o.parcels}
	return []Parcel{p}
}

func withOutbox(o *told) func(*Config) {
	return func(c *Config) { c.Outbox = &Outbox{Pack: o.pack} }
}

// TestOutboxTellsGrowth: the sums of what leaves are the record's own, over
// snapshots that grow, and each connection is new once.
func TestOutboxTellsGrowth(t *testing.T) {
	var o told
	s := open(t, t.TempDir(), withOutbox(&o))
	for n := range uint64(5) {
		c := connection(1, base, 100*(n+1), 10*(n+1))
		c.Packets, c.Closed = n+1, false
		d := connection(2+n, base, 7, 3)
		d.Packets = 1
		b := batch(base, c, d)
		b.Execs = []event.ExecSeen{{Time: base, Process: process(1)}}
		b.Losses = []event.Loss{{Time: base, Cause: event.LossHash, Count: 1}}
		b.Alerts = []event.Alert{event.NewAlert(event.AlertRule, "r", event.ActionAlert, "", base, &c)}
		s.Append(b)
		flush(t, s)
	}
	if o.first != 6 || o.rows != 10 || o.sent != 500+35 || o.received != 50+15 || o.packets != 5+5 || o.execs != 5 || o.losses != 5 || o.alerts != 5 {
		t.Errorf("told %+v", o)
	}
	if sum := number(t, s, "SELECT sum(sent) FROM connection"); uint64(sum) != o.sent {
		t.Errorf("the record has %d bytes, told were %d", sum, o.sent)
	}
}

// TestOutboxIsPartOfTheTransaction: what waits is what was committed, survives
// the end, and goes in order, once.
func TestOutboxIsPartOfTheTransaction(t *testing.T) {
	dir := t.TempDir()
	var o told
	s := open(t, dir, withOutbox(&o))
	for n := range uint64(3) {
		s.Append(batch(base, connection(n+1, base, 5, 6)))
		flush(t, s)
	}
	if st := s.Stats().Outbox; st.Parcels != 3 || st.Rows != 3 || st.Bytes == 0 || !st.Oldest.Equal(base) {
		t.Errorf("waits: %+v", st)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.NextParcel(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("a closed store: %v", err)
	}
	s = open(t, dir, withOutbox(&o))
	for n := range byte(3) {
		p, ok, err := s.NextParcel(t.Context())
		if err != nil || !ok || p.Key != [16]byte{n + 1} || p.Rows != 1 || p.Sent != 5 || p.Received != 6 {
			t.Fatalf("parcel %d: %+v %v %v", n, p, ok, err)
		}
		again, _, _ := s.NextParcel(t.Context())
		if again.ID != p.ID {
			t.Error("another parcel before the first arrived")
		}
		if err := errors.Join(s.ParcelArrived(&p), s.ParcelArrived(&p)); err != nil { // twice does no harm
			t.Fatal(err)
		}
	}
	if _, ok, err := s.NextParcel(t.Context()); ok || err != nil {
		t.Errorf("there is more: %v %v", ok, err)
	}
	if st := s.Stats().Outbox; st.Parcels != 0 || st.Rows != 0 || st.Bytes != 0 || !st.Oldest.IsZero() {
		t.Errorf("waits: %+v", st)
	}
	sound(t, s.path)
}

// TestOutboxOfALostFile: what was told already is not told again when the file
// is lost, and what had not left is counted.
func TestOutboxOfALostFile(t *testing.T) {
	dir := t.TempDir()
	var o told
	var lost uint64
	s := open(t, dir, withOutbox(&o), func(c *Config) {
		c.Loss = func(cause event.LossCause, n uint64) {
			if cause == event.LossRemote {
				lost += n
			}
		}
	})
	c := connection(1, base, 100, 10)
	c.Closed = false
	s.Append(batch(base, c))
	flush(t, s)
	for _, suffix := range []string{"", "-wal", "-shm"} {
		if err := os.Remove(s.path + suffix); err != nil {
			t.Fatal(err)
		}
	}
	c.Sent, c.Received, c.Closed = 150, 11, true
	d := connection(2, base.Add(time.Second), 1, 1)
	s.Append(batch(base, c, d))
	flush(t, s)
	if o.sent != 151 || o.received != 12 || o.first != 2 || o.rows != 3 {
		t.Errorf("told %+v", o)
	}
	if lost != 1 {
		t.Errorf("%d rows are counted as never sent, want 1", lost)
	}
	if n := number(t, s, "SELECT sent FROM connection WHERE id = 1"); n != 150 {
		t.Errorf("the new file has %d bytes of the first, want all 150", n)
	}
	flush(t, s) // the loss itself
	if n := number(t, s, "SELECT ifnull(sum(count), 0) FROM loss WHERE cause = 20"); n != 1 {
		t.Errorf("the new file tells of %d lost rows", n)
	}
}

// TestUnreadableParcel does not hold up what follows.
func TestUnreadableParcel(t *testing.T) {
	var o told
	s := open(t, t.TempDir(), withOutbox(&o))
	s.Append(batch(base, connection(1, base, 5, 6)))
	flush(t, s)
	p, _, err := s.NextParcel(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.ParcelUnreadable(&p); err != nil {
		t.Fatal(err)
	}
	flush(t, s)
	if n := number(t, s, "SELECT sum(count) FROM loss WHERE cause = 20 AND sent = 5"); n != 1 {
		t.Errorf("%d lost rows recorded", n)
	}
	if st := s.Stats().Outbox; st.Dropped != 1 || st.Rows != 0 || st.Parcels != 1 { // the parcel that tells of the loss
		t.Errorf("outbox %+v", st)
	}
}
