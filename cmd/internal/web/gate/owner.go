package gate

import (
	"context"
	"net"
	"sync"

	"github.com/vishvananda/netlink"
)

type ownerKey struct{}

// withOwner is http.Server.ConnContext: it can say who holds the other end.
// The kernel is asked once a connection, with the first request.
func withOwner(ctx context.Context, conn net.Conn) context.Context {
	local, remote := conn.LocalAddr(), conn.RemoteAddr()
	return context.WithValue(ctx, ownerKey{}, sync.OnceValue(func() Owner { return ownerOf(local, remote) }))
}

// ownerOf asks for the socket that is ours seen from the other end.
func ownerOf(local, remote net.Addr) Owner {
	ours, ok := local.(*net.TCPAddr)
	theirs, is := remote.(*net.TCPAddr)
	if !ok || !is || !theirs.IP.IsLoopback() {
		return Owner{}
	}
	s, err := netlink.SocketGet(theirs, ours)
	if err != nil || s == nil {
		return Owner{}
	}
	return Owner{UID: s.UID, Known: true}
}

func ownerIn(ctx context.Context) Owner {
	if ask, ok := ctx.Value(ownerKey{}).(func() Owner); ok {
		return ask()
	}
	return Owner{}
}
