package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	stateMode = 0o750
	lockFile  = "run.lock"
)

// stateDir is the directory of one running daemon, locked as long as it is
// open.
type stateDir struct {
	path string
	gid  int // of readers, -1 for none
	lock *os.File
}

// openState makes the directory, if it is not there, and locks it: two daemons
// never write to one.
func openState(path string) (*stateDir, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("find state directory: %w", err)
	}
	s := &stateDir{path: path, gid: group()}
	if err := s.make(); err != nil {
		return nil, usageError(fmt.Errorf("make state directory: %w", err), "name one that can be written to with --state")
	}
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, fmt.Errorf("look at state directory: %w", err)
	case !info.IsDir():
		return nil, usageError(fmt.Errorf("%s is no directory", path), "name one with --state")
	case info.Mode()&0o002 != 0:
		return nil, usageError(fmt.Errorf("everybody may write to %s", path), "name a directory of its own with --state, or take the right away with chmod o-w")
	}
	if err := s.take(); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *stateDir) make() error {
	_, err := os.Lstat(s.path)
	if !errors.Is(err, fs.ErrNotExist) {
		return err // whoever made it chose its mode
	}
	if err := os.MkdirAll(filepath.Dir(s.path), 0o755); err != nil {
		return err
	}
	if err := os.Mkdir(s.path, stateMode); err != nil {
		return err
	}
	if s.gid >= 0 {
		if err := os.Chown(s.path, -1, s.gid); err != nil {
			return err
		}
	}
	return os.Chmod(s.path, stateMode) // whatever the umask is
}

func (s *stateDir) take() error {
	name := filepath.Join(s.path, lockFile)
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o640)
	if err != nil {
		return usageError(fmt.Errorf("lock state directory: %w", err), "name one that can be written to with --state")
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		text, _ := os.ReadFile(name) // who holds it is a courtesy
		_ = f.Close()                // nothing was written
		return usageError(fmt.Errorf("another snitch runs with state directory %s (pid %s)", s.path, strings.TrimSpace(string(text))),
			"stop it, or give this one a directory of its own with --state")
	}
	if err != nil {
		return errors.Join(fmt.Errorf("lock state directory: %w", err), f.Close())
	}
	if err := f.Truncate(0); err == nil {
		_, err = fmt.Fprintln(f, os.Getpid())
		if err != nil && !errors.Is(err, unix.ENOSPC) && !errors.Is(err, unix.EDQUOT) {
			return errors.Join(fmt.Errorf("write lock: %w", err), f.Close())
		}
	}
	s.lock = f
	return nil
}

// Close gives the directory free.
func (s *stateDir) Close() error { return s.lock.Close() }
