package export

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Modes of what is made here. Readers are the group of the daemon's readers.
const (
	dirMode  = 0o750
	fileMode = 0o640
)

// ErrUntrusted says that others could put links or pipes where a log is to be.
var ErrUntrusted = errors.New("others could choose what is written to")

// Dir is an open directory of logs that only its owner, who is root or this
// process, can change.
type Dir struct {
	path  string
	group int
	f     *os.File
}

// OpenDir opens the directory, and makes it if it is not there; group may read
// it, -1 is none. The caller closes it.
func OpenDir(path string, group int) (*Dir, error) {
	made := false
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("make directory of logs: %w", err)
	}
	err := os.Mkdir(path, dirMode)
	switch {
	case err == nil:
		made = true
	case !errors.Is(err, os.ErrExist):
		return nil, fmt.Errorf("make directory of logs: %w", err)
	}
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, fmt.Errorf("open directory of logs: %w", err)
	}
	d := &Dir{path: path, group: group, f: f}
	if err := d.prepare(made); err != nil {
		return nil, errors.Join(fmt.Errorf("open directory of logs %s: %w", path, err), f.Close())
	}
	return d, nil
}

func (d *Dir) prepare(made bool) error {
	if made {
		if err := d.f.Chown(-1, d.group); err != nil && d.group >= 0 {
			return err
		}
		if err := d.f.Chmod(dirMode); err != nil { // whatever the umask is
			return err
		}
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(d.f.Fd()), &st); err != nil {
		return err
	}
	if st.Uid != 0 && st.Uid != uint32(os.Geteuid()) {
		return fmt.Errorf("%w: it belongs to user %d", ErrUntrusted, st.Uid)
	}
	if wrong := st.Mode & 0o022; wrong&0o002 != 0 || wrong != 0 && st.Gid != 0 {
		return fmt.Errorf("%w: its mode is %04o (chmod go-w)", ErrUntrusted, st.Mode&0o7777)
	}
	return nil
}

// Close closes the directory. Files of it stay usable.
func (d *Dir) Close() error { return d.f.Close() }

// open opens a log of the directory for appending: a regular file with one name,
// of this process, that nobody else may write. Nothing is followed and nothing
// waits.
func (d *Dir) open(name string) (*os.File, int64, error) {
	const flags = unix.O_WRONLY | unix.O_APPEND | unix.O_CREAT | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_CLOEXEC | unix.O_NOCTTY
	fd, err := unix.Openat(int(d.f.Fd()), name, flags, fileMode)
	if err != nil {
		return nil, 0, &os.PathError{Op: "open", Path: filepath.Join(d.path, name), Err: err}
	}
	f := os.NewFile(uintptr(fd), filepath.Join(d.path, name))
	size, err := d.owned(f)
	if err != nil {
		return nil, 0, errors.Join(fmt.Errorf("open %s: %w", f.Name(), err), f.Close())
	}
	return f, size, nil
}

func (d *Dir) owned(f *os.File) (int64, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return 0, err
	}
	switch {
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		return 0, fmt.Errorf("%w: it is no regular file", ErrUntrusted)
	case st.Uid != uint32(os.Geteuid()):
		return 0, fmt.Errorf("%w: it belongs to user %d", ErrUntrusted, st.Uid)
	case st.Nlink != 1:
		return 0, fmt.Errorf("%w: it has %d names", ErrUntrusted, st.Nlink)
	}
	if d.group >= 0 && st.Gid != uint32(d.group) {
		if err := f.Chown(-1, d.group); err != nil {
			return 0, err
		}
	}
	return st.Size, f.Chmod(fileMode)
}
