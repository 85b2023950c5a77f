package owner

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"time"

	"snitch/monitor/event"
)

// Facts that are no name.
const (
	None       = "none"        // no package owns it
	modified   = "modified:"   // before the name
	unverified = "unverified:" // before the name
)

// Bounds.
const (
	maxWaiting  = 1024             // lookups that wait
	maxAnswers  = 4096             // remembered; twice as many at most
	maxPostpone = 256              // lookups that wait for a package manager
	postpone    = 2 * time.Second  // until such a lookup is tried again
	patience    = time.Minute      // before it is answered as it looks
	fresh       = 30 * time.Second // a file is new for so long after its change
	checkEvery  = 5 * time.Second  // whether remembered answers still hold
)

// Config is where and how to look.
type Config struct {
	Root     string        // of the host's files; "": /
	MaxSize  int64         // bytes of a file that is read to compare it (default 2 GiB)
	Deadline time.Duration // for reading one file (default 10 s)
}

// Answer is the fact for an executable that was asked for.
type Answer struct {
	Path   string
	SHA256 event.Digest
	Fact   string
}

// Deps is what Owners needs.
type Deps struct {
	Answer func(Answer) // called from Run's goroutine, never under a lock; nil: nobody listens
	Log    *slog.Logger // nil: none
}

// key is one question: these bytes, executed from this path.
type key struct {
	path   string
	sha256 event.Digest
	gone   bool // the path is not the file's any more
}

// Owners answers lookups. Its methods are safe for concurrent use.
type Owners struct {
	cfg   Config
	deps  Deps
	log   *slog.Logger
	queue chan key
	dbs   []*source
	alias aliases // of Run's goroutine
	later []postponed
	read  *reader

	mu      sync.Mutex
	now     map[key]string // answers of this generation
	before  map[key]string // and of the one before
	waiting map[key]bool
	stats   Stats
}

// Stats is what `snitch status` shows.
type Stats struct {
	Databases []DatabaseStats `json:"databases"`
	Asked     uint64          `json:"asked"`
	Known     uint64          `json:"known"`    // answered at once
	Dropped   uint64          `json:"dropped"`  // the queue was full: asked again by the next connection
	Deadline  uint64          `json:"deadline"` // files that did not answer in time
	Hashed    uint64          `json:"hashed"`   // files read to compare them
	Failed    uint64          `json:"failed"`   // databases or files that could not be read
}

// DatabaseStats tells of one package database.
type DatabaseStats struct {
	Name     string        `json:"name"` // dpkg, rpm or pacman
	Packages int           `json:"packages"`
	Files    int           `json:"files"`
	Bytes    int           `json:"bytes"` // of memory
	Load     time.Duration `json:"load_ns"`
	Loads    uint64        `json:"loads"`
}

// New makes Owners. Databases are read by Run when they are first needed.
func New(cfg Config, deps Deps) *Owners {
	if cfg.MaxSize <= 0 {
		cfg.MaxSize = 2 << 30
	}
	if cfg.Deadline <= 0 {
		cfg.Deadline = 10 * time.Second
	}
	if deps.Log == nil {
		deps.Log = slog.New(slog.DiscardHandler)
	}
	root := strings.TrimSuffix(cfg.Root, "/")
	o := &Owners{cfg: cfg, deps: deps, log: deps.Log, queue: make(chan key, maxWaiting), read: newReader(root, cfg.MaxSize, cfg.Deadline),
		now: map[key]string{}, waiting: map[key]bool{}}
	for _, db := range []database{newDpkg(root), newRPM(root), newPacman(root)} {
		o.dbs = append(o.dbs, &source{database: db})
	}
	return o
}

// Lookup returns the fact for an executable and whether it is known. When it is
// not, Deps.Answer is called later, once for each path and digest, except while
// the digest itself is awaited or when the queue was full (which is counted):
// ask again with the next connection. It never waits.
func (o *Owners) Lookup(exe event.Executable) (fact string, known bool) {
	switch {
	case exe.Kind == event.ExecutableMemfd:
		return None, true
	case exe.View != "", exe.Kind != event.ExecutableFile && exe.Kind != event.ExecutableDeleted, !strings.HasPrefix(exe.Path, "/"):
		return "", true
	case exe.SHA256.IsZero() && (exe.Reason == event.HashPending || exe.Reason == event.HashDeadline):
		return "", false
	}
	k := key{path: exe.Path, sha256: exe.SHA256, gone: exe.Kind == event.ExecutableDeleted}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.stats.Asked++
	if fact, ok := o.remembered(k); ok {
		o.stats.Known++
		return fact, true
	}
	if o.waiting[k] {
		return "", false
	}
	select {
	case o.queue <- k:
		o.waiting[k] = true
	default:
		o.stats.Dropped++
	}
	return "", false
}

// remembered keeps answers that are asked for.
func (o *Owners) remembered(k key) (string, bool) {
	if fact, ok := o.now[k]; ok {
		return fact, true
	}
	fact, ok := o.before[k]
	if ok {
		o.remember(k, fact)
	}
	return fact, ok
}

func (o *Owners) remember(k key, fact string) {
	if len(o.now) >= maxAnswers {
		o.before, o.now = o.now, map[key]string{}
	}
	o.now[k] = fact
}

// Stats tells what happened so far.
func (o *Owners) Stats() Stats {
	o.mu.Lock()
	defer o.mu.Unlock()
	s := o.stats
	s.Databases = append([]DatabaseStats{}, s.Databases...)
	return s
}

// Run answers lookups until ctx ends.
func (o *Owners) Run(ctx context.Context) error {
	defer o.read.close()
	retry := time.NewTicker(postpone)
	defer retry.Stop()
	check := time.NewTicker(checkEvery)
	defer check.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case k := <-o.queue:
			o.refresh(ctx, time.Now())
			o.work(ctx, postponed{key: k, since: time.Now()})
		case <-retry.C:
			o.retry(ctx)
		case <-check.C:
			if o.idle() {
				continue
			}
			o.refresh(ctx, time.Now())
		}
	}
}

// idle reports whether there is no answer that could become wrong.
func (o *Owners) idle() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.now)+len(o.before) == 0
}
