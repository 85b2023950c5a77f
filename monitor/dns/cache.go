package dns

import "time"

// cache is a bounded map in order of last use. What does not fit pushes out
// the oldest. The owner's mutex guards it.
type cache[K comparable, V any] struct {
	max   int
	items map[K]*item[K, V]
	root  item[K, V] // sentinel of a ring; root.next is the oldest
}

type item[K comparable, V any] struct {
	key        K
	value      V
	used       time.Time
	prev, next *item[K, V]
}

func newCache[K comparable, V any](limit int) *cache[K, V] {
	c := &cache[K, V]{max: limit, items: make(map[K]*item[K, V])}
	c.root.prev, c.root.next = &c.root, &c.root
	return c
}

func (c *cache[K, V]) len() int { return len(c.items) }

// get does not count as use.
func (c *cache[K, V]) get(k K) (v V, ok bool) {
	i, ok := c.items[k]
	if !ok {
		return v, false
	}
	return i.value, true
}

// put stores v under k as used at now and returns what it pushed out, if anything.
func (c *cache[K, V]) put(k K, v V, now time.Time) (old V, evicted bool) {
	if i, ok := c.items[k]; ok {
		i.value, i.used = v, now
		c.unlink(i)
		c.append(i)
		return old, false
	}
	if len(c.items) >= c.max {
		_, old, evicted = c.pop()
	}
	i := &item[K, V]{key: k, value: v, used: now}
	c.items[k] = i
	c.append(i)
	return old, evicted
}

func (c *cache[K, V]) touch(k K, now time.Time) {
	if i, ok := c.items[k]; ok {
		i.used = now
		c.unlink(i)
		c.append(i)
	}
}

func (c *cache[K, V]) remove(k K) (v V, ok bool) {
	i, ok := c.items[k]
	if !ok {
		return v, false
	}
	c.unlink(i)
	delete(c.items, k)
	return i.value, true
}

// oldest returns the key that pop would remove.
func (c *cache[K, V]) oldest() (k K, ok bool) {
	if len(c.items) == 0 {
		return k, false
	}
	return c.root.next.key, true
}

func (c *cache[K, V]) pop() (k K, v V, ok bool) {
	if len(c.items) == 0 {
		return k, v, false
	}
	i := c.root.next
	c.unlink(i)
	delete(c.items, i.key)
	return i.key, i.value, true
}

// expire removes what was last used before t and calls drop, if not nil, for each.
func (c *cache[K, V]) expire(t time.Time, drop func(K, V)) {
	for i := c.root.next; i != &c.root && i.used.Before(t); i = c.root.next {
		k, v, _ := c.pop()
		if drop != nil {
			drop(k, v)
		}
	}
}

func (c *cache[K, V]) append(i *item[K, V]) {
	i.prev, i.next = c.root.prev, &c.root
	i.prev.next, i.next.prev = i, i
}

func (c *cache[K, V]) unlink(i *item[K, V]) {
	i.prev.next, i.next.prev = i.next, i.prev
	i.prev, i.next = nil, nil
}
