package owner

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// claim is what one package says of one path.
type claim struct {
	name   string
	digest []byte // of 16 (MD5) or 32 (SHA-256) bytes; nil: the database has none
}

// database is one kind of package database. One goroutine uses it.
type database interface {
	name() string
	// stamp is the state of its files, "" when it is not there.
	stamp() string
	// load reads what is kept in memory.
	load(ctx context.Context, alias aliases) error
	// claims returns what its packages say of a canonical path.
	claims(ctx context.Context, path string) ([]claim, error)
	// busy reports whether a package manager is at work on it.
	busy() bool
	size() (packages, files, bytes int)
}

// source is a database and what was read of it.
type source struct {
	database
	loaded string    // stamp of what is in memory
	stale  bool      // the files have changed since; a path that is not found may be new
	err    error     // of loading
	next   time.Time // no load before: it shall not take much of a processor
	took   time.Duration
	loads  uint64
}

// postponed is a lookup that is tried again.
type postponed struct {
	key
	since time.Time
}

// refresh reads what changed, and forgets every answer then.
func (o *Owners) refresh(ctx context.Context, now time.Time) {
	changed := false
	for _, s := range o.dbs {
		stamp := s.stamp()
		if stamp == s.loaded {
			s.stale = false
			continue
		}
		changed = true
		if s.stale = now.Before(s.next); s.stale {
			continue
		}
		o.alias = findAliases(o.cfg.Root)
		start := time.Now()
		s.err = s.load(ctx, o.alias)
		if stamp == "" { // it was removed
			s.err = nil
		}
		if ctx.Err() != nil {
			return
		}
		s.took, s.loaded = time.Since(start), stamp
		s.loads++
		s.next = time.Now().Add(20 * s.took)
		if s.err != nil {
			o.fail(s.name(), s.err)
		}
	}
	if changed {
		o.forget()
	}
}

func (o *Owners) fail(database string, err error) {
	o.mu.Lock()
	o.stats.Failed++
	o.mu.Unlock()
	o.log.Warn("a package database cannot be read", "database", database, "error", err)
}

func (o *Owners) forget() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.now, o.before = map[key]string{}, nil
	o.stats.Databases = o.stats.Databases[:0]
	for _, s := range o.dbs {
		if s.loaded == "" {
			continue
		}
		packages, files, bytes := s.size()
		o.stats.Databases = append(o.stats.Databases, DatabaseStats{s.name(), packages, files, bytes, s.took, s.loads})
	}
}

// work answers one lookup, or puts it off while a package manager works: it
// puts files in place before it says so in its database.
func (o *Owners) work(ctx context.Context, p postponed) {
	fact, sure := o.fact(ctx, p.key)
	if ctx.Err() != nil {
		return
	}
	if !sure && time.Since(p.since) < patience && len(o.later) < maxPostpone {
		o.later = append(o.later, p)
		return
	}
	o.mu.Lock()
	delete(o.waiting, p.key)
	o.remember(p.key, fact)
	o.mu.Unlock()
	if o.deps.Answer != nil {
		o.deps.Answer(Answer{Path: p.path, SHA256: p.sha256, Fact: fact})
	}
}

func (o *Owners) retry(ctx context.Context) {
	if len(o.later) == 0 {
		return
	}
	o.refresh(ctx, time.Now())
	later := o.later
	o.later = nil
	for _, p := range later {
		o.work(ctx, p)
	}
}

// fact finds the fact, and whether the databases can be believed now.
func (o *Owners) fact(ctx context.Context, k key) (fact string, sure bool) {
	path := o.alias.canonical(k.path)
	var claims []claim
	asked, unsure := false, false
	for _, s := range o.dbs {
		packages, _, _ := s.size()
		switch {
		case s.err != nil:
			unsure = true
			continue
		case packages == 0: // not there, or of a tool that was never used
			continue
		}
		found, err := s.claims(ctx, path)
		if err != nil {
			o.fail(s.name(), err)
			unsure = true
			continue
		}
		asked = true
		claims = append(claims, found...)
	}
	switch {
	case len(claims) > 0:
		fact = o.compare(ctx, k, claims)
	case asked && !unsure:
		fact = None
	default:
		return "", true
	}
	if verified(fact) {
		return fact, true
	}
	return fact, !o.unsettled(k.path)
}

func verified(fact string) bool {
	return fact != None && !strings.HasPrefix(fact, modified) && !strings.HasPrefix(fact, unverified)
}

// unsettled reports whether the answer for a path may be another in a moment.
func (o *Owners) unsettled(path string) bool {
	if slices.ContainsFunc(o.dbs, func(s *source) bool { return s.stale }) {
		return true
	}
	if !slices.ContainsFunc(o.dbs, func(s *source) bool { return s.loaded != "" && s.busy() }) {
		return false
	}
	info, err := os.Lstat(filepath.Join(o.cfg.Root, path))
	if err != nil {
		return false
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && time.Since(time.Unix(st.Ctim.Unix())) < fresh
}

// compare judges the claims of all packages on one path: one that agrees is
// enough (packages of two architectures may share a file).
func (o *Owners) compare(ctx context.Context, k key, claims []claim) string {
	sha, md := k.sha256[:], []byte(nil)
	comparable := !k.gone && !k.sha256.IsZero()
	if comparable && slices.ContainsFunc(claims, func(c claim) bool { return len(c.digest) == md5Size }) {
		sums, err := o.read.sums(ctx, o.alias.canonical(k.path))
		o.mu.Lock()
		o.stats.Hashed++
		if errors.Is(err, errDeadline) {
			o.stats.Deadline++
		}
		o.mu.Unlock()
		if errors.Is(err, errDeadline) {
			return ""
		}
		if err == nil && sums.sha256 == k.sha256 {
			md = sums.md5[:]
		}
	}
	differs := ""
	for _, c := range claims {
		switch {
		case !comparable || c.digest == nil:
		case len(c.digest) == md5Size && md == nil:
		case string(c.digest) == string(md), string(c.digest) == string(sha):
			return c.name
		case differs == "":
			differs = c.name
		}
	}
	if differs != "" {
		return modified + differs
	}
	return unverified + claims[0].name
}
