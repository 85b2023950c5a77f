package owner

import (
	"fmt"
	"hash/maphash"
	"slices"
)

// Bounds of an index.
const (
	packageBits = 20
	maxPackages = 1 << packageBits
	maxFiles    = 8 << 20
)

// index says which packages may own a path, in eight bytes a file: the upper
// bits of the path's hash, and the package's number. The seed is secret to the
// process, so that nobody can choose colliding paths; whoever asks looks into
// the package's own list before believing it.
type index struct {
	seed     maphash.Seed
	packages []string
	entries  []uint64 // sorted
}

func newIndex() *index { return &index{seed: maphash.MakeSeed()} }

// begin begins a package.
func (x *index) begin(name string) error {
	if len(x.packages) == maxPackages {
		return fmt.Errorf("more than %d packages", maxPackages)
	}
	x.packages = append(x.packages, name)
	return nil
}

// add adds a canonical path of the package that was begun last.
func (x *index) add(path string) error {
	if len(x.entries) == maxFiles {
		return fmt.Errorf("more than %d files", maxFiles)
	}
	x.entries = append(x.entries, x.prefix(path)|uint64(len(x.packages)-1))
	return nil
}

func (x *index) prefix(path string) uint64 {
	return maphash.String(x.seed, path) &^ (maxPackages - 1)
}

// done ends the building.
func (x *index) done() {
	slices.Sort(x.entries)
	x.entries = slices.Clone(slices.Compact(x.entries))
	x.packages = slices.Clone(x.packages)
}

// find returns the packages that may own a canonical path.
func (x *index) find(path string) []string {
	prefix := x.prefix(path)
	i, _ := slices.BinarySearch(x.entries, prefix)
	var found []string
	for ; i < len(x.entries) && x.entries[i]&^(maxPackages-1) == prefix; i++ {
		found = append(found, x.packages[x.entries[i]&(maxPackages-1)])
	}
	return found
}

func (x *index) size() (packages, files, bytes int) {
	bytes = 8 * cap(x.entries)
	for _, name := range x.packages {
		bytes += len(name) + 16
	}
	return len(x.packages), len(x.entries), bytes
}
