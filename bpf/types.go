package bpf

// The records that cross from the kernel; headers/wire.h says what their
// fields mean. Layouts are those of C.
type (
	// ProcessId is one process image.
	ProcessId = snitchProcessId
	// Flow is a delta of one flow.
	Flow = snitchFlow
	// FlowKey identifies a flow.
	FlowKey = snitchFlowKey
	// FlowValue is what happened on it.
	FlowValue = snitchFlowValue
	// Record is the header of every ring record.
	Record = snitchRecord
	// ExecRecord is followed by ArgsLen bytes of arguments, each ended by NUL.
	ExecRecord = snitchExecRecord
	// ForkRecord says that a thread group was made.
	ForkRecord = snitchForkRecord
	// ExitRecord says that the last thread of a group ended.
	ExitRecord = snitchExitRecord
	// FileId identifies a file and its state.
	FileId = snitchFileId
	// PayloadRecord is followed by DataLen bytes of payload.
	PayloadRecord = snitchPayloadRecord
	// Loss counts what was lost, with the bytes as far as known.
	Loss = snitchLoss
)

// Types of ring records.
const (
	RecordExec    = uint16(snitchRecordTypeRECORD_EXEC)
	RecordFork    = uint16(snitchRecordTypeRECORD_FORK)
	RecordExit    = uint16(snitchRecordTypeRECORD_EXIT)
	RecordPayload = uint16(snitchRecordTypeRECORD_PAYLOAD)
	RecordWake    = uint16(snitchRecordTypeRECORD_WAKE)
)

// Flags of a flow's value.
const (
	FlowRecvFirst = uint8(snitchFlowFlagFLOW_RECV_FIRST)
	FlowClosed    = uint8(snitchFlowFlagFLOW_CLOSED)
	FlowExisting  = uint8(snitchFlowFlagFLOW_EXISTING)
)

// Flags of an exec record.
const (
	ExecArgsCut = uint32(snitchExecFlagEXEC_ARGS_CUT)
	ExecNodeCut = uint32(snitchExecFlagEXEC_NODE_CUT)
	ExecMemFD   = uint32(snitchExecFlagEXEC_MEMFD)
	ExecKThread = uint32(snitchExecFlagEXEC_KTHREAD)
)

// Kinds of a flow.
const (
	FlowConnect  = uint8(snitchFlowKindFLOW_CONNECT)
	FlowAccept   = uint8(snitchFlowKindFLOW_ACCEPT)
	FlowListen   = uint8(snitchFlowKindFLOW_LISTEN)
	FlowDatagram = uint8(snitchFlowKindFLOW_DATAGRAM)
	FlowRaw      = uint8(snitchFlowKindFLOW_RAW)
	FlowPacket   = uint8(snitchFlowKindFLOW_PACKET)
	FlowSeen     = uint8(snitchFlowKindFLOW_SEEN)
)

// Results of a flow.
const (
	ResultPending     = uint8(snitchFlowResultRESULT_PENDING)
	ResultEstablished = uint8(snitchFlowResultRESULT_ESTABLISHED)
	ResultRefused     = uint8(snitchFlowResultRESULT_REFUSED)
	ResultTimeout     = uint8(snitchFlowResultRESULT_TIMEOUT)
	ResultUnreachable = uint8(snitchFlowResultRESULT_UNREACHABLE)
	ResultReset       = uint8(snitchFlowResultRESULT_RESET)
	ResultAborted     = uint8(snitchFlowResultRESULT_ABORTED)
	ResultFailed      = uint8(snitchFlowResultRESULT_FAILED)
	ResultClosed      = uint8(snitchFlowResultRESULT_CLOSED)
	ResultListening   = uint8(snitchFlowResultRESULT_LISTENING)
	ResultSeen        = uint8(snitchFlowResultRESULT_SEEN)
)

// Kinds of payload.
const (
	PayloadDNSQuery  = uint8(snitchPayloadKindPAYLOAD_DNS_QUERY)
	PayloadDNSAnswer = uint8(snitchPayloadKindPAYLOAD_DNS_ANSWER)
	PayloadTLS       = uint8(snitchPayloadKindPAYLOAD_TLS)
	PayloadQUIC      = uint8(snitchPayloadKindPAYLOAD_QUIC)
)

// Causes of loss: indexes into Losses.
const (
	LossRingFull     = int(snitchLossCauseLOSS_RING_FULL)
	LossPayloadFull  = int(snitchLossCauseLOSS_PAYLOAD_FULL)
	LossFlowMapFull  = int(snitchLossCauseLOSS_FLOW_MAP_FULL)
	LossOverflowFull = int(snitchLossCauseLOSS_OVERFLOW_FULL)
	LossSocketState  = int(snitchLossCauseLOSS_SOCKET_STATE)
	LossPeer         = int(snitchLossCauseLOSS_PEER)
	LossHelper       = int(snitchLossCauseLOSS_HELPER)
	LossMax          = int(snitchLossCauseLOSS_MAX)
	// LossMissed is told by the kernel, not by our programs: runs of a tracing
	// program that it skipped because another task was interrupted inside that
	// program on the same processor. Only preemptible trace points (7.x) let
	// that happen. Count is calls; their bytes are not known.
	LossMissed = LossMax
)
