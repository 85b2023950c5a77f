package event

import "net/netip"

// Exec says that a process image was replaced. Strings come from the process
// and are hostile: bounded, any bytes.
type Exec struct {
	ID       ProcessID // after the exec
	Boot     uint64
	Parent   ProcessID // group leader's real parent as the kernel shows it now
	UID, GID uint32
	CgroupID uint64
	NetNS    uint32
	MountNS  uint32
	PIDNS    uint32
	File     FileID // the file that was loaded: for a script, the interpreter
	Links    uint32 // i_nlink of File; 0: deleted or memfd
	MemFD    bool   // File lives on the kernel's internal shmem mount
	Filename string // as given to execve
	Interp   string // differs from Filename when a "#!" line chose it
	Comm     string
	Args     []string
	ArgsCut  bool
	NodeCut  bool // Filename or Interp was longer than the bound
}

// Fork says that a thread group was made.
type Fork struct {
	Child, Parent ProcessID
	Boot          uint64
	UID           uint32
	Comm          string
}

// Exit says that the last thread of a group ended.
type Exit struct {
	ID   ProcessID
	Boot uint64
}

// Snapshot is a process that was there when the monitor started.
type Snapshot struct {
	Exec
	KernelThread bool
}

// FlowKind says how a flow came to be seen; it decides the direction.
type FlowKind uint8

// Kinds; the numbers are those of bpf/headers/wire.h.
const (
	FlowInvalid  FlowKind = 0
	FlowConnect  FlowKind = 1 // this socket connected
	FlowAccept   FlowKind = 2 // this socket was accepted
	FlowListen   FlowKind = 3 // this socket listens
	FlowDatagram FlowKind = 4 // unconnected datagrams with this peer
	FlowRaw      FlowKind = 5 // raw IP and ICMP
	FlowPacket   FlowKind = 6 // AF_PACKET
	FlowSeen     FlowKind = 7 // AF_XDP, AF_VSOCK and others: seen, bytes as far as the kernel tells
)

var flowKindNames = [...]string{"invalid", "connect", "accept", "listen", "datagram", "raw", "packet", "seen"}

// String names the kind.
func (k FlowKind) String() string { return enumName(flowKindNames[:], int(k)) }

// FlowKey identifies a flow: one process, one socket, one peer.
type FlowKey struct {
	ID     ProcessID
	Cookie uint64 // socket cookie, unique for the boot
	Remote netip.AddrPort
	Proto  uint16 // IPPROTO_*; for AF_PACKET the Ethernet protocol
	Kind   FlowKind
}

// Flow is what happened on a flow since the last drain: a delta, except for
// Result, State and the addresses, which are the latest known.
type Flow struct {
	FlowKey
	Family    uint16 // AF_*
	Local     netip.AddrPort
	Sent      uint64 // application bytes
	Received  uint64 // application bytes
	SentOps   uint64 // send calls that moved bytes; for datagrams: datagrams
	RecvOps   uint64
	FirstBoot uint64
	LastBoot  uint64
	CgroupID  uint64
	NetNS     uint32
	UID       uint32
	Comm      string
	Result    Result
	RecvFirst bool // the first thing seen was a receive: the peer began
	Closed    bool // the socket is gone: no more deltas from the kernel's socket state
	Existing  bool // the socket was there before the monitor
}

// PayloadKind says what a captured payload is for.
type PayloadKind uint8

// Kinds; the numbers are those of bpf/headers/wire.h.
const (
	PayloadInvalid   PayloadKind = 0
	PayloadDNSQuery  PayloadKind = 1 // leaves, to port 53
	PayloadDNSAnswer PayloadKind = 2 // arrives, from port 53
	PayloadTLS       PayloadKind = 3 // first bytes of a TCP connection, outbound
	PayloadQUIC      PayloadKind = 4 // first datagrams of a UDP flow, outbound
)

var payloadKindNames = [...]string{"invalid", "dns-query", "dns-answer", "tls", "quic"}

// String names the kind.
func (k PayloadKind) String() string { return enumName(payloadKindNames[:], int(k)) }

// Payload is a piece of network data that may hold a name. Data starts behind
// the transport header, is at most 4 KiB and is hostile.
type Payload struct {
	Kind   PayloadKind
	ID     ProcessID // owner of the socket
	Cookie uint64
	Boot   uint64
	Proto  uint16
	NetNS  uint32
	Local  netip.AddrPort
	Remote netip.AddrPort
	Seq    uint32 // TCP: sequence number of Data[0]; UDP: 0
	Length uint32 // length on the wire; larger than len(Data) when it was cut
	Data   []byte
}
