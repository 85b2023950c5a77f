package fleet

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"time"

	"snitch/monitor/event"
	"snitch/policy/bundle"
)

// Kinds of origin.
const (
	KindBundle = "bundle"
	KindGit    = "git"
)

// Config is what New needs. Files are root's.
type Config struct {
	Kind       string
	URL        string // for a bundle also an absolute path
	Branch     string
	Path       string // directory of rules in the repository
	Keys       string // file of public keys: PEM for bundles; allowed signers, or OpenPGP's, for git
	CA         string // file, "" for the system's
	Token      string // file, "" for none
	SSHKey     string // file that the helper's group may read
	KnownHosts string
	Host       string        // name of this machine for staged roll-outs
	Interval   time.Duration // between two looks
	Trial      time.Duration // how long a change is watched; 0 is not
	Alerts     int           // more alerts than before that end a trial
	Errors     int           // the same of errors
	Dir        string        // for state and sets; root's alone
	HelperDir  string        // for the repository; the helper's own
}

// Base is where rules come from as long as nothing has been fetched.
type Base interface {
	Read() (*bundle.Snapshot, error)
	Watch(ctx context.Context, log *slog.Logger, changed func()) error
}

// Health counts what a bad set makes more of.
type Health struct {
	Alerts uint64 // pairs of rule and program, of connections
	Errors uint64 // of the evaluator
}

// Deps are a Source's.
type Deps struct {
	// Start starts a helper whose work is Work: of git, of gpgv, or of HTTPS.
	Start func(ctx context.Context, kind string) (net.Conn, error)
	// ReadFile reads a file that only root can have written.
	ReadFile func(path string) ([]byte, error)
	Base     Base
	Health   func() Health
	Alert    func(event.Alert)
	Log      *slog.Logger
	Now      func() time.Time // nil is the clock
}

// Kinds of helper that Deps.Start starts.
const (
	HelperBundle = askBundle
	HelperGit    = askGit
	HelperPGP    = askPGP
)

// Source is rules from elsewhere, as they were verified and used last.
type Source struct {
	cfg  Config
	deps Deps
	keep archive

	wake chan struct{}
	turn sync.Mutex // one change at a time

	mu      sync.Mutex // guards what follows
	kept    kept
	offer   *bundle.Snapshot // being tried
	used    string           // digest that the engine has
	etag    string           // of what was judged last: the server's, or a commit
	verdict error            // about that
	changed func()           // of Watch; nil before it
	samples []sample
	state   State
}

// New makes a source from what was kept. A state that cannot be read is an
// error in the log and is begun anew, but for the host's own rules nothing holds
// then.
func New(cfg Config, deps Deps) *Source {
	if deps.Now == nil {
		deps.Now = time.Now
	}
	s := &Source{cfg: cfg, deps: deps, keep: archive{cfg.Dir}, wake: make(chan struct{}, 1)}
	var err error
	if s.kept, err = s.keep.load(s.origin()); err != nil {
		s.deps.Log.Error("what was fetched before is not known any more", "error", err)
	}
	s.state = State{Kind: cfg.Kind, URL: displayURL(cfg), Host: cfg.Host}
	return s
}

// origin names what serials and commits are of.
func (s *Source) origin() string {
	if s.cfg.Kind == KindGit {
		return fmt.Sprintf("git %s %s %s", s.cfg.URL, s.cfg.Branch, s.cfg.Path)
	}
	return "bundle " + s.cfg.URL
}

// Read returns the set that is being tried or was used last; without one, the
// base's. It never waits for a network.
func (s *Source) Read() (*bundle.Snapshot, error) {
	s.mu.Lock()
	offer, current := s.offer, s.kept.Current
	s.mu.Unlock()
	if offer != nil {
		return offer, nil
	}
	if current == nil {
		return s.deps.Base.Read()
	}
	set, err := s.keep.get(current)
	if err == nil {
		return set, nil
	}
	// Damaged: what the machine has is better than not starting. The position
	// stays, so nothing old gets in.
	s.deps.Log.Error("the set in use cannot be read back and is fetched again; the machine's own rules are used", "revision", current.Revision, "error", err)
	s.mu.Lock()
	s.kept.Current, s.etag = nil, ""
	s.mu.Unlock()
	return s.deps.Base.Read()
}

// Used tells that the engine uses the set of this digest.
func (s *Source) Used(digest string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used = digest
}

// Watch looks for a new set now and every interval, calls changed when Read
// returns another, and watches what changes bring, until ctx ends.
func (s *Source) Watch(ctx context.Context, log *slog.Logger, changed func()) error {
	s.mu.Lock()
	s.changed = changed
	s.mu.Unlock()
	var beside sync.WaitGroup
	defer beside.Wait()
	beside.Go(func() {
		err := s.deps.Base.Watch(ctx, log, func() {
			if s.onBase() {
				changed()
			}
		})
		if err != nil && ctx.Err() == nil {
			s.deps.Log.Error("the machine's own rules are not watched", "error", err)
		}
	})
	s.abandon()
	beside.Go(func() { s.watchHealth(ctx) }) // a slow server does not hold it up
	next := time.NewTimer(0)
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-next.C:
		case <-s.wake:
		}
		_ = s.look(ctx) // it is in the state and in the log
		next.Reset(jitter(s.cfg.Interval))
	}
}

// jitter keeps a fleet from asking all at once.
func jitter(d time.Duration) time.Duration { return d - d/10 + rand.N(d/5+1) }

func (s *Source) onBase() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.kept.Current == nil && s.offer == nil
}

// Retry forgets what is held and what was judged, and has Watch look now.
func (s *Source) Retry() {
	s.mu.Lock()
	s.kept.Held, s.kept.Tries, s.etag, s.verdict = nil, 0, "", nil
	s.mu.Unlock()
	s.Sync()
}

// Sync has Watch look now. It does not wait.
func (s *Source) Sync() {
	select {
	case s.wake <- struct{}{}:
	default: // it was asked already
	}
}

// look fetches and judges once.
func (s *Source) look(ctx context.Context) error {
	f, tag, err := s.fetch(ctx)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	s.turn.Lock()
	defer s.turn.Unlock()
	switch {
	case err == nil && f != nil:
		err = s.judge(f)
		s.judged(tag, err)
	case err == nil:
		s.mu.Lock()
		err = s.verdict
		s.mu.Unlock()
	}
	s.looked(err)
	return err
}

// judged remembers a verdict that will not be another next time.
func (s *Source) judged(tag string, verdict error) {
	var refused *refusal
	final := verdict == nil || errors.Is(verdict, errLater) || errors.Is(verdict, errNotLoaded) || errors.As(verdict, &refused)
	if !final {
		tag, verdict = "", nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.etag, s.verdict = tag, verdict
}

// file reads one of the files of the configuration; "" is none.
func (s *Source) file(path string) ([]byte, error) {
	if path == "" {
		return nil, nil
	}
	data, err := s.deps.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return data, nil
}

// openRegular opens a file of somebody's, without waiting for a pipe.
func openRegular(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|openFlags, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is no regular file", path)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}
