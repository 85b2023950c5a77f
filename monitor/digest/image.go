package digest

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"snitch/monitor/event"
)

// Errors of an image: why /proc/PID/exe did not lead to the executed file.
var (
	errGone         = errors.New("process is gone or runs another image")
	errKernelThread = errors.New("kernel thread")
)

// clockTick is the unit of starttime in /proc/PID/stat: the kernel reports in
// USER_HZ, 100 on every architecture that Go and Linux share.
const clockTick = 10_000_000

// flagKernelThread is PF_KTHREAD, stable since 2.6.27.
const flagKernelThread = 0x00200000

// procStat is the part of /proc/PID/stat that is used.
type procStat struct {
	state byte
	flags uint64
	start uint64 // USER_HZ ticks of CLOCK_BOOTTIME
}

func readProcStat(pid uint32) (procStat, error) {
	text, err := os.ReadFile(procPath(pid, "stat"))
	if err != nil {
		return procStat{}, fmt.Errorf("read process state: %w", err)
	}
	return parseProcStat(text)
}

// parseProcStat reads behind the last ")": the name before it is the process's
// own choice.
func parseProcStat(text []byte) (procStat, error) {
	end := bytes.LastIndexByte(text, ')')
	if end < 0 {
		return procStat{}, fmt.Errorf("parse process state: no name")
	}
	fields := bytes.Fields(text[end+1:])
	const stateField, flagsField, startField = 0, 6, 19
	if len(fields) <= startField {
		return procStat{}, fmt.Errorf("parse process state: %d fields, want more than %d", len(fields), startField)
	}
	if state := fields[stateField]; len(state) != 1 || state[0]|0x20 < 'a' || state[0]|0x20 > 'z' {
		return procStat{}, fmt.Errorf("parse process state: %q is no letter", state)
	}
	flags, err := strconv.ParseUint(string(fields[flagsField]), 10, 64)
	if err != nil {
		return procStat{}, fmt.Errorf("parse process flags: %w", err)
	}
	start, err := strconv.ParseUint(string(fields[startField]), 10, 64)
	if err != nil {
		return procStat{}, fmt.Errorf("parse process start: %w", err)
	}
	return procStat{state: fields[stateField][0], flags: flags, start: start}, nil
}

func procPath(pid uint32, name string) string {
	return "/proc/" + strconv.FormatUint(uint64(pid), 10) + "/" + name
}

// running reports whether id's process still lives. An ID without a start time
// is believed.
func running(id event.ProcessID) bool {
	st, err := readProcStat(id.PID)
	if err != nil || st.state == 'Z' || st.state == 'X' {
		return false
	}
	return id.Start == 0 || st.start == id.Start/clockTick
}

// imageHandle finds the executable of a live process without opening it.
// Whether it still is the image that a request means is for compare to say: the
// same process may have executed something else since.
func imageHandle(id event.ProcessID) (int, error) {
	fd, err := open(procPath(id.PID, "exe"), unix.O_PATH|unix.O_CLOEXEC)
	if err != nil {
		return -1, imageError(id, err)
	}
	// Read after the open: if the number still belongs to this start time now,
	// it did so at the open.
	if !running(id) {
		_ = unix.Close(fd)
		return -1, errGone
	}
	return fd, nil
}

func imageError(id event.ProcessID, err error) error {
	if !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ESRCH) {
		if !running(id) {
			return errGone
		}
		return fmt.Errorf("open executable of process %d: %w", id.PID, err)
	}
	st, statErr := readProcStat(id.PID)
	if statErr == nil && st.flags&flagKernelThread != 0 && (id.Start == 0 || st.start == id.Start/clockTick) {
		return errKernelThread
	}
	return errGone
}

// runningFilesAreWriteProtected asks the kernel by trying: 6.11 and 6.12 let
// the file of a running program be written (no ETXTBSY). Nothing is written.
func runningFilesAreWriteProtected() bool {
	fd, err := unix.Open("/proc/self/exe", unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err == nil {
		_ = unix.Close(fd)
	}
	return errors.Is(err, unix.ETXTBSY)
}
