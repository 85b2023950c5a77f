package broker

import (
	"errors"
	"fmt"
	"strconv"

	"golang.org/x/sys/unix"
)

// runtimeDirs has a directory for each user who is logged in.
const runtimeDirs = "/run/user"

// Ids that are no person's: system users (a display manager has a session too)
// and the kernel's overflow ids.
const (
	firstPerson = 1000
	overflow    = 65534
	overflow16  = 65535
	invalid     = 1<<32 - 1
)

// runsAs is who the helper of a request runs as.
func (s *server) runsAs(req request) (User, error) {
	switch {
	case req.Kind.perUser():
		return loggedIn(runtimeDirs, req.UID)
	case req.UID != 0:
		return User{}, fmt.Errorf("a helper %s is not started for a user", req.Kind)
	}
	return s.user, nil
}

// loggedIn returns the person with this id, while logged in: only then root
// keeps a directory in dirs that belongs to them. Its group is their primary
// one. The broker asks no user database: reading one would need a plugin.
func loggedIn(dirs string, uid uint32) (User, error) {
	switch {
	case uid < firstPerson, uid == overflow, uid == overflow16, uid == invalid:
		return User{}, fmt.Errorf("user %d is no person", uid)
	}
	if _, err := directoryOf(dirs, 0); err != nil {
		return User{}, fmt.Errorf("look for users who are logged in: %w", err)
	}
	gid, err := directoryOf(dirs+"/"+strconv.FormatUint(uint64(uid), 10), uid)
	if err != nil {
		return User{}, fmt.Errorf("user %d is not logged in: %w", uid, err)
	}
	if gid == 0 {
		return User{}, fmt.Errorf("user %d has root's group", uid)
	}
	return User{UID: uid, GID: gid}, nil
}

// directoryOf returns the group of a directory, itself and no link, that owner
// alone may write to.
func directoryOf(path string, owner uint32) (gid uint32, err error) {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return 0, fmt.Errorf("look at %s: %w", path, err)
	}
	switch {
	case st.Mode&unix.S_IFMT != unix.S_IFDIR:
		return 0, errors.New(path + " is no directory")
	case st.Uid != owner:
		return 0, fmt.Errorf("%s belongs to user %d, want %d", path, st.Uid, owner)
	case st.Mode&(unix.S_IWGRP|unix.S_IWOTH) != 0:
		return 0, errors.New(path + " can be written to by others")
	}
	return st.Gid, nil
}
