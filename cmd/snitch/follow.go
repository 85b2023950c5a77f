package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"snitch/cmd/internal/control"
	"snitch/monitor/event"
	"snitch/monitor/store/query"
	"snitch/monitor/store/schema"
)

// reconnectEvery is the pause between two attempts to find the daemon.
const reconnectEvery = time.Second

// overlap is how far the database is asked again after a gap: what began there
// may have been told by neither the old feed nor the new one.
const overlap = 5 * time.Second

// follower is `snitch log --follow`.
type follower struct {
	printer *logPrinter
	io      stdio
	state   string
	query   query.Query
	seen    *seen
}

// run opens the feed first and reads the database then, so that nothing falls
// between; what both tell is printed once. When the daemon ends it waits for
// the next one.
func (f *follower) run(ctx context.Context) error {
	client := control.NewClient(f.state)
	waiting := false
	for ctx.Err() == nil {
		feed, err := client.Live(ctx)
		switch {
		case errors.Is(err, control.ErrForbidden):
			return errorWithHint(err, "run it with sudo, or join group snitch")
		case err == nil:
			waiting = false
			err = f.session(ctx, feed)
		case !waiting && ctx.Err() == nil:
			waiting = true
			f.say("%v: waiting for it", err)
			err = f.past(ctx)
		default:
			err = nil
		}
		if err != nil {
			return err
		}
		select {
		case <-ctx.Done():
		case <-time.After(reconnectEvery):
		}
	}
	return nil
}

// session is the life of one feed. The end of the daemon is no error.
func (f *follower) session(ctx context.Context, feed *control.Feed) error {
	stop := context.AfterFunc(ctx, func() { _ = feed.Close() }) // unblocks Next
	defer stop()
	defer feed.Close()
	if err := f.past(ctx); err != nil {
		return err
	}
	for {
		m, err := feed.Next()
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, io.EOF), m.Type == control.TypeBye:
			f.say("the daemon ended: waiting for the next")
			f.query.Since = time.Now().Add(-overlap)
			return nil
		case err != nil:
			return err
		}
		if err := f.message(m); err != nil {
			return err
		}
	}
}

// past prints what the database has and was not printed. From then on only
// what is newer is asked for: after the daemon was away, that is the gap.
func (f *follower) past(ctx context.Context) error {
	err := stored(ctx, filepath.Join(f.state, schema.FileName), f.query, func(r *event.Record) error {
		if f.seen.show(r, false, time.Now()) {
			return f.printer.print(r)
		}
		return nil
	})
	if errors.Is(err, query.ErrNotThere) {
		err = nil // the daemon will make it
	}
	f.query.Since, f.query.Limit = time.Now().Add(-overlap), 0
	return err
}

func (f *follower) message(m control.Message) error {
	switch m.Type {
	case control.TypeConnection:
		if m.Record == nil || !f.query.Filters.Match(m.Record) || !f.seen.show(m.Record, m.Closed, time.Now()) {
			return nil
		}
		return f.printer.print(m.Record)
	case control.TypeLost:
		f.say("%d snapshots did not reach this reader, which was too slow: the database has them", m.Lost)
	}
	return nil
}

// say tells the person, not the pipe.
func (f *follower) say(format string, args ...any) {
	fmt.Fprintf(f.io.err, "snitch: "+format+"\n", args...)
}

// seen remembers what was printed of which connection. It belongs to one
// goroutine.
type seen struct {
	calm bool // not every snapshot deserves a line
	rows map[rowKey]rowState
}

// maxSeen bounds the memory; beyond it some connections begin anew.
const maxSeen = 65536

// rowKey tells connections apart: the database and the feed share no number.
type rowKey struct {
	opened       int64
	pid          uint32
	proto        string
	raddr        string
	lport, rport uint16
}

type rowState struct {
	result         string
	domain         string
	sent, received uint64
	at             time.Time
}

func newSeen(calm bool) *seen { return &seen{calm: calm, rows: map[rowKey]rowState{}} }

// show reports whether this snapshot is to be printed, and remembers it if so.
// A snapshot that says nothing new never is.
func (s *seen) show(r *event.Record, closed bool, now time.Time) bool {
	key := rowKey{opened: r.Time.UnixNano(), pid: r.PID, proto: r.Proto, raddr: r.RAddr, lport: r.LPort, rport: r.RPort}
	next := rowState{result: r.Result, domain: r.Domain, sent: r.Sent, received: r.Received, at: now}
	last, known := s.rows[key]
	if known && !s.worth(last, next, closed) {
		return false
	}
	if len(s.rows) >= maxSeen {
		clear(s.rows)
	}
	s.rows[key] = next
	return true
}

func (s *seen) worth(last, next rowState, closed bool) bool {
	moved := last.sent != next.sent || last.received != next.received
	if last.result != next.result {
		return true
	}
	if !s.calm {
		return moved || last.domain != next.domain
	}
	return moved && (closed || next.at.Sub(last.at) >= updateEvery)
}
