package broker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Bounds of the core's patience.
const (
	answerWithin = 5 * time.Second // a start is answered
	endWithin    = 2 * time.Second // the broker ends after its socket did
)

// ErrGone says that the broker ended. It cannot be started again: the core is
// sealed. What needs helpers stays off until the daemon is started anew.
var ErrGone = errors.New("the broker process has ended")

// Client is the core's end of the broker. It is safe for concurrent use.
type Client struct {
	log     *slog.Logger
	conn    *net.UnixConn
	process *os.Process
	ready   chan struct{} // closed when the broker serves
	gone    chan struct{} // closed when the reader ended
	reaped  chan struct{} // closed when the process was waited for

	mu      sync.Mutex
	serves  bool
	nextID  uint32
	running map[uint32]*running
	starts  uint64
	failed  uint64
}

// running is one helper as the core knows it.
type running struct {
	kind    Kind
	pid     int
	started chan error    // the answer to start, once
	exited  chan struct{} // closed at its end
}

// answer never blocks: a second answer to one start is dropped.
func (r *running) answer(err error) {
	select {
	case r.started <- err:
	default:
	}
}

// Status is what `snitch status` shows of the broker.
type Status struct {
	PID     int      `json:"pid"`
	Alive   bool     `json:"alive"`
	Helpers []string `json:"helpers"` // kinds that run
	Pids    []int    `json:"helper_pids"`
	Starts  uint64   `json:"starts"`
	Failed  uint64   `json:"failed"` // starts that failed
}

func newClient(log *slog.Logger, conn *net.UnixConn, process *os.Process) *Client {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	c := &Client{log: log.With("component", "broker"), conn: conn, process: process,
		ready: make(chan struct{}), gone: make(chan struct{}), reaped: make(chan struct{}), running: map[uint32]*running{}}
	go c.read()
	go c.reap()
	return c
}

// await waits for the broker to serve.
func (c *Client) await() error {
	select {
	case <-c.ready:
		return nil
	case <-c.gone:
		return ErrGone
	case <-time.After(answerWithin):
		return errors.New("no sign of life from the broker")
	}
}

// PID is the broker's.
func (c *Client) PID() int { return c.process.Pid }

// Status tells what runs.
func (c *Client) Status() Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := Status{PID: c.process.Pid, Alive: true, Helpers: []string{}, Pids: []int{}, Starts: c.starts, Failed: c.failed}
	select {
	case <-c.gone:
		s.Alive = false
	default:
	}
	for _, r := range c.running {
		if r.pid != 0 {
			s.Helpers = append(s.Helpers, string(r.kind))
			s.Pids = append(s.Pids, r.pid)
		}
	}
	return s
}

// Close ends the broker and its helpers and waits for the broker's end.
func (c *Client) Close() error {
	err := c.conn.Close()
	select {
	case <-c.reaped:
	case <-time.After(endWithin):
		if killErr := c.process.Kill(); killErr != nil && !errors.Is(killErr, os.ErrProcessDone) {
			err = errors.Join(err, fmt.Errorf("kill broker: %w", killErr))
		}
		<-c.reaped
	}
	<-c.gone
	if err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("close broker: %w", err)
	}
	return nil
}

// Helper is a running helper: reading and writing is talking to it.
type Helper struct {
	net.Conn
	PID  int
	c    *Client
	id   uint32
	run  *running
	once sync.Once
}

// Exited is closed when the helper has ended.
func (h *Helper) Exited() <-chan struct{} { return h.run.exited }

func (h *Helper) ended() bool {
	select {
	case <-h.run.exited:
		return true
	default:
		return false
	}
}

// Close ends the conversation and the helper.
func (h *Helper) Close() error {
	err := h.Conn.Close()
	h.once.Do(func() { h.c.stop(h.id, h.run) })
	return err
}

// Start starts a helper of a kind that is not per user. The caller closes it.
func (c *Client) Start(ctx context.Context, kind Kind) (*Helper, error) {
	return c.start(ctx, kind, 0)
}

// StartFor starts a helper that runs as uid: a person who is logged in, or the
// broker refuses. The caller closes it.
func (c *Client) StartFor(ctx context.Context, kind Kind, uid uint32) (*Helper, error) {
	return c.start(ctx, kind, uid)
}

