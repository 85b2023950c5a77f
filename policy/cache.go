package policy

import (
	"hash/maphash"
	"sync"

	"snitch/monitor/event"
	"snitch/policy/rule"
)

// Bounds of the cache: decisions, and digests of processes.
const (
	cacheHalf   = 32768
	maxSubjects = 16384
)

// key names the facts that the rules read. Both halves are keyed hashes that
// nobody outside can steer: 128 bits of them stand for the facts themselves.
type key [2]uint64

// seen is one decision, and how the record keeps it. Immutable.
type seen struct {
	decision rule.Decision
	recorded event.Decision
}

// subjectKey is what the facts of a process come from. A *event.Process is
// immutable: when a fact arrives there is a new one.
type subjectKey struct {
	process *event.Process
	cgroup  uint64
	uid     uint32
}

// cache holds the decisions of one policy. When the young half is full it
// becomes the old one and the old one goes: what is used survives. Safe for
// concurrent use.
type cache struct {
	seeds [2]maphash.Seed

	mu         sync.Mutex
	young, old map[key]*seen
	subjects   map[subjectKey]key
	hits, miss uint64
}

func newCache() *cache {
	return &cache{seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()},
		young: map[key]*seen{}, subjects: map[subjectKey]key{}}
}

func (c *cache) sum(b []byte) key {
	return key{maphash.Bytes(c.seeds[0], b), maphash.Bytes(c.seeds[1], b)}
}

// join is the key of both digests.
func join(subject, peers key) key {
	return key{subject[0] ^ rotate(peers[0]), subject[1] ^ rotate(peers[1])}
}

// rotate keeps equal halves from cancelling each other out.
func rotate(v uint64) uint64 { return v<<23 | v>>41 }

// get returns the decision, nil if it is not there, and whether the digest of
// the process is.
func (c *cache) get(who subjectKey, peers key) (s *seen, known bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	subject, known := c.subjects[who]
	if !known {
		return nil, false
	}
	k := join(subject, peers)
	if s = c.young[k]; s != nil {
		c.hits++
		return s, true
	}
	if s = c.old[k]; s == nil {
		c.miss++
		return nil, true
	}
	c.hits++
	c.putLocked(k, s)
	return s, true
}

// put keeps s where get looked for it; without the digest of the process, which
// was forgotten meanwhile or never asked for, nowhere.
func (c *cache) put(who subjectKey, peers key, s *seen) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if subject, known := c.subjects[who]; known {
		c.putLocked(join(subject, peers), s)
	}
}

func (c *cache) putLocked(k key, s *seen) {
	if len(c.young) >= cacheHalf {
		c.young, c.old = make(map[key]*seen, cacheHalf), c.young
	}
	c.young[k] = s
}

func (c *cache) putSubject(k subjectKey, v key) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.subjects) >= maxSubjects {
		clear(c.subjects)
	}
	c.subjects[k] = v
}

// clear forgets the decisions.
func (c *cache) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.young, c.old = map[key]*seen{}, nil
}

// stats returns hits and misses since the cache was made, and its entries.
func (c *cache) stats() (hits, misses uint64, entries int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.hits, c.miss, len(c.young) + len(c.old)
}
