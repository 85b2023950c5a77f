package gate

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"sync"
	"time"
)

const (
	secretBytes = 32
	maxSessions = 64
	sessionFor  = 30 * 24 * time.Hour
	sessionIdle = 7 * 24 * time.Hour
)

// Owner is the user whose program holds the other end of a connection. Known
// is false where the kernel does not tell: on another host, in another network
// namespace.
type Owner struct {
	UID   uint32
	Known bool
}

// Keys are the one-time token and the sessions. Only digests are kept. They
// are safe for concurrent use.
type Keys struct {
	now func() time.Time

	mu       sync.Mutex // guards what follows
	token    [sha256.Size]byte
	has      bool // a token stands
	sessions map[[sha256.Size]byte]session
}

type session struct {
	owner      Owner
	began, use time.Time
}

// NewKeys makes keys without a token.
func NewKeys(now func() time.Time) *Keys {
	return &Keys{now: now, sessions: map[[sha256.Size]byte]session{}}
}

// Token makes a token, which replaces the one before.
func (k *Keys) Token() string {
	text, digest := secret()
	k.mu.Lock()
	defer k.mu.Unlock()
	k.token, k.has = digest, true
	return text
}

// Redeem changes the token for the secret of a new session. It does so once.
func (k *Keys) Redeem(token string, owner Owner) (cookie string, ok bool) {
	given := sha256.Sum256([]byte(token))
	text, digest := secret()
	k.mu.Lock()
	defer k.mu.Unlock()
	// Of two digests the time to compare tells nothing about the secrets.
	if !k.has || given != k.token {
		return "", false
	}
	k.has = false
	now := k.now()
	k.expire(now)
	if len(k.sessions) >= maxSessions {
		k.dropOldest()
	}
	k.sessions[digest] = session{owner: owner, began: now, use: now}
	return text, true
}

// Known reports whether cookie is the secret of a session of owner.
func (k *Keys) Known(cookie string, owner Owner) bool {
	digest := sha256.Sum256([]byte(cookie))
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.now()
	s, ok := k.sessions[digest]
	if !ok || s.owner != owner {
		return false
	}
	if s.over(now) {
		delete(k.sessions, digest)
		return false
	}
	s.use = now
	k.sessions[digest] = s
	return true
}

// Forget ends a session.
func (k *Keys) Forget(cookie string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.sessions, sha256.Sum256([]byte(cookie)))
}

func (s session) over(now time.Time) bool {
	return now.Sub(s.began) >= sessionFor || now.Sub(s.use) >= sessionIdle
}

func (k *Keys) expire(now time.Time) {
	for d, s := range k.sessions {
		if s.over(now) {
			delete(k.sessions, d)
		}
	}
}

func (k *Keys) dropOldest() {
	var oldest [sha256.Size]byte
	var at time.Time
	for d, s := range k.sessions {
		if at.IsZero() || s.use.Before(at) {
			oldest, at = d, s.use
		}
	}
	delete(k.sessions, oldest)
}

// secret makes a random text and its digest.
func secret() (text string, digest [sha256.Size]byte) {
	var b [secretBytes]byte
	_, _ = rand.Read(b[:]) // never fails
	text = base64.RawURLEncoding.EncodeToString(b[:])
	return text, sha256.Sum256([]byte(text))
}
