package process

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestNamesThatEndLikeRemovedOnes holds files open while their names go: the
// kernel's suffix is told from a name that ends like it.
func TestNamesThatEndLikeRemovedOnes(t *testing.T) {
	h, err := openHost(mustOpen(t, "/proc"), newGuard())
	if err != nil {
		t.Fatal(err)
	}
	defer h.close()
	for _, name := range []string{"x", "x (deleted)", "x (deleted) (deleted)"} {
		for _, linked := range []bool{false, true} {
			path := filepath.Join(t.TempDir(), name)
			if err := os.WriteFile(path, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			if linked {
				if err := os.Link(path, path+".other"); err != nil {
					t.Fatal(err)
				}
			}
			fd := mustOpen(t, path)
			s, err := statFD(fd)
			if err != nil {
				t.Fatal(err)
			}
			if got, shown, removed, err := h.called(fd, s); err != nil || got != path || !shown || removed {
				t.Errorf("%q present: %q, shown %v, removed %v, %v", path, got, shown, removed, err)
			}
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			if got, shown, removed, err := h.called(fd, s); err != nil || got != path || shown || !removed {
				t.Errorf("%q removed: %q, shown %v, removed %v, %v", path, got, shown, removed, err)
			}
		}
	}
}

func mustOpen(t *testing.T, path string) int {
	t.Helper()
	fd, err := openAt(unix.AT_FDCWD, path, unix.O_PATH)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeFD(fd) })
	return fd
}
