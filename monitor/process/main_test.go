package process

import (
	"fmt"
	"os"
	"testing"
	"time"
)

// TestMain fails the package when a test leaves a descriptor open.
func TestMain(m *testing.M) {
	before := openDescriptors()
	code := m.Run()
	// A test may have opened the runtime's poller: two descriptors.
	limit := before + 2
	for deadline := time.Now().Add(5 * time.Second); openDescriptors() > limit && time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond)
	}
	if after := openDescriptors(); code == 0 && after > limit {
		fmt.Fprintf(os.Stderr, "%d descriptors are open, %d were before the tests\n", after, before)
		code = 1
	}
	os.Exit(code)
}

func openDescriptors() int {
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0
	}
	return len(list)
}
