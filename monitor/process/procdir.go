package process

import (
	"errors"
	"fmt"
	"strconv"

	"golang.org/x/sys/unix"

	"snitch/monitor/event"
)

// Bounds of what is read of one process.
const (
	maxArgs = 4096 // bytes of arguments: the kernel's record has the same bound
	maxStat = 4096 // every other file of /proc/PID
)

// tickNanos is a clock tick of /proc (USER_HZ is 100 on every architecture that
// Go runs on) in nanoseconds.
const tickNanos = 10_000_000

var errOther = errors.New("the number belongs to another process now")

// procDir is an open /proc/PID. It goes on meaning the process that it was
// opened for: when that one is gone, every read fails, also when its number was
// given to another.
type procDir struct {
	fd   int
	stat stat
	buf  []byte
}

// openProcess opens the process pid below the /proc descriptor proc. The caller
// closes it.
func openProcess(proc int, pid uint32, buf []byte) (*procDir, error) {
	fd, err := openAt(proc, strconv.FormatUint(uint64(pid), 10), unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return nil, fmt.Errorf("open process %d: %w", pid, err)
	}
	d := &procDir{fd: fd, buf: buf}
	b, err := d.read("stat")
	if err == nil {
		d.stat, err = parseStat(b)
	}
	if err != nil {
		d.close()
		return nil, fmt.Errorf("read state of process %d: %w", pid, err)
	}
	return d, nil
}

// openImage opens the process of id and makes sure that it is that one.
func openImage(proc int, id event.ProcessID, buf []byte) (*procDir, error) {
	d, err := openProcess(proc, id.PID, buf)
	if err != nil {
		return nil, err
	}
	if d.stat.tick != id.Start/tickNanos {
		d.close()
		return nil, fmt.Errorf("open process %d: %w", id.PID, errOther)
	}
	return d, nil
}

func (d *procDir) close() {
	closeFD(d.fd)
	d.fd = -1
}

// read returns the contents of a file, at most maxStat bytes, valid until the
// next read.
func (d *procDir) read(name string) ([]byte, error) {
	fd, err := openAt(d.fd, name, unix.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer closeFD(fd)
	n, err := readFD(fd, d.buf)
	return d.buf[:n], err
}

// args reads the arguments with the guard: they lie in the process's memory.
func (d *procDir) args(g *guard) (args []string, cut bool, err error) {
	fd, err := openAt(d.fd, "cmdline", unix.O_RDONLY)
	if err != nil {
		return nil, false, err
	}
	defer closeFD(fd)
	b, err := g.read(fd, maxArgs+1)
	if err != nil {
		return nil, false, err
	}
	args, cut = parseArgs(b, maxArgs)
	return args, cut, nil
}

// hierarchies reads where the process is accounted; nil of a nil directory.
func (d *procDir) hierarchies() []hierarchy {
	if d == nil {
		return nil
	}
	b, err := d.read("cgroup")
	if err != nil {
		return nil
	}
	return parseHierarchies(b)
}

// namespace is the inode number of a namespace, 0 when it may not be seen.
func (d *procDir) namespace(name string) uint32 {
	link, err := readLink(d.fd, "ns/"+name)
	if err != nil {
		return 0
	}
	n, err := parseNamespace(link)
	if err != nil {
		return 0
	}
	return n
}
