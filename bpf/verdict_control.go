package bpf

import (
	"fmt"
	"os"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// controlPage is the memory of the map that every program reads first: single
// stores that no program sees half of.
type controlPage struct {
	memory []byte
	*verdictVerdictControl
}

func mapControl(m *ebpf.Map) (*controlPage, error) {
	memory, err := unix.Mmap(m.FD(), 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, err
	}
	return &controlPage{memory: memory, verdictVerdictControl: (*verdictVerdictControl)(unsafe.Pointer(&memory[0]))}, nil
}

func (p *controlPage) close() error { return unix.Munmap(p.memory) }

// Beat says that user space is alive now. It neither blocks nor allocates.
func (v *Verdicts) Beat() error {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return fmt.Errorf("read clock: %w", err)
	}
	atomic.StoreUint64(&v.page.Beat, uint64(now.Nano()))
	return nil
}

// VerdictDefaults is what holds where neither tables nor answers do.
type VerdictDefaults struct {
	BeatLimit  time.Duration // without a beat for longer, user space counts as dead
	FailClosed bool          // then refuse what the tables do not allow; else everything passes
	Undecided  uint8         // VerdictAllow or VerdictDeny: what user space has not answered
	Hold       time.Duration // a TCP connect waits so long for the answer; 0: it does not
}

// SetDefaults takes effect with the next judgement.
func (v *Verdicts) SetDefaults(d VerdictDefaults) {
	closed := uint32(0)
	if d.FailClosed {
		closed = 1
	}
	atomic.StoreUint64(&v.page.Limit, uint64(max(0, d.BeatLimit)))
	atomic.StoreUint32(&v.page.Closed, closed)
	atomic.StoreUint32(&v.page.Undecided, uint32(d.Undecided))
	hold := uint32(0)
	if d.Hold > 0 {
		hold = 1
		atomic.StoreUint64(&v.page.HoldLimit, uint64(d.Hold))
	}
	atomic.StoreUint32(&v.page.Hold, hold)
}

// SetMode switches enforcement on or off; off, every program lets all pass.
func (v *Verdicts) SetMode(enforce bool) {
	mode := uint32(verdictVerdictModeVERDICT_OFF)
	if enforce {
		mode = uint32(verdictVerdictModeVERDICT_ENFORCE)
	}
	atomic.StoreUint32(&v.page.Mode, mode)
}

// off lets everything pass.
func (p *controlPage) off() { atomic.StoreUint32(&p.Mode, uint32(verdictVerdictModeVERDICT_OFF)) }

// Enforcing reports whether the kernel side judges, also as an earlier process
// left it.
func (v *Verdicts) Enforcing() bool {
	return atomic.LoadUint32(&v.page.Mode) == uint32(verdictVerdictModeVERDICT_ENFORCE) && v.Generation() != 0
}

// Generation is that of the tables in use, 0 before the first.
func (v *Verdicts) Generation() uint32 { return atomic.LoadUint32(&v.page.Generation) }
