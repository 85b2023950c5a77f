package fleet

import (
	"errors"
	"fmt"
	"net"
	"syscall"

	"snitch/monitor/event"
	"snitch/policy/bundle"
)

type unixStat = syscall.Stat_t

// maxTries is how often a set is tried over which the daemon ended.
const maxTries = 3

// refusal is a set that may not be used, whatever the host wants: a signature,
// a replay. People are alerted.
type refusal struct{ err error }

func (r *refusal) Error() string { return r.err.Error() }
func (r *refusal) Unwrap() error { return r.err }

// errLater is a set that this host does not use yet, or any more; the state says
// why. It is no failure.
var errLater = errors.New("not used on this host")

// errNotLoaded is a set that the engine does not take.
var errNotLoaded = errors.New("it does not load: 'snitch status' says why")

// judge decides about a set that was verified, and uses it. The caller holds
// turn.
func (s *Source) judge(f *found) error {
	set := Set{Revision: f.set.Revision, Digest: f.set.Digest(), Serial: f.release.Serial, Expires: f.release.Expires}
	s.mu.Lock()
	s.state.Offered, s.state.Percent = set.Revision, f.release.Percent
	k := s.kept
	s.mu.Unlock()
	if k.Current != nil && k.Current.Digest == set.Digest && k.Current.Revision == set.Revision {
		return nil
	}
	position := f.release.Position()
	switch {
	case k.Held != nil && k.Held.Digest == set.Digest && k.Held.Revision == set.Revision:
		return fmt.Errorf("%s: %w: %s", set.Revision, errLater, k.Held.Reason)
	case f.commit == "" && !position.Follows(k.Position) && (position != k.Position || set.Digest != k.Newest):
		return &refusal{fmt.Errorf("serial %d, and %d was used: %w", set.Serial, k.Position.Serial, bundle.ErrReplay)}
	case !set.Expires.IsZero() && !s.deps.Now().Before(set.Expires):
		return &refusal{fmt.Errorf("%s, since %s: %w", set.Revision, set.Expires.Format("2006-01-02 15:04"), bundle.ErrExpired)}
	case k.Current != nil && !f.release.Takes(s.cfg.Host):
		return fmt.Errorf("%s: %w yet: it is for %d %% of the hosts", set.Revision, errLater, f.release.Percent)
	}
	k.Position, k.Commit, k.Newest = position, f.commit, set.Digest
	return s.use(k, f.set, set)
}

// use has the engine load a set, and keeps it when it did. k is the state with
// the new position.
func (s *Source) use(k kept, snapshot *bundle.Snapshot, set Set) error {
	before := s.stored()
	if before.Trying != set.Digest {
		before.Tries = 0
	}
	before.Trying, before.Tries = set.Digest, before.Tries+1
	if err := errors.Join(s.keep.put(snapshot), s.store(before)); err != nil {
		return err
	}
	s.mu.Lock()
	s.offer = snapshot
	changed := s.changed
	s.mu.Unlock()
	changed()
	s.mu.Lock()
	s.offer = nil
	loaded := s.used == set.Digest
	s.mu.Unlock()
	if !loaded {
		before.Trying, before.Tries = "", 0
		return errors.Join(fmt.Errorf("%s: %w", set.Revision, errNotLoaded), s.store(before))
	}
	k.Previous, k.Current, k.Changed, k.Trial = k.Current, &set, s.deps.Now(), s.cfg.Trial > 0
	k.Trying, k.Tries, k.Held = "", 0, nil
	if k.Previous != nil && k.Previous.Digest == set.Digest {
		k.Trial = false // the same rules under another name
	}
	s.deps.Log.Info("published rules are used", "revision", set.Revision, "serial", set.Serial, "source", s.state.URL)
	s.begin()
	return s.store(k)
}

// abandon gives up a set over which the daemon ended too often.
func (s *Source) abandon() {
	k := s.stored()
	if k.Trying == "" || k.Tries < maxTries {
		return
	}
	k.Held = &Held{Set: Set{Revision: "?", Digest: k.Trying}, At: s.deps.Now(), Reason: fmt.Sprintf("the daemon ended %d times while it loaded it", k.Tries)}
	k.Trying, k.Tries = "", 0
	if err := s.store(k); err != nil {
		s.deps.Log.Error("the state of the fleet is not kept", "error", err)
	}
	s.alert("held", k.Held.Reason)
}

// giveBack goes back to the set before, and holds the one in use until another
// is published. The caller holds turn.
func (s *Source) giveBack(reason string, cut bool) {
	k := s.stored()
	if k.Current == nil {
		return
	}
	k.Held = &Held{Set: *k.Current, At: s.deps.Now(), Reason: reason, Cut: cut}
	k.Current, k.Previous, k.Trial = k.Previous, nil, false
	err := s.store(k)
	s.mu.Lock()
	s.state.Returns++
	s.verdict = fmt.Errorf("%s: %w: %s", k.Held.Revision, errLater, reason)
	s.state.Error, s.state.told = s.verdict.Error(), s.verdict.Error()
	changed := s.changed
	s.mu.Unlock()
	if changed != nil {
		changed()
	}
	to := "the machine's own rules"
	if k.Current != nil {
		to = k.Current.Revision
	}
	s.deps.Log.Error("went back to the rules before", "from", k.Held.Revision, "to", to, "reason", reason, "error", err)
	s.alert("returned", fmt.Sprintf("went back from %s to %s: %s", k.Held.Revision, to, reason))
}

// Unloadable goes back to the set before because the one in use does not load
// any more; false when there is none in use. It is for the daemon's start.
func (s *Source) Unloadable(err error) bool {
	s.turn.Lock()
	defer s.turn.Unlock()
	if s.stored().Current == nil {
		return false
	}
	s.giveBack(fmt.Sprintf("it does not load any more: %v", err), false)
	return true
}

// reached ends the doubt about a set that was held because the source was out of
// reach. The caller holds turn.
func (s *Source) reached() {
	k := s.stored()
	if k.Held == nil || !k.Held.Cut {
		return
	}
	held := *k.Held
	held.Cut = false
	k.Held = &held
	if s.deps.Now().Sub(held.At) > cutLooks*s.cfg.Interval {
		k.Held = nil
		s.deps.Log.Info("the source of rules was out of reach by itself: what was held is tried again", "revision", held.Revision)
		s.mu.Lock()
		s.etag, s.verdict = "", nil
		s.mu.Unlock()
	}
	if err := s.store(k); err != nil {
		s.deps.Log.Error("the state of the fleet is not kept", "error", err)
	}
}

// stored is a copy of the state.
func (s *Source) stored() kept {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.kept
}

// store replaces the state, in memory also when the disk does not take it.
func (s *Source) store(k kept) error {
	s.mu.Lock()
	s.kept = k
	s.mu.Unlock()
	return s.keep.save(k)
}

// alert tells people, once for the same words: the record counts repetitions.
func (s *Source) alert(what, reason string) {
	s.deps.Alert(event.NewAlert(event.AlertConfig, "fleet."+what, event.ActionNone, reason, s.deps.Now(), nil))
}

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}
