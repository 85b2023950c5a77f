package broker

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"strings"

	"golang.org/x/sys/unix"
)

// Trim gives back the memory that starting up needed and running does not:
// free heap, and the pages of the binary that were touched once. What is
// needed again is mapped again from the page cache. Each process calls it when
// it has settled.
func Trim() error {
	debug.FreeOSMemory()
	exe, err := os.Readlink(self)
	if err != nil {
		return fmt.Errorf("trim: %w", err)
	}
	maps, err := os.Open("/proc/self/maps")
	if err != nil {
		return fmt.Errorf("trim: %w", err)
	}
	defer maps.Close()
	var errs []error
	lines := bufio.NewScanner(maps)
	for lines.Scan() {
		var start, end uintptr
		var mode string
		if _, err := fmt.Sscanf(lines.Text(), "%x-%x %s", &start, &end, &mode); err != nil {
			continue
		}
		// Never a page that can be written to: it would lose what it holds.
		if strings.Contains(mode, "w") || !strings.HasSuffix(lines.Text(), " "+exe) {
			continue
		}
		if _, _, errno := unix.Syscall(unix.SYS_MADVISE, start, end-start, unix.MADV_DONTNEED); errno != 0 {
			errs = append(errs, fmt.Errorf("trim %s: %w", mode, errno))
		}
	}
	return errors.Join(append(errs, lines.Err())...)
}
