package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Load reads the file. A fault of its content, and a file that others than root
// could have written, is a *FaultsError.
func Load(file string) (Config, error) {
	b, err := readTrusted(file, maxFile+1, 0o022)
	var problem *trustError
	if errors.As(err, &problem) {
		return Config{}, &FaultsError{File: file, Faults: []Fault{{Problem: problem.Error()}}}
	}
	if err != nil {
		return Config{}, fmt.Errorf("read configuration: %w", err)
	}
	return Parse(file, b)
}

// ReadFile reads a file that the configuration names, at most a mebibyte: one that
// nobody but root can have written, and of a secret nobody else read.
func ReadFile(file string, secret bool) ([]byte, error) {
	mode := fs.FileMode(0o022)
	if secret {
		mode = 0o077
	}
	b, err := readTrusted(file, maxFile+1, mode)
	switch {
	case err != nil:
		return nil, fmt.Errorf("read %s: %w", file, err)
	case len(b) > maxFile:
		return nil, fmt.Errorf("read %s: larger than %d bytes", file, maxFile)
	}
	return b, nil
}

// trustError says why a file is not to be believed.
type trustError struct{ problem string }

func (e *trustError) Error() string { return e.problem }

func distrust(format string, args ...any) error { return &trustError{fmt.Sprintf(format, args...)} }

// readTrusted reads at most limit bytes of a file that nobody but root can have
// written: a regular file of root with none of the bits of mode, below
// directories that nobody else can change. A process that is not root may own
// them itself, for it trusts itself. Opening never waits (a FIFO) and has no
// effect (a device).
func readTrusted(file string, limit int64, mode fs.FileMode) ([]byte, error) {
	f, err := os.OpenFile(file, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return nil, err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil, distrust("is no regular file")
	}
	if err := trusts(&st, mode); err != nil {
		return nil, err
	}
	if err := trustsAbove(file); err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(f, limit))
}

// trusts judges one file or directory.
func trusts(st *unix.Stat_t, mode fs.FileMode) error {
	if st.Uid != 0 && st.Uid != uint32(os.Geteuid()) {
		return distrust("belongs to user %d: make it root's with chown", st.Uid)
	}
	wrong := fs.FileMode(st.Mode) & mode
	if st.Gid == 0 {
		wrong &^= 0o070 // root's group is root
	}
	switch {
	case wrong&0o022 != 0:
		return distrust("others than root may write it (mode %04o): take that away with chmod go-w", st.Mode&0o7777)
	case wrong != 0:
		return distrust("others than root may read it (mode %04o): take that away with chmod go-rwx", st.Mode&0o7777)
	}
	return nil
}

// trustsAbove judges the directories above a file, by its name and where links
// lead: who can rename one of them chooses the file.
func trustsAbove(file string) error {
	file, err := filepath.Abs(file)
	if err != nil {
		return err
	}
	real, err := filepath.EvalSymlinks(file)
	if err != nil {
		return err
	}
	for _, name := range []string{file, real} {
		for dir := filepath.Dir(name); ; dir = filepath.Dir(dir) {
			var st unix.Stat_t
			if err := unix.Stat(dir, &st); err != nil {
				return &fs.PathError{Op: "stat", Path: dir, Err: err}
			}
			if st.Mode&unix.S_ISVTX != 0 && st.Uid == 0 {
				st.Mode &^= 0o022 // as /tmp: nobody moves what is another's
			}
			if err := trusts(&st, 0o022); err != nil {
				return distrust("directory %s: %v", dir, err)
			}
			if dir == filepath.Dir(dir) {
				break
			}
		}
	}
	return nil
}
