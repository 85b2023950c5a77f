package bpftest

import (
	"os"
	"strconv"
	"time"
)

// Slowness is by how much this machine is slower than tests expect: 10 for an
// emulated one, where SNITCH_PATIENCE=10; else 1.
func Slowness() int {
	if n, err := strconv.Atoi(os.Getenv("SNITCH_PATIENCE")); err == nil && n > 1 {
		return n
	}
	return 1
}

// Patience stretches time limits on slow machines.
func Patience(d time.Duration) time.Duration { return d * time.Duration(Slowness()) }
