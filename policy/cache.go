package policy

import (
	"hash/maphash"
	"sync"

	"snitch/monitor/event"
	"snitch/policy/rule"
)

// Bounds of the cache: decisions, and digests of processes.
const (
	cacheHalf    = 32768
	maxSubjects  = 16384
	keyBufferLen = 512
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

// get returns nil for a decision that is not there.
func (c *cache) get(k key) *seen {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.young[k]; s != nil {
		c.hits++
		return s
	}
	s := c.old[k]
	if s == nil {
		c.miss++
		return nil
	}
	c.hits++
	c.putLocked(k, s)
	return s
}

func (c *cache) put(k key, s *seen) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.putLocked(k, s)
}

func (c *cache) putLocked(k key, s *seen) {
	if len(c.young) >= cacheHalf {
		c.young, c.old = make(map[key]*seen, cacheHalf), c.young
	}
	c.young[k] = s
}

func (c *cache) subject(k subjectKey) (key, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	v, ok := c.subjects[k]
	return v, ok
}

func (c *cache) putSubject(k subjectKey, v key) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.subjects) >= maxSubjects {
		clear(c.subjects)
	}
	c.subjects[k] = v
}

// stats returns hits and misses since the cache was made, and its entries.
func (c *cache) stats() (hits, misses uint64, entries int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.hits, c.miss, len(c.young) + len(c.old)
}
