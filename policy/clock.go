package policy

import (
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Clock is the time by which rules expire: the later of the wall clock and of
// the boot clock since Clock was made. So a rule expires when it says, whether
// the machine slept meanwhile or somebody set the wall clock back. A jump
// forward counts only while it lasts: a clock that was wrong may be put right.
type Clock struct {
	mu   sync.Mutex
	wall time.Time     // at base
	base time.Duration // CLOCK_BOOTTIME
}

// NewClock starts a clock.
func NewClock() *Clock { return &Clock{wall: time.Now().Round(0), base: bootTime()} }

// Now is safe for concurrent use.
func (c *Clock) Now() time.Time {
	wall := time.Now().Round(0)
	c.mu.Lock()
	defer c.mu.Unlock()
	if boot := c.wall.Add(bootTime() - c.base); boot.After(wall) {
		return boot
	}
	return wall
}

// bootTime is CLOCK_BOOTTIME, which goes on through a suspend.
func bootTime() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return 0
	}
	return time.Duration(ts.Nano())
}
