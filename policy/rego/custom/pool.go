package custom

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"snitch/policy/rule"
)

// Config is what NewPool needs.
type Config struct {
	// Spawn starts a worker that serves what is written to it; Close ends it,
	// whatever it is doing. The daemon's broker does.
	Spawn    func(ctx context.Context) (io.ReadWriteCloser, error)
	Program  *Program // compiled here, to know what the worker is to say
	Modules  []rule.Module
	Lists    map[string]*rule.List
	Deadline time.Duration    // of a package for one connection; 0 is Deadline
	Now      func() time.Time // nil is time.Now
	Log      *slog.Logger
}

// Patience with a worker.
const (
	loadWithin = 30 * time.Second // spawned, and the modules compiled
	slack      = time.Second      // beyond the deadline, for a busy machine
	backOff    = time.Second      // after the first failure; doubled for each further one
	backOffMax = 5 * time.Minute
)

// Status is what `snitch status` shows of a package.
type Status struct {
	Package  string    `json:"package"`
	Degraded bool      `json:"degraded"` // its last answer was an error
	Reason   string    `json:"reason,omitempty"`
	Since    time.Time `json:"since,omitzero"`
	Asked    uint64    `json:"asked"`  // connections
	Failed   uint64    `json:"failed"` // connections that it had no answer for
	Kills    uint64    `json:"kills"`  // workers that it ended
}

// Pool keeps one worker running and asks it. It is safe for concurrent use;
// callers wait for each other. Close it.
type Pool struct {
	cfg Config
	log *slog.Logger

	mu       sync.Mutex // guards all below
	worker   *worker
	starting pause // of workers that do not come up
	packages []*packageState
	closed   bool

	statusMu sync.Mutex // guards Status of the packages; never held while asking
}

// packageState is one package as the pool knows it.
type packageState struct {
	unit   *unit
	status Status
	pause  pause
}

// ErrClosed says that the pool was closed.
var ErrClosed = errors.New("custom rules are closed")