func (c *Client) start(ctx context.Context, kind Kind, uid uint32) (*Helper, error) {
	if !kind.valid() {
		return nil, fmt.Errorf("start helper %q: no such kind", string(kind))
	}
	ours, theirs, err := pair(unix.SOCK_STREAM)
	if err != nil {
		return nil, fmt.Errorf("start helper %s: %w", kind, err)
	}
	defer ours.Close()
	defer theirs.Close()
	conn, err := net.FileConn(ours)
	if err != nil {
		return nil, fmt.Errorf("start helper %s: %w", kind, err)
	}
	id, r, err := c.ask(ctx, kind, uid, theirs)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start helper %s: %w", kind, err), conn.Close())
	}
	return &Helper{Conn: conn, PID: r.pid, c: c, id: id, run: r}, nil
}

// ask sends a start and waits for its answer.
func (c *Client) ask(ctx context.Context, kind Kind, uid uint32, theirs *os.File) (uint32, *running, error) {
	r := &running{kind: kind, started: make(chan error, 1), exited: make(chan struct{})}
	c.mu.Lock()
	c.nextID++
	id := c.nextID
	c.running[id] = r
	c.starts++
	c.mu.Unlock()
	err := c.send(request{Op: opStart, ID: id, Kind: kind, UID: uid}, theirs)
	if err == nil {
		select {
		case err = <-r.started:
		case <-c.gone:
			err = ErrGone
		case <-ctx.Done():
			err = ctx.Err()
		case <-time.After(answerWithin):
			err = errors.New("no answer from the broker")
		}
	}
	if err == nil {
		return id, r, nil
	}
	c.mu.Lock()
	c.failed++
	delete(c.running, id)
	c.mu.Unlock()
	_ = c.send(request{Op: opStop, ID: id}, nil) // it may start yet
	return 0, nil, err
}

func (c *Client) stop(id uint32, r *running) {
	select {
	case <-r.exited:
		return
	default:
	}
	if err := c.send(request{Op: opStop, ID: id}, nil); err != nil && !errors.Is(err, ErrGone) {
		c.log.Warn("could not ask the broker to stop a helper", "kind", string(r.kind), "error", err)
	}
}

func (c *Client) send(req request, pass *os.File) error {
	b, err := encode(req)
	if err != nil {
		return err
	}
	var rights []byte
	if pass != nil {
		rights = unix.UnixRights(int(pass.Fd()))
	}
	if err := c.conn.SetWriteDeadline(time.Now().Add(answerWithin)); err != nil {
		return ErrGone // closed: nothing else fails here
	}
	_, _, err = c.conn.WriteMsgUnix(b, rights, nil)
	switch {
	case errors.Is(err, unix.EPIPE), errors.Is(err, unix.ECONNRESET), errors.Is(err, net.ErrClosed):
		return ErrGone
	case err != nil:
		return fmt.Errorf("ask broker: %w", err)
	}
	return nil
}

// read takes the broker's answers until its end.
func (c *Client) read() {
	defer c.end()
	buf := make([]byte, maxMessage)
	for {
		n, _, flags, _, err := c.conn.ReadMsgUnix(buf, nil)
		if n == 0 || err != nil {
			if err != nil && !errors.Is(err, net.ErrClosed) && !errors.Is(err, io.EOF) {
				c.log.Error("reading from the broker failed", "error", err)
			}
			return
		}
		var a answer
		if flags&unix.MSG_TRUNC != 0 {
			err = errTooLong
		} else {
			err = decode(buf[:n], &a)
		}
		if err != nil {
			c.log.Error("the broker answered nonsense", "error", err)
			return
		}
		c.answered(a)
	}
}

func (c *Client) answered(a answer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if a.Event == eventReady && !c.serves {
		c.serves = true
		close(c.ready)
	}
	r := c.running[a.ID]
	if r == nil {
		return // given up on
	}
	switch a.Event {
	case eventStarted:
		r.pid = a.PID
		r.answer(nil)
	case eventFailed:
		r.answer(errors.New(a.Status))
	case eventExited:
		c.log.Debug("helper ended", "kind", string(r.kind), "pid", r.pid, "status", a.Status)
		delete(c.running, a.ID)
		close(r.exited)
	}
}

// end tells all who wait that nothing more will come.
func (c *Client) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for id, r := range c.running {
		delete(c.running, id)
		close(r.exited)
	}
	close(c.gone)
}

func (c *Client) reap() {
	defer close(c.reaped)
	state, err := c.process.Wait()
	if err != nil {
		c.log.Error("waiting for the broker failed", "error", err)
		return
	}
	if !state.Success() {
		c.log.Error("the broker ended", "state", state.String())
	}
}
