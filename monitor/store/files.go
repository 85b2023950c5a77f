package store

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"snitch/monitor/store/schema"
)

const (
	dirMode  = 0o750
	fileMode = 0o640
	lockName = "store.lock"
	// asideKept bounds how many corrupt files, and how many copies from before
	// a migration, are kept beside the database.
	asideKept = 3
	stampForm = "20060102T150405Z"
)

// sideFiles are the suffixes of what SQLite keeps beside the database.
var sideFiles = [...]string{"-wal", "-shm"}

// makeDir makes the state directory and gives the group access to it. An
// existing directory keeps its mode: the operator may have chosen a tighter one.
func makeDir(dir string, group int) error {
	err := os.Mkdir(dir, dirMode)
	switch {
	case errors.Is(err, fs.ErrExist):
		return nil
	case err != nil:
		return fmt.Errorf("make state directory: %w", err)
	}
	return setAccess(dir, dirMode, group)
}

// lockDir takes the right to write in dir, which the kernel gives back when
// the file is closed or the process ends.
func lockDir(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open lock file: %w", err)
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == nil {
		return f, nil
	}
	_ = f.Close() // nothing was written
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, fmt.Errorf("lock %s: %w", dir, ErrLocked)
	}
	return nil, fmt.Errorf("lock %s: %w", dir, err)
}

// makeFile makes the database file before SQLite does: SQLite gives its side
// files the mode and group of the main file, so this decides for all three.
func makeFile(path string, group int) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, fileMode)
	if err != nil {
		return fmt.Errorf("make database file: %w", err)
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("make database file: %w", err)
	}
	return setAccess(path, fileMode, group)
}

// setAccess overrides the umask and leaves alone what is right already, so
// that a file system that is read-only now gives no error here.
func setAccess(path string, mode fs.FileMode, group int) error {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return fmt.Errorf("look at %s: %w", path, err)
	}
	if group >= 0 && int(st.Gid) != group {
		if err := os.Lchown(path, -1, group); err != nil {
			return fmt.Errorf("give %s to group %d: %w", path, group, err)
		}
	}
	if fs.FileMode(st.Mode&0o7777) == mode {
		return nil
	}
	if err := os.Chmod(path, mode); err != nil {
		return fmt.Errorf("set mode of %s: %w", path, err)
	}
	return nil
}

// checkHeader refuses a file that cannot be a database, before SQLite sees it.
// An empty file is a new database.
func checkHeader(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("read header: %w", err)
	}
	defer f.Close()
	const magic = "SQLite format 3\x00"
	var head [100]byte
	switch n, err := io.ReadFull(f, head[:]); {
	case errors.Is(err, io.EOF):
		return nil
	case errors.Is(err, io.ErrUnexpectedEOF):
		return corruptf("the file has only %d bytes", n)
	case err != nil:
		return fmt.Errorf("read header: %w", err)
	}
	if string(head[:len(magic)]) != magic {
		return corruptf("the file does not begin as an SQLite database")
	}
	return nil
}

// setAside renames a corrupt database and its log, so that a person can look
// at it or rescue rows, and returns the new name. Old ones beyond asideKept
// are removed. The shared-memory file holds nothing that is not in the log.
func setAside(path string, now time.Time) (string, error) {
	target := freeName(path + ".corrupt-" + now.UTC().Format(stampForm))
	if err := os.Rename(path, target); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("set corrupt database aside: %w", err)
	}
	if err := os.Rename(path+"-wal", target+"-wal"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("set corrupt log aside: %w", err)
	}
	if err := os.Remove(path + "-shm"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("remove shared memory of corrupt database: %w", err)
	}
	return target, removeOld(path + ".corrupt-")
}

// freeName adds a number when two files are set aside within one second.
func freeName(name string) string {
	free := name
	for n := 2; ; n++ {
		if _, err := os.Lstat(free); errors.Is(err, fs.ErrNotExist) {
			return free
		}
		free = fmt.Sprintf("%s-%d", name, n)
	}
}

// removeOld keeps the newest asideKept of the files that begin with prefix;
// their names sort by time.
func removeOld(prefix string) error {
	dir, base := filepath.Split(prefix)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("list old copies: %w", err)
	}
	var names []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), base) && !strings.HasSuffix(e.Name(), "-wal") {
			names = append(names, e.Name())
		}
	}
	slices.Sort(names)
	var errs []error
	for len(names) > asideKept {
		errs = append(errs, removeIfThere(dir+names[0]), removeIfThere(dir+names[0]+"-wal"))
		names = names[1:]
	}
	return errors.Join(errs...)
}

func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove old copy: %w", err)
	}
	return nil
}

// fileID tells whether a path still names the file that was opened: SQLite
// goes on writing into a file that someone has removed.
type fileID struct{ dev, ino uint64 }

func identify(path string) (fileID, error) {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return fileID{}, fmt.Errorf("look at %s: %w", path, err)
	}
	return fileID{dev: st.Dev, ino: st.Ino}, nil
}

// diskBytes is the size of the database and its log.
func diskBytes(dir string) uint64 {
	var total uint64
	for _, suffix := range []string{"", sideFiles[0]} {
		if fi, err := os.Stat(filepath.Join(dir, schema.FileName+suffix)); err == nil {
			total += uint64(max(0, fi.Size()))
		}
	}
	return total
}
