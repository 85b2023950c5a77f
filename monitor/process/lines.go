package process

import (
	"bytes"

	"golang.org/x/sys/unix"
)

// Bounds of "#!" lines: of their length, as in the kernel, of how many processes
// are between their script and its interpreter, and for how long.
const (
	maxLine   = 256
	maxLines  = 256
	lineHolds = 5_000_000_000
)

// line is a script that a process is about to run by its interpreter.
type line struct {
	tick        uint64 // start of the process
	at          uint64 // boot time
	fd          int    // of the script
	script      place
	interpreter string // as the line names it
}

// lines are the scripts whose interpreter the kernel opens next. The owner's
// mutex guards them.
type lines map[uint32]*line

// put remembers a script; the first one where an interpreter is a script too. It
// copies file.
func (l lines) put(pid uint32, tick uint64, file int, script place, interpreter string) {
	now := bootNow()
	if old := l[pid]; old != nil && old.tick == tick && now-old.at < lineHolds {
		old.interpreter = interpreter
		return
	}
	l.drop(pid)
	if len(l) >= maxLines {
		l.expire(now)
	}
	if len(l) >= maxLines {
		return
	}
	fd, err := unix.FcntlInt(uintptr(file), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return
	}
	l[pid] = &line{tick: tick, at: now, fd: fd, script: script, interpreter: interpreter}
}

// take returns the script of a process and forgets it; nil when there is none.
// The descriptor is the caller's then.
func (l lines) take(pid uint32, tick uint64) *line {
	found := l[pid]
	if found == nil || found.tick != tick || bootNow()-found.at >= lineHolds {
		l.drop(pid)
		return nil
	}
	delete(l, pid)
	return found
}

func (l lines) drop(pid uint32) {
	if old := l[pid]; old != nil {
		closeFD(old.fd)
		delete(l, pid)
	}
}

// expire forgets what never came to its interpreter.
func (l lines) expire(now uint64) {
	for pid, old := range l {
		if now-old.at >= lineHolds {
			l.drop(pid)
		}
	}
}

func (l lines) close() {
	for pid := range l {
		l.drop(pid)
	}
}

// shebang is the interpreter that the "#!" line of an open file names, as the
// kernel reads it; "" when there is none, or the file system does not answer.
func shebang(g *guard, fd int) string {
	line, err := withCopy(g, fd, func(own int) (string, error) {
		var head [maxLine]byte
		n, err := unix.Pread(own, head[:], 0)
		return parseLine(head[:max(n, 0)]), err
	}, func(string) {})
	if err != nil {
		return ""
	}
	return line
}

func parseLine(head []byte) string {
	rest, ok := bytes.CutPrefix(head, []byte("#!"))
	if !ok {
		return ""
	}
	rest, _, _ = bytes.Cut(rest, []byte("\n"))
	rest = bytes.TrimLeft(rest, " \t")
	if end := bytes.IndexAny(rest, " \t\x00"); end >= 0 {
		rest = rest[:end]
	}
	return string(rest)
}
