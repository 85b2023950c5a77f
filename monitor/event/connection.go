package event

import (
	"net/netip"
	"time"
)

// Direction is who began.
type Direction uint8

// Directions; the numbers are stored.
const (
	DirectionInvalid Direction = 0
	Out              Direction = 1
	In               Direction = 2
	Listen           Direction = 3
)

var directionNames = [...]string{"invalid", "out", "in", "listen"}

// String is the name that rules and log use.
func (d Direction) String() string { return enumName(directionNames[:], int(d)) }

// Result is how far a connection came.
type Result uint8

// Results; the numbers are stored and are those of bpf/headers/wire.h.
const (
	ResultInvalid     Result = 0
	ResultPending     Result = 1  // an attempt without an answer yet
	ResultEstablished Result = 2  // handshake done, or a datagram flow that moved bytes
	ResultRefused     Result = 3  // ECONNREFUSED
	ResultTimeout     Result = 4  // ETIMEDOUT
	ResultUnreachable Result = 5  // no route, host or network unreachable
	ResultReset       Result = 6  // reset after it was established
	ResultAborted     Result = 7  // closed by the program before an answer came
	ResultFailed      Result = 8  // connect failed before a packet left (no route, no port, …)
	ResultClosed      Result = 9  // established and closed in order
	ResultListening   Result = 10 // a listener
	ResultDenied      Result = 11 // by snitch
	ResultSeen        Result = 12 // a socket whose traffic the kernel does not show
)

var resultNames = [...]string{"invalid", "pending", "established", "refused", "timeout",
	"unreachable", "reset", "aborted", "failed", "closed", "listening", "denied", "seen"}

// String is the name that log prints.
func (r Result) String() string { return enumName(resultNames[:], int(r)) }

// NameSource says where a domain name came from. Only some may satisfy an
// allow rule: see docs and the policy package.
type NameSource uint8

// Sources; the numbers are stored.
const (
	NameNone     NameSource = 0
	NameDNS      NameSource = 1 // DNS answer that this process received, paired with its query
	NameResolved NameSource = 2 // systemd-resolved's monitor
	NameSNI      NameSource = 3 // TLS ClientHello of this connection
	NameQUIC     NameSource = 4 // QUIC Initial of this connection
	NameHosts    NameSource = 5 // hosts file
	NameReverse  NameSource = 6 // reverse DNS: a label, never evidence
	NameDNSOther NameSource = 7 // DNS answer that another process of the same host received
)

var nameSourceNames = [...]string{"", "dns", "resolved", "sni", "quic", "hosts", "reverse", "dns-other"}

// String is the name that log prints; "" for none.
func (s NameSource) String() string { return enumName(nameSourceNames[:], int(s)) }

// ParseNameSource reads what String writes; what it does not know is NameNone.
func ParseNameSource(s string) NameSource {
	for i := range nameSourceNames {
		if nameSourceNames[i] == s {
			return NameSource(i)
		}
	}
	return NameNone
}

// Name is a domain name believed to belong to a remote address.
type Name struct {
	Domain string // lower case, no trailing dot, A-labels
	Source NameSource
	At     time.Time  // when it was learned; the record keeps the age at the time of the connection
	Server netip.Addr // the resolver that answered, for DNS
	SNI    string     // what the client claimed in TLS or QUIC, when it differs from Domain
	// Trusted says that an allow rule may rest on it: an answer of a configured
	// resolver that held when the connection began (docs/names.md).
	Trusted bool
}

// CorrectionsKept is for how many closed connections after it a closed one may
// be handed to the record again (its decision came late).
const CorrectionsKept = 65536

// MaxNames bounds the names of one connection.
const MaxNames = 8

// Connection is one row of the record: one process, one socket, one peer. It
// is a snapshot with totals so far; a later snapshot with the same ID replaces
// it.
type Connection struct {
	ID        uint64 // unique within one run of the daemon, from 1
	Host      string // that recorded it, in a record of several hosts; "" in a host's own
	Process   *Process
	Opened    time.Time
	Last      time.Time
	Direction Direction
	Family    uint16 // AF_*
	Proto     uint16 // IPPROTO_*; for AF_PACKET the Ethernet protocol
	Local     netip.AddrPort
	Remote    netip.AddrPort
	Name      Name
	Names     []Name // all that is known, best first, at most MaxNames; the first is Name
	Country   string // ISO 3166-1 alpha-2, "" unknown, set by geoip
	Sent      uint64 // application bytes so far
	Received  uint64
	Packets   uint64 // send and receive operations that moved bytes: datagrams for UDP
	Result    Result
	Closed    bool // no further snapshot follows
	Existing  bool // it was there before the monitor started
	Cookie    uint64
	NetNS     uint32
	UID       uint32 // of the actor at the time
	User      string // account name of UID at the time, "" unknown
	Cgroup    Cgroup
	Novelty   []string
	Decision  Decision
}
