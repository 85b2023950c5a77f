package custom

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"time"

	"snitch/policy/rule"
)

// worker is a connection whose program is loaded.
type worker struct {
	conn io.ReadWriteCloser
	seq  uint64
	used bool // it answered a question
}

// pause is a back-off.
type pause struct {
	until  time.Time
	length time.Duration
}

func (p *pause) extend(now time.Time) {
	p.length = min(max(2*p.length, backOff), backOffMax)
	p.until = now.Add(p.length)
}

// stop ends the worker. That its connection was closed before, by a deadline,
// is no error, and nothing else can be done about another one.
func (p *Pool) stop() {
	if p.worker == nil {
		return
	}
	if err := p.worker.conn.Close(); err != nil && !errors.Is(err, os.ErrClosed) && !errors.Is(err, net.ErrClosed) {
		p.log.Warn("close worker of custom rules", "error", err)
	}
	p.worker = nil
}

// start brings a worker up unless one runs.
func (p *Pool) start(ctx context.Context, now time.Time) error {
	switch {
	case p.closed:
		return ErrClosed
	case p.worker != nil:
		return nil
	case now.Before(p.starting.until):
		return errors.New("it did not come up; it is tried again later")
	}
	w, err := p.newWorker(ctx)
	if err != nil {
		if ctx.Err() == nil {
			p.starting.extend(now)
		}
		return err
	}
	p.worker, p.starting = w, pause{}
	return nil
}

func (p *Pool) newWorker(ctx context.Context) (*worker, error) {
	conn, err := p.cfg.Spawn(ctx)
	if err != nil {
		return nil, err
	}
	w := &worker{conn: conn}
	req := request{Op: opLoad}
	for _, m := range p.cfg.Modules {
		if !m.Test {
			req.Modules = append(req.Modules, wireModule{m.File, m.Source})
		}
	}
	for _, name := range p.cfg.Program.lists {
		req.Lists = append(req.Lists, wireList{name, hostsOf(p.cfg.Lists[name])})
	}
	res, err := w.call(ctx, &req, loadWithin)
	if err == nil && res.Error != "" {
		err = errors.New(bounded(res.Error))
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("load modules: %w", err), conn.Close())
	}
	return w, nil
}

func hostsOf(l *rule.List) []rule.Host {
	hosts := slices.Collect(l.Names())
	for net := range l.Nets() {
		hosts = append(hosts, rule.Host{Kind: rule.HostNet, Net: net})
	}
	return hosts
}

// call asks and waits for the answer. When the time is over, or ctx, the
// connection is closed: a worker that hangs reads nothing.
func (w *worker) call(ctx context.Context, req *request, within time.Duration) (*response, error) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	unblock := context.AfterFunc(ctx, func() { _ = w.conn.Close() }) // stop closes it again and tells
	defer unblock()
	w.seq++
	req.V, req.Seq = Version, w.seq
	if err := writeFrame(w.conn, req, maxRequest); err != nil {
		return nil, late(ctx, within, err)
	}
	var res response
	switch err := readFrame(w.conn, &res, maxResponse); {
	case err != nil:
		return nil, late(ctx, within, err)
	case res.V != Version:
		return nil, fmt.Errorf("response: %w", errVersion)
	case res.Seq != req.Seq:
		return nil, fmt.Errorf("response %d to request %d", res.Seq, req.Seq)
	}
	return &res, nil
}

func late(ctx context.Context, within time.Duration, err error) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("no answer within %s: %w", within, context.DeadlineExceeded)
	}
	return err
}
