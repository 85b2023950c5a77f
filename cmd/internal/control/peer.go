package control

import (
	"context"
	"fmt"
	"net"
	"os"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

// Access says who may ask. Root and the daemon's own user always may.
type Access struct {
	Group int // -1: nobody else
}

// peer is who connected, as the kernel knew it at connect.
type peer struct {
	pid      int32
	uid, gid uint32
	groups   []uint32 // supplementary; nil where the kernel does not tell
}

type peerKey struct{}

// withPeer is http.Server.ConnContext: it notes the peer of each connection.
func withPeer(ctx context.Context, conn net.Conn) context.Context {
	p, err := peerOf(conn)
	if err != nil {
		return ctx // without a peer every request is refused
	}
	return context.WithValue(ctx, peerKey{}, p)
}

func peerOf(conn net.Conn) (peer, error) {
	socket, ok := conn.(syscall.Conn)
	if !ok {
		return peer{}, fmt.Errorf("read peer: %T has no descriptor", conn)
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return peer{}, fmt.Errorf("read peer: %w", err)
	}
	var p peer
	var credErr error
	err = raw.Control(func(fd uintptr) {
		var cred *unix.Ucred
		if cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); credErr == nil {
			p = peer{pid: cred.Pid, uid: cred.Uid, gid: cred.Gid, groups: peerGroups(int(fd))}
		}
	})
	if err == nil {
		err = credErr
	}
	if err != nil {
		return peer{}, fmt.Errorf("read peer: %w", err)
	}
	return p, nil
}

func (a Access) allows(p peer) bool {
	if p.uid == 0 || p.uid == uint32(os.Geteuid()) {
		return true
	}
	return a.Group >= 0 && (p.gid == uint32(a.Group) || slices.Contains(p.groups, uint32(a.Group)))
}

// Admits reports whether the peer of conn, a unix socket, may ask.
func (a Access) Admits(conn net.Conn) bool {
	p, err := peerOf(conn)
	return err == nil && a.allows(p)
}
