package reputation

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"sync"
	"time"

	"snitch/monitor/event"
)

// Config is how a Service asks.
type Config struct {
	Server    Server
	File      string        // where verdicts are kept
	Interval  time.Duration // between two questions
	Upload    bool          // give away files that are not known
	MaxUpload int64         // bytes of a file
}

// Deps is what a Service needs.
type Deps struct {
	// Speak goes on with a conversation with a Helper, or begins one: fresh says
	// so. An error of use ends that helper. One goroutine calls it.
	Speak func(ctx context.Context, use func(conn io.ReadWriteCloser, fresh bool) error) error
	// Learned is told each new answer, with a process that runs the file. It is
	// also told a bad one again, at most once an hour, when its file runs again.
	// It must not block or call the Service.
	Learned func(a Answer, p *event.Process)
	// Refused is told, once, that the key is not taken: nothing more is asked.
	Refused func(why string)
	Log     *slog.Logger
	Now     func() time.Time // nil: time.Now
}

// Bounds of a Service.
const (
	maxWaiting = 4096
	longRest   = time.Hour // after refusals; the rests before double
	tellAgain  = time.Hour
)

// Stats is the state of a Service at one moment.
type Stats struct {
	Known    int // files with an answer
	Waiting  int
	Asked    uint64
	Uploaded uint64
	Dropped  uint64 // files for which there was no room to wait; asked when seen again
	Failed   uint64
	Error    string    // of the last question, "" when it was answered
	Rests    time.Time // nothing is asked before
}

// Service knows the reputation of files. Its methods are safe for concurrent use;
// Run is called once.
type Service struct {
	cfg  Config
	deps Deps
	wake chan struct{}

	mu      sync.Mutex // guards what follows
	answers map[event.Digest]Answer
	told    map[event.Digest]time.Time // bad ones
	queue   []*event.Process
	waiting map[event.Digest]bool
	stats   Stats
	off     bool // the key is not taken
}

// New makes a Service with the answers of earlier runs. When they cannot be read,
// it begins without them and says so in the log.
func New(cfg Config, deps Deps) *Service {
	if deps.Now == nil {
		deps.Now = time.Now
	}
	answers, err := Load(cfg.File)
	if err != nil {
		deps.Log.Warn("verdicts of earlier runs are not used", "error", err)
	}
	return &Service{cfg: cfg, deps: deps, wake: make(chan struct{}, 1), answers: answers, told: map[event.Digest]time.Time{}, waiting: map[event.Digest]bool{}}
}

// Look is told of a process that uses the network. It never waits.
func (s *Service) Look(p *event.Process) {
	if p == nil || p.Executable.SHA256.IsZero() {
		return
	}
	if a, again := s.look(p); again {
		s.deps.Learned(a, p)
	}
}

func (s *Service) look(p *event.Process) (a Answer, again bool) {
	sha := p.Executable.SHA256
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.deps.Now()
	a, known := s.answers[sha]
	if known && now.Sub(a.At) < freshFor(a.Verdict) || s.waiting[sha] || s.off {
		again = known && a.Verdict.Bad() && now.Sub(s.told[sha]) >= tellAgain
		if again {
			s.told[sha] = now
		}
		return a, again
	}
	if len(s.queue) >= maxWaiting {
		s.stats.Dropped++
		return a, false
	}
	s.waiting[sha] = true
	s.queue = append(s.queue, p)
	select {
	case s.wake <- struct{}{}:
	default:
	}
	return a, false
}

// Of is what is known of a file; its verdict is Unasked when nothing is.
func (s *Service) Of(sha event.Digest) Answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.answers[sha]
}

// Stats is a copy of the counters.
func (s *Service) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.stats
	out.Known, out.Waiting = len(s.answers), len(s.queue)
	return out
}

