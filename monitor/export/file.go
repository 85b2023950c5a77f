package export

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"
)

// Rotation bounds a log.
type Rotation struct {
	Size int64 // bytes of one file; 0: no bound, somebody else rotates
	Keep int   // older files, NAME.1 the newest of them
}

// File is a log that is rotated by size. It holds whole lines only: of a write
// that the disk took half, nothing stays. When somebody else moves the file away
// the next write makes a new one. It is safe for concurrent use.
type File struct {
	dir      *Dir
	name     string
	header   []byte // of every new file
	rotation Rotation

	mu   sync.Mutex // guards what follows
	f    *os.File
	size int64
	id   unix.Stat_t // of f, as it was opened
}

// NewFile makes a log in dir, which stays open as long as the log is used. The
// file is opened with the first write.
func NewFile(dir *Dir, name string, header []byte, rotation Rotation) *File {
	return &File{dir: dir, name: name, header: header, rotation: rotation}
}

// Write appends whole lines. An error means that none of them is in the file.
func (l *File) Write(lines []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.ready(int64(len(lines))); err != nil {
		return 0, err
	}
	n, err := l.f.Write(lines)
	if err != nil {
		if n > 0 {
			err = errors.Join(err, l.f.Truncate(l.size))
		}
		return 0, fmt.Errorf("write log: %w", err)
	}
	l.size += int64(n)
	return n, nil
}

// Close closes the file.
func (l *File) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.close()
}

func (l *File) close() error {
	if l.f == nil {
		return nil
	}
	err := l.f.Close()
	l.f = nil
	return err
}

// ready opens the file, or the next, for so many bytes.
func (l *File) ready(more int64) error {
	if l.f != nil && l.moved() {
		_ = l.close() // it is somebody else's now
	}
	if l.f == nil {
		if err := l.open(); err != nil {
			return err
		}
	}
	if l.rotation.Size <= 0 || l.size+more <= l.rotation.Size || l.size <= int64(len(l.header)) {
		return nil
	}
	if err := errors.Join(l.close(), l.rotate()); err != nil {
		return err
	}
	return l.open()
}

// moved reports whether the name leads to another file, or to none.
func (l *File) moved() bool {
	var st unix.Stat_t
	err := unix.Fstatat(int(l.dir.f.Fd()), l.name, &st, unix.AT_SYMLINK_NOFOLLOW)
	return err != nil || st.Dev != l.id.Dev || st.Ino != l.id.Ino
}

func (l *File) open() error {
	f, size, err := l.dir.open(l.name)
	if err != nil {
		return err
	}
	if err := unix.Fstat(int(f.Fd()), &l.id); err != nil {
		return errors.Join(fmt.Errorf("open log: %w", err), f.Close())
	}
	if size == 0 && len(l.header) > 0 {
		if _, err := f.Write(l.header); err != nil {
			return errors.Join(fmt.Errorf("write log: %w", err), f.Truncate(0), f.Close())
		}
		size = int64(len(l.header))
	}
	l.f, l.size = f, size
	return nil
}

// rotate moves NAME to NAME.1, that to NAME.2, and so on; the last goes.
func (l *File) rotate() error {
	at := int(l.dir.f.Fd())
	old := func(n int) string { return fmt.Sprintf("%s.%d", l.name, n) }
	last := l.name
	if l.rotation.Keep > 0 {
		last = old(l.rotation.Keep)
	}
	if err := unix.Unlinkat(at, last, 0); err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("remove log %s: %w", filepath.Join(l.dir.path, last), err)
	}
	for n := l.rotation.Keep; n >= 1; n-- {
		from := l.name
		if n > 1 {
			from = old(n - 1)
		}
		if err := unix.Renameat(at, from, at, old(n)); err != nil && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("rename log %s: %w", filepath.Join(l.dir.path, from), err)
		}
	}
	return nil
}
