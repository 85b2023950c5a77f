package event

import "time"

// LossCause names a place where facts or bytes can be lost.
type LossCause uint8

// Causes; the numbers are stored.
const (
	LossInvalid        LossCause = 0
	LossRingFull       LossCause = 1  // kernel: no room for an exec, fork or exit record
	LossPayloadFull    LossCause = 2  // kernel: no room for a payload (a name may be missing)
	LossFlowMapFull    LossCause = 3  // kernel: flow map full; bytes kept per executable
	LossOverflowFull   LossCause = 4  // kernel: also the overflow map was full; bytes kept in total only
	LossSocketState    LossCause = 5  // kernel: no memory for a socket's state
	LossPeerScratch    LossCause = 6  // kernel: peer of a datagram unknown
	LossHelper         LossCause = 7  // kernel: a helper failed otherwise
	LossProcUnreadable LossCause = 8  // /proc could not be read
	LossHash           LossCause = 9  // a file could not be hashed
	LossFanotify       LossCause = 10 // fanotify queue overflow: the digest cache was dropped
	LossBadRecord      LossCause = 11 // a kernel record that did not decode
	LossStore          LossCause = 12 // a batch that could not be written and no longer fit in memory
	LossLive           LossCause = 13 // a live client that did not keep up
	LossNameTable      LossCause = 14 // name table full: oldest names dropped early
	LossStoreBytes     LossCause = 15 // reserved: bytes of lost batches
	LossConnTable      LossCause = 16 // table of open connections full: rows closed early
	LossProcessTable   LossCause = 17 // table of processes full: running ones forgotten
	LossMissedRun      LossCause = 18 // kernel: it skipped a program that was interrupted on the same processor; the bytes of the call are unknown
	LossDenials        LossCause = 19 // refused attempts that found no room: status counts them, no row says why they failed
	LossRemote         LossCause = 20 // rows that never left for another host: its server was away for too long. The record here has them
	LossExport         LossCause = 21 // what an output (log file, journal, syslog) did not take; the database has it
)

var lossCauseNames = [...]string{"invalid", "ring-full", "payload-full", "flow-map-full", "overflow-map-full",
	"socket-state", "peer-unknown", "helper", "proc-unreadable", "hash", "fanotify-overflow", "bad-record",
	"store", "live", "name-table", "store-bytes", "connection-table", "process-table", "missed-run", "denials", "remote", "export"}

// String is the name that status and metrics print.
func (c LossCause) String() string { return enumName(lossCauseNames[:], int(c)) }

// LossCauses lists every valid cause.
func LossCauses() []LossCause {
	out := make([]LossCause, 0, len(lossCauseNames)-1)
	for i := 1; i < len(lossCauseNames); i++ {
		out = append(out, LossCause(i))
	}
	return out
}

// Loss is something that was not recorded as it should have been. It is
// counted, shown and attributed as far as the kernel knew.
type Loss struct {
	Time     time.Time
	Cause    LossCause
	Count    uint64 // events since the last report
	Sent     uint64 // bytes known to be lost from rows, where known
	Received uint64
	Process  *Process // nil when unknown
	Detail   string
}
