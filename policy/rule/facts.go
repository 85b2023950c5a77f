package rule

import (
	"net/netip"

	"snitch/monitor/event"
)

// None is the value of a fact that is known to be absent: a process without a
// script, without a unit, in no container, a file that no package owns. A rule
// names it as any other value. An unknown fact is "" instead and matches nothing.
const None = "none"

// Facts are what one decision is made from. Values are normalised: names lower
// case without a trailing dot, addresses unmapped, proto mptcp as tcp.
type Facts struct {
	Process   Subject
	Ancestors []Subject // [0] is the parent
	Direction event.Direction
	Proto     string // event.ProtoName
	From, To  Endpoint
	Novelty   []Novelty // never part of a cache key
}

// Subject is a process as rules see it. Empty strings and zero digests are
// unknown.
type Subject struct {
	// Exe is the host's path. A file of another mount namespace is written
	// VIEW:PATH ("container:ID:/bin/sh", "mnt:4026531841:/bin/sh"), and so
	// matches only patterns that say so.
	Exe          string
	Kind         event.ExecutableKind
	SHA256       event.Digest
	Name         string
	Script       string
	ScriptSHA256 event.Digest
	Cmdline      string
	User         string
	UID          uint32
	HasUID       bool
	Cgroup       string
	Unit         string
	Container    string
	Package      string
	Reputation   event.Reputation
}

// Endpoint is one end of a connection. An invalid Addr is unknown (a packet
// socket has none).
type Endpoint struct {
	Addr    netip.Addr
	Port    uint16
	HasPort bool
	Names   []Name // of the peer only
	Country string // ISO 3166-1 alpha-2, upper case, "" unknown
}

// Name is one name of a peer with its worth.
type Name struct {
	Domain string
	Source event.NameSource
	// Trusted says that an allow (or an exception) may rest on it: see
	// docs/names.md. Alert and deny rules believe every name.
	Trusted bool
}

// Scope is how far an address is away.
type Scope uint8

// Scopes.
const (
	ScopeInvalid  Scope = 0
	ScopeLoopback Scope = 1 // 127.0.0.0/8 and ::1
	ScopeLAN      Scope = 2 // private, shared (RFC 6598), link-local, unique local, multicast, broadcast
	// ScopeInternet is every other address. The unspecified one is among them:
	// a listener on it is open to everybody. (Facts of a connection to it name
	// the loopback address, which is where it goes.)
	ScopeInternet Scope = 3
)

var scopeNames = [...]string{"invalid", "loopback", "lan", "internet"}

// String is the name that rules use.
func (s Scope) String() string {
	if int(s) >= len(scopeNames) {
		return scopeNames[0]
	}
	return scopeNames[s]
}

var sharedSpace = netip.MustParsePrefix("100.64.0.0/10") // RFC 6598

// ScopeOf is the scope of an address, ScopeInvalid for the zero Addr.
func ScopeOf(a netip.Addr) Scope {
	a = a.Unmap()
	switch {
	case !a.IsValid():
		return ScopeInvalid
	case a.IsLoopback():
		return ScopeLoopback
	case a.IsPrivate(), a.IsLinkLocalUnicast(), a.IsMulticast(), sharedSpace.Contains(a), a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return ScopeLAN
	}
	return ScopeInternet
}

// Novelty is what the record had never seen before this connection.
type Novelty uint8

// Novelties.
const (
	NoveltyInvalid     Novelty = 0
	NoveltyProgram     Novelty = 1 // no connection of this executable path before
	NoveltyHash        Novelty = 2 // the path is known, with other content
	NoveltyParent      Novelty = 3 // the program is known, started by another one
	NoveltyDestination Novelty = 4 // the program is known, never with this name or address
	NoveltyListener    Novelty = 5 // the program never listened on this port and protocol
)

var noveltyNames = [...]string{"invalid", "program", "hash", "parent", "destination", "listener"}

// String is the name that rules and log use.
func (n Novelty) String() string {
	if int(n) >= len(noveltyNames) {
		return noveltyNames[0]
	}
	return noveltyNames[n]
}

// ParseNovelty reads what String writes.
func ParseNovelty(s string) (Novelty, bool) {
	for i := 1; i < len(noveltyNames); i++ {
		if noveltyNames[i] == s {
			return Novelty(i), true
		}
	}
	return NoveltyInvalid, false
}
