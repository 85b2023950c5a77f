package store

// cache remembers up to 2*half values, the recently used ones: when the young
// generation is full it becomes the old one, whose values live on if they are
// asked for. Not safe for concurrent use.
type cache[K comparable] struct {
	half       int
	young, old map[K]int64
}

func newCache[K comparable](half int) *cache[K] {
	return &cache[K]{half: half, young: make(map[K]int64)}
}

func (c *cache[K]) get(k K) (int64, bool) {
	if v, ok := c.young[k]; ok {
		return v, true
	}
	v, ok := c.old[k]
	if ok {
		c.put(k, v)
	}
	return v, ok
}

func (c *cache[K]) put(k K, v int64) {
	if len(c.young) >= c.half {
		c.old, c.young = c.young, make(map[K]int64, c.half/4)
	}
	c.young[k] = v
}

func (c *cache[K]) clear() {
	clear(c.young)
	c.old = nil
}
