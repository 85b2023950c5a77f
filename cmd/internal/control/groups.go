package control

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// maxPeerGroups bounds what is read; a process may be in 65,536 groups.
const maxPeerGroups = 1024

// peerGroups asks for the supplementary groups of the peer (SO_PEERGROUPS,
// Linux 4.13). A peer in more groups than the bound is judged without them.
func peerGroups(fd int) []uint32 {
	groups := make([]uint32, maxPeerGroups)
	size := uint32(len(groups) * 4)
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_PEERGROUPS,
		uintptr(unsafe.Pointer(&groups[0])), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 {
		return nil
	}
	return groups[:size/4]
}
