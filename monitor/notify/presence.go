package notify

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Bounds of what is read.
const (
	maxSessions    = 1024
	maxSessionFile = 64 << 10
)

// presence finds who has a desktop, in the files of logind, as sd-login does:
// the core speaks no D-Bus.
type presence struct {
	logind  string // /run/systemd
	runtime string // /run/user
}

// people returns the ids of persons with a desktop and a message bus, sorted.
// Without logind everybody counts who has a message bus.
func (p presence) people() ([]uint32, error) {
	var found []uint32
	var err error
	if _, seatErr := os.Stat(filepath.Join(p.logind, "seats", "seat0")); seatErr == nil {
		found, err = p.seated()
	} else {
		found, err = p.loggedIn()
	}
	if err != nil {
		return nil, err
	}
	slices.Sort(found)
	found = slices.Compact(found)
	return slices.DeleteFunc(found, func(uid uint32) bool { return !isPerson(uid) || !p.hasBus(uid) }), nil
}

// isPerson tells people from accounts of the system, whose sessions are log-in
// screens, and from the kernel's overflow ids.
func isPerson(uid uint32) bool {
	return uid >= 1000 && uid != 65534 && uid != 65535 && uid != 1<<32-1
}

// hasBus reports whether a session bus of the user's own listens where systemd
// puts it.
func (p presence) hasBus(uid uint32) bool {
	return checkBus(busDir(p.runtime, uid), uid) == nil
}

func busDir(runtime string, uid uint32) string {
	return filepath.Join(runtime, strconv.FormatUint(uint64(uid), 10))
}

// checkBus refuses a directory or a socket that is another's, or a link.
func checkBus(dir string, uid uint32) error {
	var st unix.Stat_t
	if err := unix.Lstat(dir, &st); err != nil {
		return fmt.Errorf("look at %s: %w", dir, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR || st.Uid != uid || st.Mode&(unix.S_IWGRP|unix.S_IWOTH) != 0 {
		return fmt.Errorf("%s is no directory of user %d alone", dir, uid)
	}
	bus := filepath.Join(dir, "bus")
	if err := unix.Lstat(bus, &st); err != nil {
		return fmt.Errorf("look at %s: %w", bus, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFSOCK || st.Uid != uid {
		return fmt.Errorf("%s is no socket of user %d", bus, uid)
	}
	return nil
}

func (p presence) loggedIn() ([]uint32, error) {
	names, err := readNames(p.runtime)
	var found []uint32
	for _, name := range names {
		if uid, err := strconv.ParseUint(name, 10, 32); err == nil {
			found = append(found, uint32(uid))
		}
	}
	return found, err
}

func (p presence) seated() ([]uint32, error) {
	dir := filepath.Join(p.logind, "sessions")
	names, err := readNames(dir)
	var found []uint32
	for _, name := range names {
		text, err := readSession(filepath.Join(dir, name))
		if err != nil {
			continue // it ended meanwhile, or is the pipe that stands beside it
		}
		if uid, ok := parseSession(text); ok {
			found = append(found, uid)
		}
	}
	return found, err
}

// readNames lists a directory that need not be there.
func readNames(dir string) ([]string, error) {
	f, err := os.Open(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look for sessions: %w", err)
	}
	defer f.Close()
	names, err := f.Readdirnames(maxSessions)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("look for sessions: %w", err)
	}
	return names, nil
}

func readSession(file string) (string, error) {
	f, err := os.OpenFile(file, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW, 0)
	if err != nil {
		return "", fmt.Errorf("read session: %w", err)
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return "", errors.Join(errors.New("read session: no regular file"), err)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxSessionFile))
	if err != nil {
		return "", fmt.Errorf("read session: %w", err)
	}
	return string(text), nil
}

// parseSession returns the user of a session that has somebody before a screen.
// A session of type tty with a seat may have startx running in it; whether a
// notification server does is the helper's to find out.
func parseSession(text string) (uint32, bool) {
	value := map[string]string{}
	for line := range strings.Lines(text) {
		if key, v, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
			value[key] = v
		}
	}
	uid, err := strconv.ParseUint(value["UID"], 10, 32)
	if err != nil || value["CLASS"] != "user" || value["STATE"] == "closing" {
		return 0, false
	}
	switch value["TYPE"] {
	case "x11", "wayland", "mir":
		return uint32(uid), true
	case "tty":
		return uint32(uid), value["SEAT"] != "" && value["REMOTE"] != "1"
	}
	return 0, false
}
