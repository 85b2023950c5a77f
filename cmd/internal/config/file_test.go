package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestLoadTrusts: root takes no configuration that others could have written,
// and opening one waits for nobody.
func TestLoadTrusts(t *testing.T) {
	good := []byte("version: 1\n")
	write := func(t *testing.T, dir string) string {
		file := filepath.Join(dir, "c.yaml")
		if err := os.WriteFile(file, good, 0o644); err != nil {
			t.Fatal(err)
		}
		return file
	}
	for name, c := range map[string]struct {
		make func(t *testing.T, dir string) string
		want string // in the error; "": it is taken
	}{
		"root's own": {write, ""},
		"symlink to it": {func(t *testing.T, dir string) string {
			link := filepath.Join(dir, "link.yaml")
			if err := os.Symlink(write(t, dir), link); err != nil {
				t.Fatal(err)
			}
			return link
		}, ""},
		"writable by all": {func(t *testing.T, dir string) string { f := write(t, dir); chmod(t, f, 0o666); return f }, "may write it (mode 0666)"},
		"writable by a group": {func(t *testing.T, dir string) string {
			f := write(t, dir)
			chown(t, f, 0, 65534)
			chmod(t, f, 0o664)
			return f
		}, "may write it (mode 0664)"},
		"another's": {func(t *testing.T, dir string) string { f := write(t, dir); chown(t, f, 65534, 0); return f }, "belongs to user 65534"},
		"in another's directory": {func(t *testing.T, dir string) string {
			sub := filepath.Join(dir, "sub")
			mkdir(t, sub)
			f := write(t, sub)
			chown(t, sub, 65534, 65534)
			return f
		}, "sub: belongs to user 65534"},
		"in a directory of all": {func(t *testing.T, dir string) string {
			sub := filepath.Join(dir, "sub")
			mkdir(t, sub)
			f := write(t, sub)
			chmod(t, sub, 0o777)
			return f
		}, "sub: others than root may write it"},
		"symlink through another's directory": {func(t *testing.T, dir string) string {
			sub := filepath.Join(dir, "sub")
			mkdir(t, sub)
			link := filepath.Join(sub, "link.yaml")
			if err := os.Symlink(write(t, dir), link); err != nil {
				t.Fatal(err)
			}
			chown(t, sub, 65534, 65534)
			return link
		}, "sub: belongs to user 65534"},
		"fifo": {func(t *testing.T, dir string) string {
			f := filepath.Join(dir, "fifo")
			if err := unix.Mkfifo(f, 0o644); err != nil {
				t.Fatal(err)
			}
			return f
		}, "is no regular file"},
		"device":    {func(t *testing.T, dir string) string { return "/dev/zero" }, "is no regular file"},
		"directory": {func(t *testing.T, dir string) string { return dir }, "is no regular file"},
	} {
		t.Run(name, func(t *testing.T) {
			if os.Geteuid() != 0 {
				t.Skip("missing feature: root, whose files these are")
			}
			_, err := Load(c.make(t, t.TempDir()))
			var faults *FaultsError
			switch {
			case c.want == "" && err != nil:
				t.Errorf("refused: %v", err)
			case c.want != "" && (!errors.As(err, &faults) || !strings.Contains(err.Error(), c.want)):
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func mkdir(t *testing.T, dir string) {
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
}

func chmod(t *testing.T, file string, mode os.FileMode) {
	if err := os.Chmod(file, mode); err != nil {
		t.Fatal(err)
	}
}

func chown(t *testing.T, file string, uid, gid int) {
	if err := os.Chown(file, uid, gid); err != nil {
		t.Fatal(err)
	}
}
