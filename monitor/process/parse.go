package process

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
)

// Field numbers of /proc/PID/stat, proc_pid_stat(5), counted from the state,
// which follows the name.
const (
	statParent = 1
	statFlags  = 6
	statStart  = 19
)

// kernelThread is PF_KTHREAD of the kernel's task flags.
const kernelThread = 0x00200000

var errShort = errors.New("fields are missing")

// stat is what is needed of /proc/PID/stat.
type stat struct {
	comm   string
	parent uint32
	kernel bool   // a kernel thread
	tick   uint64 // start in clock ticks of CLOCK_BOOTTIME
}

// parseStat reads /proc/PID/stat. The name may hold spaces, parentheses and
// newlines: it ends at the last parenthesis.
func parseStat(b []byte) (stat, error) {
	begin, end := bytes.IndexByte(b, '('), bytes.LastIndexByte(b, ')')
	if begin < 0 || end < begin {
		return stat{}, fmt.Errorf("read name of process: %w", errShort)
	}
	s := stat{comm: string(b[begin+1 : end])}
	n := 0
	for f := range bytes.FieldsSeq(b[end+1:]) {
		var err error
		switch n {
		case statParent:
			s.parent, err = parseUint32(f)
		case statFlags:
			var flags uint64
			flags, err = strconv.ParseUint(string(f), 10, 64)
			s.kernel = flags&kernelThread != 0
		case statStart:
			s.tick, err = strconv.ParseUint(string(f), 10, 64)
			return s, err
		}
		if err != nil {
			return stat{}, fmt.Errorf("read field %d of process state: %w", n, err)
		}
		n++
	}
	return stat{}, fmt.Errorf("read state of process: %w", errShort)
}

// parseStatus reads the real user and group of /proc/PID/status.
func parseStatus(b []byte) (uid, gid uint32, err error) {
	if uid, err = statusID(b, "\nUid:\t"); err != nil {
		return 0, 0, err
	}
	gid, err = statusID(b, "\nGid:\t")
	return uid, gid, err
}

// statusID reads the first number behind label. The kernel escapes newlines in
// the name, so that a process cannot forge a line.
func statusID(b []byte, label string) (uint32, error) {
	_, rest, ok := bytes.Cut(b, []byte(label))
	if !ok {
		return 0, fmt.Errorf("read %q of process status: %w", label, errShort)
	}
	end := bytes.IndexAny(rest, "\t\n")
	if end < 0 {
		return 0, fmt.Errorf("read %q of process status: %w", label, errShort)
	}
	return parseUint32(rest[:end])
}

func parseUint32(b []byte) (uint32, error) {
	v, err := strconv.ParseUint(string(b), 10, 32)
	return uint32(v), err
}

// parseArgs splits the NUL-separated arguments of /proc/PID/cmdline. cut says
// that they were longer than limit bytes. A process may write anything there.
func parseArgs(b []byte, limit int) (args []string, cut bool) {
	if len(b) > limit {
		b, cut = b[:limit], true
	}
	if len(b) == 0 {
		return nil, cut
	}
	b = bytes.TrimSuffix(b, []byte{0})
	for a := range bytes.SplitSeq(b, []byte{0}) {
		args = append(args, string(a))
	}
	return args, cut
}

// parseNamespace reads the inode number of a link such as "net:[4026531833]".
func parseNamespace(link string) (uint32, error) {
	_, rest, ok := bytes.Cut([]byte(link), []byte(":["))
	if !ok {
		return 0, fmt.Errorf("read namespace %q: %w", link, errShort)
	}
	return parseUint32(bytes.TrimSuffix(rest, []byte("]")))
}

// hierarchy is one line of /proc/PID/cgroup.
type hierarchy struct {
	unified bool   // cgroup v2
	name    string // controllers of a v1 hierarchy, or "name=…"
	path    string
}

// parseHierarchies reads /proc/PID/cgroup, cgroups(7). Lines that are not
// understood are left out: paths cannot hold a newline.
func parseHierarchies(b []byte) []hierarchy {
	var out []hierarchy
	for line := range bytes.Lines(b) {
		number, rest, ok1 := bytes.Cut(bytes.TrimSuffix(line, []byte("\n")), []byte(":"))
		name, path, ok2 := bytes.Cut(rest, []byte(":"))
		if !ok1 || !ok2 || len(path) == 0 || path[0] != '/' {
			continue
		}
		path = bytes.TrimSuffix(path, []byte(deletedSuffix))
		out = append(out, hierarchy{unified: string(number) == "0" && len(name) == 0, name: string(name), path: string(path)})
	}
	return out
}
