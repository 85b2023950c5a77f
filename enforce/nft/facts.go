package nft

import (
	"fmt"
	"os/user"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"snitch/monitor/event"
	"snitch/policy/rule"
)

// protocols are the numbers of the names that rules use, as far as they are
// protocols of packets. Their names are the same in both families.
var protocols = sync.OnceValue(func() map[string]byte {
	out := map[string]byte{}
	for n := range uint16(event.ProtoRaw) { // a raw socket's packets carry another number
		out[event.ProtoName(event.AFInet, n)] = byte(n)
	}
	return out
})

// withPorts are the protocols whose headers begin with two ports, sorted.
func withPorts() []byte {
	return []byte{unix.IPPROTO_TCP, unix.IPPROTO_UDP, unix.IPPROTO_SCTP, unix.IPPROTO_UDPLITE}
}

// userID is the number of an account. The accounts of network directories are
// not known to it.
func userID(name string) (uint32, error) {
	u, err := user.Lookup(name)
	if err != nil {
		return 0, fmt.Errorf("look up account: %w", err)
	}
	id, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return 0, fmt.Errorf("read number of account: %w", err)
	}
	return uint32(id), nil
}

// cgroupPattern splits a pattern into a cgroup and whether it means everything
// below it instead.
func cgroupPattern(p rule.Pattern) (path string, below, ok bool) {
	path = p.Text
	if p.Literal() {
		return path, false, strings.HasPrefix(path, "/")
	}
	path, below = strings.CutSuffix(path, "/**")
	return path, below, below && !strings.Contains(path, "*") && (path == "" || strings.HasPrefix(path, "/"))
}

// cgroupLevel is how deep a cgroup lies; the root is 0.
func cgroupLevel(path string) int {
	return strings.Count(strings.TrimSuffix(path, "/"), "/")
}
