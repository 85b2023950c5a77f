//go:build package

package packaging_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// release is a directory of what `make package` made.
type release string

// find returns the one file with an ending.
func (r release) find(t *testing.T, ending string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(string(r), "*"+ending))
	if err != nil || len(found) != 1 {
		t.Fatalf("%s: %q are not one file ending in %s", r, found, ending)
	}
	return found[0]
}

func (r release) deb(t *testing.T) string { t.Helper(); return r.find(t, ".deb") }
func (r release) rpm(t *testing.T) string { t.Helper(); return r.find(t, ".rpm") }

// built are a release, the same once more, and the next one.
type built struct{ old, again, new release }

var (
	keep  = flag.String("keep", "", "`directory` that keeps what was built for the next run")
	once  sync.Once
	three built
)

// TestMain has a directory that outlives the test that fills it.
func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(func() int {
		if *keep == "" {
			dir, err := os.MkdirTemp("", "snitch-packages-")
			if err != nil {
				fmt.Fprintln(os.Stderr, err)
				return 1
			}
			defer os.RemoveAll(dir)
			*keep = dir
		}
		return m.Run()
	}())
}

// builds makes them from clones of the last commit, at different places and
// with different surroundings.
func builds(t *testing.T) built {
	t.Helper()
	once.Do(func() { three = build(t) })
	if three.new == "" {
		t.Fatal("nothing was built")
	}
	return three
}

func build(t *testing.T) built {
	dir := *keep
	first, second := filepath.Join(dir, "first"), filepath.Join(dir, "elsewhere", "second")
	if found, err := filepath.Glob(filepath.Join(dir, "new", "*.deb")); err != nil || len(found) == 0 {
		for _, clone := range []string{first, second} {
			command(t, "git", "clone", "-q", "..", clone)
		}
		commandIn(t, first, []string{"TZ=UTC", "LANG=C"}, "sh", "-c", "umask 022; make package VERSION=v1.0.0")
		commandIn(t, second, []string{"TZ=Pacific/Auckland", "LANG=C.UTF-8", "USER=somebody"}, "sh", "-c", "umask 077; make package VERSION=v1.0.0")
		commandIn(t, dir, nil, "sh", "-c", "mv first/build/packages old && mv elsewhere/second/build/packages again")
		commandIn(t, first, nil, "make", "package", "VERSION=v1.0.1")
		commandIn(t, dir, nil, "sh", "-c", "mv first/build/packages new && rm -rf first elsewhere")
	}
	at := func(name string) release { return release(filepath.Join(dir, name)) }
	return built{old: at("old"), again: at("again"), new: at("new")}
}