// NewPool makes a pool; a worker is started when there is something to ask.
func NewPool(cfg Config) *Pool {
	if cfg.Deadline <= 0 {
		cfg.Deadline = Deadline
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	p := &Pool{cfg: cfg, log: cfg.Log.With("component", "custom rules")}
	for _, u := range cfg.Program.packages {
		p.packages = append(p.packages, &packageState{unit: u, status: Status{Package: u.name}})
	}
	return p
}

// Decide asks every package about every input. There is one answer for each
// input, also when packages are degraded; the pool logs why once, when it
// begins.
func (p *Pool) Decide(ctx context.Context, inputs []Input) []Answer {
	out := make([]Answer, len(inputs))
	p.mu.Lock()
	defer p.mu.Unlock()
	for at := 0; at < len(inputs); at += maxBatch {
		end := min(at+maxBatch, len(inputs))
		batch, err := encode(inputs[at:end])
		for _, s := range p.packages {
			if err == nil {
				p.ask(ctx, s, batch, out[at:end])
			} else {
				p.fail(s, out[at:end], err)
			}
		}
	}
	return out
}

func encode(inputs []Input) ([]json.RawMessage, error) {
	out := make([]json.RawMessage, len(inputs))
	for i := range inputs {
		text, err := json.Marshal(&inputs[i])
		if err != nil {
			return nil, fmt.Errorf("encode input: %w", err)
		}
		out[i] = text
	}
	return out, nil
}

// ask asks one package. A worker that ends while it runs a package was ended
// by it, unless it may have ended before: then another one is asked.
func (p *Pool) ask(ctx context.Context, s *packageState, batch []json.RawMessage, out []Answer) {
	now := p.cfg.Now()
	if now.Before(s.pause.until) {
		p.fail(s, out, nil)
		return
	}
	for {
		if err := p.start(ctx, now); err != nil {
			p.fail(s, out, fmt.Errorf("start worker: %w", err))
			return
		}
		used := p.worker.used
		err := p.askWorker(ctx, s, batch, out)
		if err == nil {
			return
		}
		p.stop()
		if ctx.Err() != nil { // the caller's end is no fault of the package
			p.fail(s, out, nil)
			return
		}
		if used && !errors.Is(err, context.DeadlineExceeded) {
			continue
		}
		s.pause.extend(now)
		p.statusMu.Lock()
		s.status.Kills++
		p.statusMu.Unlock()
		p.fail(s, out, fmt.Errorf("the worker ended while it ran the package: %w", err))
		return
	}
}

// askWorker fills the answers, or returns why the worker is of no more use.
func (p *Pool) askWorker(ctx context.Context, s *packageState, batch []json.RawMessage, out []Answer) error {
	req := request{Op: opEval, Package: s.unit.name, Inputs: batch, Deadline: int64(p.cfg.Deadline)}
	res, err := p.worker.call(ctx, &req, batchDeadlines*p.cfg.Deadline+slack)
	if err != nil {
		return err
	}
	if err := s.take(res, out); err != nil {
		return err
	}
	p.worker.used = true
	p.took(s, res)
	return nil
}

// take checks a response and adds its votes to the answers.
func (s *packageState) take(res *response, out []Answer) error {
	if len(res.Answers) != len(out) {
		return fmt.Errorf("%d answers to %d questions", len(res.Answers), len(out))
	}
	votes := make([][]rule.CustomVote, len(out))
	for i := range res.Answers {
		a := &res.Answers[i]
		if len(a.Votes) > maxVotes || len(a.Error) > 2*1024 {
			return errors.New("an answer is longer than its bound")
		}
		for _, v := range a.Votes {
			pos, has := s.unit.sets[v.Set]
			if !has || !voteID.MatchString(v.ID) || len(v.Reason) > maxReason {
				return errors.New("an answer holds what is no vote")
			}
			votes[i] = append(votes[i], rule.CustomVote{ID: "custom." + s.unit.name + "." + v.ID, Action: voteActions[v.Set], Reason: v.Reason, Pos: pos})
		}
	}
	for i := range out {
		if res.Answers[i].Error != "" {
			out[i].Degraded = append(out[i].Degraded, s.unit.name)
			continue
		}
		out[i].Votes = append(out[i].Votes, votes[i]...)
	}
	return nil
}

// took records a batch that the worker answered. A package that was too slow
// pauses as if it had ended the worker.
func (p *Pool) took(s *packageState, res *response) {
	var failed uint64
	reason, late := "", false
	for _, a := range res.Answers {
		if a.Error != "" {
			failed++
			late = late || a.Late
			if reason == "" {
				reason = a.Error
			}
		}
	}
	if late {
		s.pause.extend(p.cfg.Now())
	} else {
		s.pause = pause{}
	}
	p.record(s, uint64(len(res.Answers)), failed, reason)
}

// fail records a batch without answers. Without an error the reason is the one
// that is known.
func (p *Pool) fail(s *packageState, out []Answer, err error) {
	for i := range out {
		out[i].Degraded = append(out[i].Degraded, s.unit.name)
	}
	p.statusMu.Lock()
	reason := s.status.Reason
	p.statusMu.Unlock()
	if err != nil {
		reason = err.Error()
	}
	p.record(s, uint64(len(out)), uint64(len(out)), reason)
}

func (p *Pool) record(s *packageState, asked, failed uint64, reason string) {
	p.statusMu.Lock()
	defer p.statusMu.Unlock()
	was := s.status.Degraded
	s.status.Asked += asked
	s.status.Failed += failed
	s.status.Degraded, s.status.Reason = failed > 0, reason
	switch {
	case !was && s.status.Degraded:
		s.status.Since = p.cfg.Now()
		p.log.Warn("custom rules do not answer", "package", s.unit.name, "error", reason)
	case was && !s.status.Degraded:
		s.status.Since = time.Time{}
		p.log.Info("custom rules answer again", "package", s.unit.name)
	}
}

// Status tells of every package, sorted by name.
func (p *Pool) Status() []Status {
	p.statusMu.Lock()
	defer p.statusMu.Unlock()
	out := make([]Status, len(p.packages))
	for i, s := range p.packages {
		out[i] = s.status
	}
	return out
}

// Close ends the worker. It waits for a question that is being asked.
func (p *Pool) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	p.stop()
}
