package bpf

import (
	"fmt"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
)

// VerdictQuery is a question to the tables and their answer.
type VerdictQuery = verdictQuery

// Bits of VerdictQuery.Has: what is known of the ends. `from` began.
const (
	QueryHasTo       = uint8(verdictQueryHasHAS_TO)
	QueryHasToPort   = uint8(verdictQueryHasHAS_TO_PORT)
	QueryHasFrom     = uint8(verdictQueryHasHAS_FROM)
	QueryHasFromPort = uint8(verdictQueryHasHAS_FROM_PORT)
)

// etherHeader precedes the query in the packet that carries it.
const etherHeader = 14

// Probe runs the kernel's look-up for a class in a staged generation, repeat
// times, fills the answer into q and returns the time of one run. It wants
// VerdictConfig.Probe.
func (v *Verdicts) Probe(q *VerdictQuery, repeat uint32) (time.Duration, error) {
	packet := make([]byte, etherHeader+unsafe.Sizeof(*q))
	copy(packet[etherHeader:], unsafe.Slice((*byte)(unsafe.Pointer(q)), unsafe.Sizeof(*q)))
	opts := ebpf.RunOptions{Data: packet, DataOut: make([]byte, len(packet)), Repeat: repeat}
	began := time.Now()
	ok, err := v.coll.Programs["verdict_probe"].Run(&opts)
	if err != nil {
		return 0, fmt.Errorf("run look-up: %w", err)
	}
	took := time.Since(began) / time.Duration(max(1, repeat))
	if ok != 1 {
		return 0, fmt.Errorf("run look-up: the program returned %d", ok)
	}
	copy(unsafe.Slice((*byte)(unsafe.Pointer(q)), unsafe.Sizeof(*q)), opts.DataOut[etherHeader:])
	return took, nil
}
