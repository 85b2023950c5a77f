package broker

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// kept are the capabilities of the broker: to become the helper's user and
// group, and to end a helper that runs as somebody else.
const kept = 1<<unix.CAP_SETUID | 1<<unix.CAP_SETGID | 1<<unix.CAP_KILL

// dropPrivileges takes from the calling thread, and so from what it executes,
// everything but kept. The thread cannot get anything back.
func dropPrivileges() error {
	have, err := capabilities()
	if err != nil {
		return err
	}
	for c := uintptr(0); c < 64; c++ {
		if kept&(1<<c) != 0 {
			continue
		}
		err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0)
		if errors.Is(err, unix.EINVAL) {
			break // past the last capability that this kernel knows
		}
		if err != nil {
			return fmt.Errorf("drop capability %d from the bounding set: %w", c, err)
		}
	}
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
		return fmt.Errorf("clear ambient capabilities: %w", err)
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("set no_new_privs: %w", err)
	}
	left := have.permitted & kept
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	data := [2]unix.CapUserData{{Effective: uint32(left), Permitted: uint32(left)}}
	if err := unix.Capset(&header, &data[0]); err != nil {
		return fmt.Errorf("set capabilities: %w", err)
	}
	return nil
}

// capabilitySets are those of one thread.
type capabilitySets struct {
	effective, permitted, inheritable uint64
}

// capabilities reads those of the calling thread.
func capabilities() (capabilitySets, error) {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return capabilitySets{}, fmt.Errorf("read capabilities: %w", err)
	}
	return capabilitySets{
		effective:   uint64(data[0].Effective) | uint64(data[1].Effective)<<32,
		permitted:   uint64(data[0].Permitted) | uint64(data[1].Permitted)<<32,
		inheritable: uint64(data[0].Inheritable) | uint64(data[1].Inheritable)<<32,
	}, nil
}

// confined refuses to go on when this process can do more than allowed: whoever
// started it made a mistake, and it must not become a hole.
func confined(allowed uint64) error {
	have, err := capabilities()
	if err != nil {
		return err
	}
	if more := (have.effective | have.permitted | have.inheritable) &^ allowed; more != 0 {
		return fmt.Errorf("started with more privileges than it may have (capabilities %#x)", more)
	}
	set, err := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)
	if err != nil {
		return fmt.Errorf("read no_new_privs: %w", err)
	}
	if set != 1 {
		return fmt.Errorf("started without no_new_privs")
	}
	return nil
}
