package main

import (
	"os/user"
	"strconv"
	"sync"
	"time"

	"snitch/cmd/internal/broker"
)

// users names user ids from the user database, which it asks again after a
// while: people come and go. It is safe for concurrent use.
type users struct {
	mu    sync.Mutex
	names map[uint32]string
	since time.Time
}

const (
	usersFor = time.Minute
	maxUsers = 4096 // containers with user namespaces have many
)

// name returns "" for an id without a name.
func (u *users) name(uid uint32) string {
	u.mu.Lock()
	defer u.mu.Unlock()
	if now := time.Now(); u.names == nil || now.Sub(u.since) > usersFor || len(u.names) >= maxUsers {
		u.names, u.since = map[uint32]string{}, now
	}
	name, ok := u.names[uid]
	if !ok {
		if found, err := user.LookupId(strconv.FormatUint(uint64(uid), 10)); err == nil {
			name = found.Username
		}
		u.names[uid] = name
	}
	return name
}

// ourName is the user and the group that packages make.
const ourName = "snitch"

// group returns the id of the group that may read, -1 when there is none.
func group() int {
	g, err := user.LookupGroup(ourName)
	if err != nil {
		return -1
	}
	gid, err := strconv.Atoi(g.Gid)
	if err != nil {
		return -1
	}
	return gid
}

// helperUser is who helpers run as: snitch, else nobody.
func helperUser() broker.User {
	for _, name := range []string{ourName, "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, uidErr := strconv.ParseUint(u.Uid, 10, 32)
		gid, gidErr := strconv.ParseUint(u.Gid, 10, 32)
		if uidErr == nil && gidErr == nil && uid != 0 && gid != 0 {
			return broker.User{UID: uint32(uid), GID: uint32(gid)}
		}
	}
	return broker.User{UID: 65534, GID: 65534} // the kernel's overflow user
}
