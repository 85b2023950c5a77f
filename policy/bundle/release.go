package bundle

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

// What a Source may say against a set that its signature allows.
var (
	ErrReplay  = errors.New("it is not newer than what was used, and not signed as a return")
	ErrExpired = errors.New("its time is over")
)

// Release is what the publisher of a set says of it, under his signature.
type Release struct {
	// Revision is the publisher's name for the set: a version, a commit.
	Revision string `json:"-"`
	// Serial grows with every release: what has been used is never used again,
	// whoever offers it.
	Serial uint64 `json:"serial,omitempty"`
	// Replaces makes an old set the newest again: it may follow every release up
	// to that serial. 0 is no return.
	Replaces uint64 `json:"replaces,omitempty"`
	// Percent of the hosts that shall use it; the others keep what they have.
	Percent int `json:"percent"`
	// Seed chooses other hosts for the same percentage.
	Seed string `json:"seed,omitempty"`
	// Expires is when hosts no longer take it, against a mirror that holds newer
	// ones back. Zero is never.
	Expires time.Time `json:"expires,omitzero"`
}

// Bounds of a release's texts, and of the file that it is in.
const (
	maxRevision = 80
	maxRelease  = 64 << 10
)

// ReadRelease reads the object of a release: unknown fields are refused, because
// a host that does not know what they ask for must not use the set.
func ReadRelease(object []byte) (Release, error) {
	r := Release{Percent: 100}
	if len(object) > maxRelease {
		return r, fmt.Errorf("release: larger than %d bytes", maxRelease)
	}
	dec := json.NewDecoder(bytes.NewReader(object))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&r); err != nil {
		return r, fmt.Errorf("release: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return r, errors.New("release: something follows it")
	}
	return r, r.check()
}

func (r Release) check() error {
	switch {
	case r.Percent < 0 || r.Percent > 100:
		return fmt.Errorf("release: percent %d is not between 0 and 100", r.Percent)
	case len(r.Seed) > maxRevision || !plain(r.Seed):
		return fmt.Errorf("release: seed %.100q is not at most %d letters, digits and ._+-", r.Seed, maxRevision)
	case len(r.Revision) > maxRevision || !plain(r.Revision):
		return fmt.Errorf("release: revision %.100q is not at most %d letters, digits and ._+-", r.Revision, maxRevision)
	}
	return nil
}

// plain reports whether s can be shown and logged as it is.
func plain(s string) bool {
	return strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._+-") == ""
}

// Position is how far releases have been used. The zero value is before all.
type Position struct {
	Serial uint64 `json:"serial"`
	// Returned says that the release there was a return: another that replaces
	// the same serial is a replay.
	Returned bool `json:"returned,omitempty"`
}

// Position is where r stands.
func (r Release) Position() Position {
	return Position{Serial: max(r.Serial, r.Replaces), Returned: r.Replaces >= r.Serial && r.Replaces > 0}
}

// Follows reports whether a release at p may be used after one at q.
func (p Position) Follows(q Position) bool {
	return p.Serial > q.Serial || p.Serial == q.Serial && p.Returned && !q.Returned
}

// Takes reports whether the host is one of the r.Percent of hosts that use the
// release. A host that is one of 10 % is one of 20 %, too.
func (r Release) Takes(host string) bool {
	sum := sha256.Sum256([]byte("snitch roll-out\x00" + r.Seed + "\x00" + host))
	return binary.BigEndian.Uint64(sum[:])%100 < uint64(max(0, r.Percent))
}
