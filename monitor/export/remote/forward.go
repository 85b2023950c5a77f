package remote

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"snitch/monitor/store"
)

// Pauses between attempts while the server does not take anything, and how
// often an outbox that seemed empty is looked at.
const (
	firstPause = time.Second
	lastPause  = time.Minute
	lookAgain  = 15 * time.Second
)

// answerWithin bounds the helper's answer: it has its own, shorter bounds.
const answerWithin = 2*deliverWithin + 2*dialWithin

// Outbox is where parcels wait.
type Outbox interface {
	NextParcel(ctx context.Context) (store.Parcel, bool, error)
	ParcelArrived(p *store.Parcel) error
	ParcelUnreadable(p *store.Parcel) error
}

// Deps is what a Forwarder needs.
type Deps struct {
	Outbox Outbox
	// Talk gives use the connection to the helper; an error of use ends that
	// helper.
	Talk func(ctx context.Context, use func(net.Conn) error) error
	Log  *slog.Logger
}

// Stats is how a Forwarder does.
type Stats struct {
	Parcels, Rows uint64    // delivered in this run
	Repeated      uint64    // parcels that had arrived before
	Failed        uint64    // attempts
	LastArrival   time.Time // zero: none in this run
	Problem       string    // why the last attempt failed; "" when it did not
}

// Forwarder brings what waits in the outbox to the server, in order, one parcel
// at a time. Stats and Wake may be called concurrently; Run once.
type Forwarder struct {
	access Access
	deps   Deps
	wake   chan struct{}
	told   net.Conn // which helper knows the access; of Run

	mu    sync.Mutex
	stats Stats
}

// NewForwarder makes one.
func NewForwarder(access Access, deps Deps) *Forwarder {
	if deps.Log == nil {
		deps.Log = slog.New(slog.DiscardHandler)
	}
	return &Forwarder{access: access, deps: deps, wake: make(chan struct{}, 1)}
}

// Server names it, for people.
func (f *Forwarder) Server() string { return f.access.Address.String() }

// Wake says that something waits. It never blocks.
func (f *Forwarder) Wake() {
	select {
	case f.wake <- struct{}{}:
	default: // it knows already
	}
}

// Stats returns the state of now.
func (f *Forwarder) Stats() Stats {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.stats
}

// Run forwards until ctx ends. What waits then waits for the next run.
func (f *Forwarder) Run(ctx context.Context) error {
	pause := firstPause
	for {
		more, err := f.forward(ctx)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			f.failed(err)
			if !sleep(ctx, pause, nil) {
				return ctx.Err()
			}
			pause = min(2*pause, lastPause)
		case more:
			pause = firstPause
		default:
			if !sleep(ctx, lookAgain, f.wake) {
				return ctx.Err()
			}
		}
	}
}

// sleep waits for d or until wake; false says that ctx ended.
func sleep(ctx context.Context, d time.Duration, wake <-chan struct{}) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-wake:
	case <-timer.C:
	}
	return true
}

// forward brings the oldest parcel to the server; more is false when none
// waits.
func (f *Forwarder) forward(ctx context.Context) (more bool, err error) {
	p, ok, err := f.deps.Outbox.NextParcel(ctx)
	if err != nil || !ok {
		return false, err
	}
	var said answer
	err = f.deps.Talk(ctx, func(conn net.Conn) error {
		defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
		said, err = f.converse(conn, &p)
		return err
	})
	switch {
	case err != nil:
		return false, err
	case said.Unreadable:
		f.deps.Log.Error("a parcel for the remote database is damaged and was dropped", "rows", p.Rows, "error", said.Error)
		return true, f.deps.Outbox.ParcelUnreadable(&p)
	case said.Error != "":
		return false, errors.New(said.Error)
	}
	if err := f.deps.Outbox.ParcelArrived(&p); err != nil {
		return false, err
	}
	f.arrived(&p, said.Fresh)
	return true, nil
}

func (f *Forwarder) converse(conn net.Conn, p *store.Parcel) (answer, error) {
	if err := conn.SetDeadline(time.Now().Add(answerWithin)); err != nil {
		return answer{}, fmt.Errorf("set deadline: %w", err)
	}
	if f.told != conn {
		if err := writeJSON(conn, frameAccess, &f.access); err != nil {
			return answer{}, err
		}
		if said, err := readAnswer(conn); err != nil || said.Error != "" {
			return said, err
		}
		f.told = conn
	}
	if err := writeFrame(conn, frameParcel, p.Key[:], p.Data); err != nil {
		return answer{}, err
	}
	return readAnswer(conn)
}

func readAnswer(conn net.Conn) (a answer, err error) {
	kind, payload, err := readFrame(conn)
	if err != nil {
		return a, err
	}
	if kind != frameAnswer {
		return a, fmt.Errorf("the helper answered with a message %q", kind)
	}
	if err := decodeStrict(payload, &a); err != nil {
		return a, fmt.Errorf("read answer: %w", err)
	}
	a.Error = clean(a.Error, maxProblem)
	return a, nil
}

func (f *Forwarder) arrived(p *store.Parcel, fresh bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.stats.Problem != "" {
		f.deps.Log.Info("the remote database takes rows again")
	}
	f.stats.Problem = ""
	f.stats.LastArrival = time.Now()
	f.stats.Parcels++
	f.stats.Rows += uint64(p.Rows)
	if !fresh {
		f.stats.Repeated++
	}
}

// failed notes an error, and logs it when it is a new one.
func (f *Forwarder) failed(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stats.Failed++
	if f.stats.Problem != err.Error() {
		f.deps.Log.Warn("nothing reaches the remote database, rows wait on disk", "server", f.access.Address.String(), "error", err)
	}
	f.stats.Problem = err.Error()
}
