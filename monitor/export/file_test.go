package export

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func openDir(t *testing.T) (*Dir, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "log")
	d, err := OpenDir(path, -1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d, path
}

func content(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return string(b)
}

// TestRotation: files never exceed their bound, no line is lost but those of the
// file that is one too many, none is cut, and each file has the header.
func TestRotation(t *testing.T) {
	d, path := openDir(t)
	l := NewFile(d, "x.log", []byte("head\n"), Rotation{Size: 100, Keep: 2})
	defer l.Close()
	for i := range 40 {
		if _, err := fmt.Fprintf(l, "line %02d\n", i); err != nil {
			t.Fatal(err)
		}
	}
	all := ""
	for _, name := range []string{"x.log.2", "x.log.1", "x.log"} {
		s := content(t, filepath.Join(path, name))
		if len(s) > 100 || !strings.HasPrefix(s, "head\n") {
			t.Errorf("%s has %d bytes: %q", name, len(s), s)
		}
		all += strings.TrimPrefix(s, "head\n")
	}
	want := ""
	for i := 40 - strings.Count(all, "\n"); i < 40; i++ {
		want += fmt.Sprintf("line %02d\n", i)
	}
	if all != want || strings.Count(all, "\n") < 25 {
		t.Errorf("kept %q, want %q", all, want)
	}
	if _, err := os.Stat(filepath.Join(path, "x.log.3")); err == nil {
		t.Error("an older file stays")
	}
	long := strings.Repeat("x", 300) + "\n"
	if _, err := l.Write([]byte(long)); err != nil || !strings.HasSuffix(content(t, filepath.Join(path, "x.log")), long) {
		t.Errorf("a line longer than a file: %v", err)
	}
	info, err := os.Stat(filepath.Join(path, "x.log"))
	if err != nil || info.Mode().Perm() != fileMode {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

// TestRotatedByOthers: logrotate moves a file away; the next line is in a new one.
func TestRotatedByOthers(t *testing.T) {
	d, path := openDir(t)
	l := NewFile(d, "x.log", nil, Rotation{})
	defer l.Close()
	name := filepath.Join(path, "x.log")
	for i, line := range []string{"a\n", "b\n"} {
		if _, err := l.Write([]byte(line)); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(name, fmt.Sprintf("%s.old%d", name, i)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := l.Write([]byte("c\n")); err != nil {
		t.Fatal(err)
	}
	if got := content(t, name) + content(t, name+".old0") + content(t, name+".old1"); got != "c\na\nb\n" {
		t.Errorf("got %q", got)
	}
}

// TestFullDisk: of a write that the disk took half, nothing stays.
func TestFullDisk(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("missing feature: root, who mounts a small file system")
	}
	mount := t.TempDir()
	if err := unix.Mount("none", mount, "tmpfs", 0, "size=64k,mode=0755"); err != nil {
		t.Skip("missing feature: mounting a tmpfs")
	}
	defer func() { _ = unix.Unmount(mount, unix.MNT_DETACH) }()
	d, err := OpenDir(filepath.Join(mount, "log"), -1)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	l := NewFile(d, "x.log", nil, Rotation{})
	defer l.Close()
	line := []byte(strings.Repeat("y", 4999) + "\n")
	var failed error
	for range 100 {
		if _, failed = l.Write(line); failed != nil {
			break
		}
	}
	if !errors.Is(failed, unix.ENOSPC) {
		t.Fatalf("the disk did not fill: %v", failed)
	}
	s := content(t, filepath.Join(mount, "log", "x.log"))
	if len(s) == 0 || len(s)%len(line) != 0 {
		t.Errorf("a part of a line stays: %d bytes", len(s))
	}
	if err := os.Truncate(filepath.Join(mount, "log", "x.log"), 0); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Write(line); err != nil {
		t.Errorf("it does not go on: %v", err)
	}
}

// TestTricks: whatever stands where a log is to be, nothing of others is written
// to, and nothing waits.
func TestTricks(t *testing.T) {
	for name, c := range map[string]func(t *testing.T, dir, victim string){
		"symlink":   func(t *testing.T, dir, victim string) { must(t, os.Symlink(victim, filepath.Join(dir, "x.log"))) },
		"hard link": func(t *testing.T, dir, victim string) { must(t, os.Link(victim, filepath.Join(dir, "x.log"))) },
		"fifo":      func(t *testing.T, dir, _ string) { must(t, unix.Mkfifo(filepath.Join(dir, "x.log"), 0o644)) },
		"fifo with a reader": func(t *testing.T, dir, _ string) {
			fifo := filepath.Join(dir, "x.log")
			must(t, unix.Mkfifo(fifo, 0o644))
			f, err := os.OpenFile(fifo, os.O_RDONLY|unix.O_NONBLOCK, 0)
			must(t, err)
			t.Cleanup(func() { f.Close() })
		},
		"directory": func(t *testing.T, dir, _ string) { must(t, os.Mkdir(filepath.Join(dir, "x.log"), 0o755)) },
		"another's file": func(t *testing.T, dir, _ string) {
			if os.Geteuid() != 0 {
				t.Skip("missing feature: root, who gives files away")
			}
			f := filepath.Join(dir, "x.log")
			must(t, os.WriteFile(f, nil, 0o600))
			must(t, os.Chown(f, 65534, 65534))
		},
	} {
		t.Run(name, func(t *testing.T) {
			d, path := openDir(t)
			victim := filepath.Join(t.TempDir(), "victim")
			must(t, os.WriteFile(victim, []byte("precious"), 0o600))
			c(t, path, victim)
			l := NewFile(d, "x.log", nil, Rotation{Size: 10, Keep: 1})
			defer l.Close()
			if _, err := l.Write([]byte("line\n")); err == nil {
				t.Error("it was written to")
			}
			if got := content(t, victim); got != "precious" {
				t.Errorf("the victim has %q", got)
			}
		})
	}
}

// TestDirTricks: a directory that others can change is refused, and so is a link
// to another.
func TestDirTricks(t *testing.T) {
	for name, c := range map[string]func(t *testing.T, path string){
		"open to all": func(t *testing.T, path string) { must(t, os.Mkdir(path, 0o755)); must(t, os.Chmod(path, 0o777)) },
		"open to all but sticky": func(t *testing.T, path string) {
			must(t, os.Mkdir(path, 0o755))
			must(t, os.Chmod(path, 0o777|os.ModeSticky))
		},
		"symlink": func(t *testing.T, path string) { must(t, os.Symlink(t.TempDir(), path)) },
		"file":    func(t *testing.T, path string) { must(t, os.WriteFile(path, nil, 0o644)) },
		"another's": func(t *testing.T, path string) {
			if os.Geteuid() != 0 {
				t.Skip("missing feature: root, who gives directories away")
			}
			must(t, os.Mkdir(path, 0o755))
			must(t, os.Chown(path, 65534, 65534))
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "log")
			c(t, path)
			if d, err := OpenDir(path, -1); err == nil {
				d.Close()
				t.Error("it was opened")
			}
		})
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
