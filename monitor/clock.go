package monitor

import (
	"time"

	"golang.org/x/sys/unix"
)

// clock converts the kernel's boot time to wall time. The offset is measured
// anew each turn, because the wall clock is stepped and a machine suspends.
type clock struct {
	offset int64 // wall minus boot, ns
}

// measure reads both clocks. The boot clock is read between two reads of the
// wall clock, so that a preemption in between halves its error.
func (c *clock) measure() (now time.Time, boot uint64) {
	var ts unix.Timespec
	before := time.Now()
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return before, 0 // cannot happen on a kernel with BPF ring buffers
	}
	after := time.Now()
	middle := before.UnixNano() + (after.UnixNano()-before.UnixNano())/2
	c.offset = middle - ts.Nano()
	return after, uint64(ts.Nano())
}

// wall is the wall time of boot, without a monotonic reading, in UTC.
func (c *clock) wall(boot uint64) time.Time {
	return time.Unix(0, int64(boot)+c.offset).UTC()
}
