package digest

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"snitch/monitor/event"
)

func known(n int) knowledge { return knowledge{digest: event.Digest{byte(n), 1}, path: fmt.Sprint(n)} }

func TestCacheStates(t *testing.T) {
	c := newCache(8, func(*entry) {})
	key, other := inode{dev: 1, number: 5}, inode{dev: 1, number: 5, kernel: true}
	e := c.put(key, state{1, 2, 3}, known(1))
	if c.find(other, state{1, 2, 3}) != nil {
		t.Error("stat's number was taken for the kernel's")
	}
	c.alias(e, other)
	for _, st := range []state{{0, 2, 3}, {1, 0, 3}, {1, 2, 0}} {
		if c.find(key, st) != nil || c.find(other, st) != nil {
			t.Errorf("found in state %v", st)
		}
	}
	if c.find(other, state{1, 2, 3}) != e || !e.hasKernelKey() {
		t.Error("not found under the kernel's number")
	}
	c.put(key, state{1, 2, 4}, known(2))
	if c.find(other, state{1, 2, 3}) != nil || c.len() != 1 {
		t.Error("an earlier state survived a later one")
	}
}

// TestCacheModel compares the cache with the plainest one that is right.
func TestCacheModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const limit = 4
		pushed := 0
		c := newCache(limit, func(*entry) { pushed++ })
		keys := rapid.Custom(func(t *rapid.T) inode {
			return inode{dev: 1, number: rapid.Uint64Range(0, 7).Draw(t, "number"), kernel: rapid.Bool().Draw(t, "kernel")}
		})
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			key := keys.Draw(t, "key")
			switch rapid.IntRange(0, 3).Draw(t, "step") {
			case 0:
				c.put(key, state{size: 1}, known(1))
			case 1:
				c.drop(key)
			case 2:
				if e := c.find(key, state{size: 1}); e != nil {
					c.alias(e, keys.Draw(t, "alias"))
				}
			case 3:
				c.find(key, state{size: 2})
			}
			checkCache(t, c, limit)
		}
	})
}

// checkCache: every key leads to a listed entry that knows it, and back.
func checkCache(t *rapid.T, c *cache, limit int) {
	names := 0
	for e := c.recent.Front(); e != nil; e = e.Next() {
		v := e.Value.(*entry)
		names += len(v.keys)
		if len(v.keys) == 0 || len(v.keys) > maxKeys {
			t.Fatalf("an entry has %d keys", len(v.keys))
		}
		for _, k := range v.keys {
			if c.byKey[k] != e {
				t.Fatalf("key %v leads elsewhere", k)
			}
		}
	}
	if names != len(c.byKey) || c.len() > limit {
		t.Fatalf("%d keys for %d names, %d entries", len(c.byKey), names, c.len())
	}
}
