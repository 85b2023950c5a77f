package digest

import (
	"container/list"

	"snitch/monitor/event"
)

// knowledge is a digest and the names it was read under.
type knowledge struct {
	digest event.Digest
	path   string
	links  uint64
}

func (k knowledge) result() event.HashResult {
	return event.HashResult{SHA256: k.digest, Reason: event.HashKnown, Path: k.path, Links: k.links}
}

// maxKeys bounds the names of one entry: stat's, the superblock's, and those of
// overlays that share a lower file.
const maxKeys = 4

// entry is what is known of one inode: its latest state only.
type entry struct {
	state state
	since uint64 // CLOCK_BOOTTIME from which on state means this content and no other
	knowledge
	keys      []inode
	armed     bool  // fanotify ignores executions until the file changes
	sightings uint8 // executions seen while no key of the kernel's space was known
}

// cache is a bounded LRU of entries, found under any of their keys. It has no
// lock: Hasher.mu guards it.
type cache struct {
	limit   int
	byKey   map[inode]*list.Element
	recent  list.List // front: used last
	evicted func(*entry)
}

func newCache(limit int, evicted func(*entry)) *cache {
	return &cache{limit: limit, byKey: make(map[inode]*list.Element), evicted: evicted}
}

func (c *cache) len() int { return c.recent.Len() }

// find is the entry for a key in this very state, or nil.
func (c *cache) find(key inode, want state) *entry {
	e, ok := c.byKey[key]
	if !ok {
		return nil
	}
	v := e.Value.(*entry)
	if v.state != want {
		return nil
	}
	c.recent.MoveToFront(e)
	return v
}

// put makes or replaces the entry of key.
func (c *cache) put(key inode, st state, k knowledge) *entry {
	c.drop(key)
	for c.recent.Len() >= c.limit {
		oldest := c.recent.Back().Value.(*entry)
		c.drop(oldest.keys[0])
		c.evicted(oldest)
	}
	v := &entry{state: st, since: settledSince(st.ctime), knowledge: k, keys: []inode{key}}
	c.byKey[key] = c.recent.PushFront(v)
	return v
}

// alias makes v found under key too.
func (c *cache) alias(v *entry, key inode) {
	own := c.byKey[v.keys[0]]
	if old, ok := c.byKey[key]; ok {
		if old == own {
			return
		}
		c.drop(key)
	}
	if len(v.keys) == maxKeys {
		delete(c.byKey, v.keys[maxKeys-1])
		v.keys = v.keys[:maxKeys-1]
	}
	v.keys = append(v.keys, key)
	c.byKey[key] = own
}

// drop forgets the entry of key and reports whether there was one.
func (c *cache) drop(key inode) bool {
	e, ok := c.byKey[key]
	if !ok {
		return false
	}
	for _, k := range e.Value.(*entry).keys {
		delete(c.byKey, k)
	}
	c.recent.Remove(e)
	return true
}

// clear forgets everything and reports how much that was.
func (c *cache) clear() int {
	n := c.recent.Len()
	clear(c.byKey)
	c.recent.Init()
	return n
}

// hasKernelKey reports whether an exec event finds v without an open.
func (v *entry) hasKernelKey() bool {
	for _, k := range v.keys {
		if k.kernel {
			return true
		}
	}
	return false
}
