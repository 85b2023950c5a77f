package bpf

// What is written to the verdict programs and what they tell;
// headers/verdict_wire.h says what the fields mean, docs/tables.md what the
// tables are.
type (
	// VerdictID is one process image, as ProcessId.
	VerdictID = verdictProcessId
	// VerdictSubject is the classes of a process, by slot.
	VerdictSubject = verdictVerdictSubject
	// VerdictImage names an image that a thread group is about to run.
	VerdictImage = verdictVerdictImage
	// VerdictPending is its class, and what else of its file must be so.
	VerdictPending = verdictVerdictPending
	// VerdictGroupKey is a key of the table of groups.
	VerdictGroupKey = verdictVerdictGroupKey
	// VerdictGroup is a value of it.
	VerdictGroup = verdictVerdictGroup
	// VerdictPlaceKey is a key of the table of places.
	VerdictPlaceKey = verdictVerdictPlaceKey
	// VerdictAddressKey is a key of the trie of addresses.
	VerdictAddressKey = verdictVerdictAddressKey
	// VerdictRowKey is a key of the trie of verdicts.
	VerdictRowKey = verdictVerdictRowKey
	// VerdictEntry is a value of it.
	VerdictEntry = verdictVerdictEntry
	// VerdictDecisionKey is what an answer of user space is about.
	VerdictDecisionKey = verdictVerdictDecisionKey
	// VerdictDecision is the answer.
	VerdictDecision = verdictVerdictDecision
	// VerdictEvent is a record of the ring.
	VerdictEvent = verdictVerdictEvent
)

// Verdicts of entries, decisions and events.
const (
	VerdictAsk   = uint8(verdictVerdictVERDICT_ASK)
	VerdictAllow = uint8(verdictVerdictVERDICT_ALLOW)
	VerdictAlert = uint8(verdictVerdictVERDICT_ALERT)
	VerdictDeny  = uint8(verdictVerdictVERDICT_DENY)
)

// Types of events.
const (
	VerdictAsked  = uint8(verdictVerdictEventTypeVERDICT_ASKED)
	VerdictDenied = uint8(verdictVerdictEventTypeVERDICT_DENIED)
)

// Flags of events.
const (
	VerdictHasPort = uint8(verdictVerdictEventFlagEVENT_HAS_PORT)
	VerdictUnknown = uint8(verdictVerdictEventFlagEVENT_UNKNOWN)
	VerdictRouted  = uint8(verdictVerdictEventFlagEVENT_ROUTED)
	VerdictDead    = uint8(verdictVerdictEventFlagEVENT_DEAD)
	VerdictPieces  = uint8(verdictVerdictEventFlagEVENT_FRAGMENT)
	VerdictHeld    = uint8(verdictVerdictEventFlagEVENT_HELD)
)

// Hooks of events.
const (
	VerdictAtConnect = uint8(verdictVerdictHookHOOK_CONNECT)
	VerdictAtSend    = uint8(verdictVerdictHookHOOK_SENDMSG)
	VerdictAtBind    = uint8(verdictVerdictHookHOOK_BIND)
	VerdictAtCreate  = uint8(verdictVerdictHookHOOK_CREATE)
	VerdictAtEgress  = uint8(verdictVerdictHookHOOK_EGRESS)
	VerdictAtIngress = uint8(verdictVerdictHookHOOK_INGRESS)
	VerdictAtCut     = uint8(verdictVerdictHookHOOK_CUT)
	VerdictAtFamily  = uint8(verdictVerdictHookHOOK_FAMILY)
)

// Indexes of Counts.
const (
	CountAllowed      = int(verdictVerdictCountCOUNT_ALLOWED)
	CountDenied       = int(verdictVerdictCountCOUNT_DENIED)
	CountAsked        = int(verdictVerdictCountCOUNT_ASKED)
	CountUnknown      = int(verdictVerdictCountCOUNT_UNKNOWN)
	CountDeadPassed   = int(verdictVerdictCountCOUNT_DEAD_PASSED)
	CountDeadRefused  = int(verdictVerdictCountCOUNT_DEAD_REFUSED)
	CountKernel       = int(verdictVerdictCountCOUNT_KERNEL)
	CountOtherPeer    = int(verdictVerdictCountCOUNT_OTHER_PEER)
	CountRouted       = int(verdictVerdictCountCOUNT_ROUTED)
	CountBadPacket    = int(verdictVerdictCountCOUNT_BAD_PACKET)
	CountRingFull     = int(verdictVerdictCountCOUNT_RING_FULL)
	CountNoStorage    = int(verdictVerdictCountCOUNT_NO_STORAGE)
	CountSubjectsFull = int(verdictVerdictCountCOUNT_SUBJECTS_FULL)
	CountPromoted     = int(verdictVerdictCountCOUNT_PROMOTED)
	CountNotPromoted  = int(verdictVerdictCountCOUNT_NOT_PROMOTED)
	CountHeld         = int(verdictVerdictCountCOUNT_HELD)
	CountExpired      = int(verdictVerdictCountCOUNT_EXPIRED)
	CountFragment     = int(verdictVerdictCountCOUNT_FRAGMENT)
	CountMax          = int(verdictVerdictCountCOUNT_MAX)
)

// Numbers of PutProtos for sockets of other families, behind those of IP.
const (
	VerdictProtoPacket = uint32(verdictVerdictProtoPROTO_PACKET)
	VerdictProtoVsock  = uint32(verdictVerdictProtoPROTO_VSOCK)
	VerdictProtoXDP    = uint32(verdictVerdictProtoPROTO_XDP)
)

// VerdictUsesPorts is the bit of a group's uses that says that its rows tell
// ports of the called end apart.
const VerdictUsesPorts = uint32(verdictVerdictUsesUSES_PORTS)

// VerdictNoGroup is the group of an event whose process is in no class.
const VerdictNoGroup = ^uint32(0)