// Run asks until ctx ends.
func (s *Service) Run(ctx context.Context) error {
	var rest time.Duration
	for {
		p := s.first()
		if p == nil {
			select {
			case <-ctx.Done():
				return nil
			case <-s.wake:
			}
			continue
		}
		pause := s.cfg.Interval
		if fault := s.ask(ctx, p); fault != nil {
			rest = min(max(2*rest, s.cfg.Interval), longRest)
			pause = max(rest, fault.after)
			s.failed(fault, pause)
		} else {
			rest = 0
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
	}
}

// first is the next to ask about, nil when there is none; it stays in the queue.
func (s *Service) first() *event.Process {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.off || len(s.queue) == 0 {
		return nil
	}
	return s.queue[0]
}

// done takes p from the queue.
func (s *Service) done(p *event.Process) {
	delete(s.waiting, p.Executable.SHA256)
	if len(s.queue) > 0 && s.queue[0] == p {
		s.queue[0] = nil
		s.queue = s.queue[1:]
	}
}

// fault is why a question has no answer.
type fault struct {
	reply
	after time.Duration
}

func (s *Service) failed(f *fault, pause time.Duration) {
	s.mu.Lock()
	first := s.stats.Error == ""
	s.stats.Failed++
	s.stats.Error, s.stats.Rests = f.Error, s.deps.Now().Add(pause)
	if f.Kind == kindUpload && len(s.queue) > 0 {
		s.done(s.queue[0]) // it is about this file: the next may go well
	}
	refused := f.Kind == kindKey && !s.off
	if refused {
		s.off, s.queue = true, nil
		clear(s.waiting)
	}
	s.mu.Unlock()
	switch {
	case refused:
		s.deps.Log.Error("VirusTotal does not take the key: nothing more is asked until the next start", "error", f.Error)
		s.deps.Refused(f.Error)
	case first:
		s.deps.Log.Warn("VirusTotal does not answer: it is asked again after a rest", "error", f.Error, "rest", pause)
	}
}

// learned keeps an answer and tells it.
func (s *Service) learned(a Answer, p *event.Process) {
	s.mu.Lock()
	a.At = s.deps.Now().Round(0).UTC()
	s.answers[a.SHA256] = a
	shed(s.answers)
	if a.Verdict.Bad() {
		s.told[a.SHA256] = a.At
	}
	s.stats.Error, s.stats.Rests = "", time.Time{}
	s.done(p)
	answers := make(map[event.Digest]Answer, len(s.answers))
	for k, v := range s.answers {
		answers[k] = v
	}
	s.mu.Unlock()
	if err := save(s.cfg.File, answers); err != nil {
		s.deps.Log.Warn("verdicts are not kept", "error", err)
	}
	s.deps.Learned(a, p)
}

// ask asks about one file, and gives it away when that is wanted and it is not
// known.
func (s *Service) ask(ctx context.Context, p *event.Process) *fault {
	sha := p.Executable.SHA256
	s.count(func(st *Stats) { st.Asked++ })
	re, err := s.talk(ctx, request{Op: opLook, SHA256: sha}, nil)
	if f := faultOfReply(re, err); f != nil {
		return f
	}
	if re.Answer.Verdict == event.ReputationNotFound && s.cfg.Upload {
		select { // an upload is a question too
		case <-ctx.Done():
			return nil
		case <-time.After(s.cfg.Interval):
		}
		if uploaded, ok := s.give(ctx, p); ok {
			re.Answer = uploaded
		}
	}
	s.learned(re.Answer, p)
	return nil
}

func (s *Service) count(f func(*Stats)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(&s.stats)
}

func faultOfReply(re reply, err error) *fault {
	switch {
	case err != nil:
		return &fault{reply: reply{Kind: kindAway, Error: err.Error()}}
	case re.Error != "":
		return &fault{reply: re, after: time.Duration(re.After) * time.Second}
	case re.Answer.Verdict == event.ReputationUnasked:
		return &fault{reply: reply{Kind: kindAway, Error: "the helper answers nonsense"}}
	}
	return nil
}

// talk asks the helper one question; send writes what follows it.
func (s *Service) talk(ctx context.Context, req request, send func(io.Writer) error) (re reply, err error) {
	err = s.deps.Speak(ctx, func(conn io.ReadWriteCloser, fresh bool) error {
		stop := context.AfterFunc(ctx, func() { _ = conn.Close() }) // unblocks reading
		defer stop()
		if fresh {
			if err := writeJSON(conn, s.cfg.Server); err != nil {
				return err
			}
		}
		if err := writeJSON(conn, req); err != nil {
			return err
		}
		if send != nil {
			if err := send(conn); err != nil {
				return err
			}
		}
		return readJSON(conn, maxFrame, &re)
	})
	if err == nil && re.Error == "" && re.Answer.SHA256 != req.SHA256 {
		err = errors.New("the helper answers about another file")
	}
	return re, err
}
