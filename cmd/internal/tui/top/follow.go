package top

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"snitch/cmd/internal/control"
	"snitch/monitor/event"
)

// retryEvery is how long to wait for a daemon that is not there.
const retryEvery = time.Second

// Source is where live data comes from.
type Source struct {
	Client *control.Client
	// Open reads the connections that are open according to the record: the
	// feed tells of those only when something happens on them. It may be nil.
	Open func(ctx context.Context, since time.Time, f func(event.Record) error) error
}

// Follow fills c from the daemon until ctx ends, waiting for the daemon when it
// is not there.
func Follow(ctx context.Context, src Source, c *Collector) {
	for ctx.Err() == nil {
		err := session(ctx, src, c)
		if ctx.Err() != nil {
			return
		}
		c.SetProblem(problem(err))
		select {
		case <-ctx.Done():
		case <-time.After(retryEvery):
		}
	}
}

func problem(err error) string {
	switch {
	case err == nil, errors.Is(err, io.EOF):
		return "the daemon ended; waiting for the next"
	case errors.Is(err, control.ErrNotRunning):
		return "no daemon runs here; waiting (start one with 'sudo snitch run')"
	case errors.Is(err, control.ErrForbidden):
		return "the daemon refused: use sudo, or join group snitch"
	}
	return err.Error()
}

// session follows one daemon to its end.
func session(ctx context.Context, src Source, c *Collector) error {
	feed, err := src.Client.Live(ctx)
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = feed.Close() }) // unblocks Next
	defer stop()
	defer feed.Close()
	c.Forget()
	c.SetProblem("")
	var seeding sync.WaitGroup
	defer seeding.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	seeding.Go(func() { seed(ctx, src, c) })
	for {
		m, err := feed.Next()
		if err != nil {
			return err
		}
		if m.Type == control.TypeBye {
			return io.EOF
		}
		c.Apply(&m, time.Now())
	}
}

// seed takes in what the record has as open. It is a help only: without it
// connections appear when something happens on them.
func seed(ctx context.Context, src Source, c *Collector) {
	if src.Open == nil {
		return
	}
	st, err := src.Client.Status(ctx)
	if err != nil {
		return
	}
	_ = src.Client.Flush(ctx)
	_ = src.Open(ctx, st.Started, func(r event.Record) error {
		c.Seed(&r)
		return nil
	})
}
