package bundle

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestReadAndKeep(t *testing.T) {
	dir := t.TempDir()
	for path, text := range map[string]string{"b.yaml": "b", "a/c.yaml": "c", "a.yaml": "a", ".git/config": "x", "a.yaml~": "x", ".#a.yaml": "x", "a/d.swp": "x"} {
		write(t, filepath.Join(dir, path), text)
	}
	got, err := Directory{Path: dir, Guarded: true}.Read()
	if err != nil {
		t.Fatal(err)
	}
	want := []File{{"a/c.yaml", []byte("c")}, {"a.yaml", []byte("a")}, {"b.yaml", []byte("b")}}
	if diff := cmp.Diff(got.Files, want); diff != "" {
		t.Fatalf("files (-got +want):\n%s", diff)
	}
	files, err := got.FS()
	if err != nil {
		t.Fatal(err)
	}
	if text, err := fs.ReadFile(files, "a/c.yaml"); err != nil || string(text) != "c" {
		t.Fatalf("FS shows %q, %v", text, err)
	}
	keeper := Keeper{Dir: t.TempDir()}
	if _, err := keeper.Load(); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("nothing kept: %v", err)
	}
	for range 2 { // the second replaces the first
		if err := keeper.Save(got); err != nil {
			t.Fatal(err)
		}
	}
	kept, err := keeper.Load()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(kept, got); diff != "" {
		t.Fatalf("kept (-got +want):\n%s", diff)
	}
	if left, _ := os.ReadDir(keeper.Dir); len(left) != 1 {
		t.Fatalf("left in the state directory: %v", left)
	}
}

func TestKeptDamage(t *testing.T) {
	keeper := Keeper{Dir: t.TempDir()}
	if err := keeper.Save(&Snapshot{Files: []File{{"a.yaml", []byte(strings.Repeat("version: 1\n", 100))}}}); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(keeper.Dir, keptName)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for at := range whole {
		damaged := append([]byte(nil), whole...)
		damaged[at] ^= 0x20
		if err := os.WriteFile(path, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		if s, err := keeper.Load(); err == nil && (len(s.Files) != 1 || string(s.Files[0].Data) != strings.Repeat("version: 1\n", 100)) {
			t.Fatalf("byte %d: other rules were loaded", at)
		}
	}
}

func TestReadRefuses(t *testing.T) {
	for name, prepare := range map[string]func(dir string) error{
		"world-writable file":      func(dir string) error { return os.Chmod(filepath.Join(dir, "a.yaml"), 0o666) },
		"world-writable directory": func(dir string) error { return os.Chmod(dir, 0o777) },
		"foreign owner":            func(dir string) error { return os.Chown(filepath.Join(dir, "a.yaml"), 12345, 0) },
		"link that leads out":      func(dir string) error { return os.Symlink("/etc/passwd", filepath.Join(dir, "b.yaml")) },
		"pipe":                     func(dir string) error { return mkfifo(filepath.Join(dir, "b.yaml")) },
		"link to a directory": func(dir string) error {
			return errors.Join(os.Mkdir(filepath.Join(dir, "x"), 0o755), os.Symlink("x", filepath.Join(dir, "y")))
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, filepath.Join(dir, "a.yaml"), "a")
			if err := prepare(dir); err != nil {
				t.Fatal(err)
			}
			if s, err := (Directory{Path: dir, Guarded: true}).Read(); err == nil {
				t.Fatalf("read %d files", len(s.Files))
			}
		})
	}
}

// TestReadIsOneMoment writes two versions of two files by turns; a reader must
// never see one of each.
func TestReadIsOneMoment(t *testing.T) {
	dir := t.TempDir()
	put := func(version int) {
		// As git does: first one file, then the other.
		for _, name := range []string{"a.yaml", "b.yaml"} {
			write(t, filepath.Join(dir, ".new"), fmt.Sprint(version))
			if err := os.Rename(filepath.Join(dir, ".new"), filepath.Join(dir, name)); err != nil {
				t.Error(err)
			}
		}
	}
	put(0)
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for version := 1; ; version++ {
			select {
			case <-stop:
				return
			case <-time.After(3 * time.Millisecond):
				put(version)
			}
		}
	}()
	whole := 0
	for range 200 {
		s, err := Directory{Path: dir}.Read()
		if err != nil {
			continue
		}
		whole++
		a, b := string(s.Files[0].Data), string(s.Files[1].Data)
		var na, nb int
		fmt.Sscan(a, &na)
		fmt.Sscan(b, &nb)
		// Both states exist on disk between the two renames; what never
		// existed is b ahead of a, or versions further apart.
		if nb > na || na-nb > 1 {
			t.Fatalf("a.yaml has %s, b.yaml has %s", a, b)
		}
	}
	close(stop)
	<-done
	if whole < 20 {
		t.Fatalf("only %d of 200 reads came through", whole)
	}
}

func TestWatchCoalesces(t *testing.T) {
	parent := t.TempDir()
	dir := filepath.Join(parent, "rules") // not there yet
	var calls atomic.Int64
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- Directory{Path: dir}.Watch(ctx, slog.New(slog.DiscardHandler), func() { calls.Add(1) })
	}()
	wait := func(more int64) {
		t.Helper()
		for end := time.Now().Add(10 * time.Second); calls.Load() < more; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%d calls, want %d", calls.Load(), more)
			}
		}
	}
	time.Sleep(50 * time.Millisecond)
	write(t, filepath.Join(dir, "sub/a.yaml"), "a")
	wait(1)
	before := calls.Load()
	for i := range 100 { // two seconds of 50 changes a second
		write(t, filepath.Join(dir, "sub/a.yaml"), fmt.Sprint(i))
		time.Sleep(20 * time.Millisecond)
	}
	wait(before + 1)
	time.Sleep(2 * quietFor)
	if n := calls.Load() - before; n > 5 {
		t.Fatalf("100 changes made %d calls", n)
	}
	// The directory is replaced whole.
	before = calls.Load()
	write(t, filepath.Join(parent, "next/a.yaml"), "b")
	if err := errors.Join(os.Rename(dir, dir+".old"), os.Rename(filepath.Join(parent, "next"), dir)); err != nil {
		t.Fatal(err)
	}
	wait(before + 1)
	time.Sleep(2 * quietFor)
	before = calls.Load()
	write(t, filepath.Join(dir, "a.yaml"), "c")
	wait(before + 1)
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
}
