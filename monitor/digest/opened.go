package digest

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// openFlags never wait for a lease or a terminal and never leak into a child.
const openFlags = unix.O_RDONLY | unix.O_NONBLOCK | unix.O_NOCTTY | unix.O_CLOEXEC | unix.O_LARGEFILE

// errNotRegular is the answer for pipes, devices, sockets and directories.
var errNotRegular = errors.New("not a regular file")

// opened is a readable descriptor and what the kernel says of it. Whoever holds
// it closes it.
type opened struct {
	fd     int
	dev    uint64 // stat's, in the kernel's encoding
	number uint64
	state  state
	links  uint64
	family family
	path   string

	generation uint32
	numbered   bool // generation is known
	unique     bool // the file system gives no inode number twice

	kernelDev uint64 // superblock's, when the mount table shows the mount
	listed    bool   // kernelDev is known
}

// inspect takes over fd: on error it is closed. t may be nil.
func inspect(fd int, t *mountTable) (*opened, error) {
	o := &opened{fd: fd}
	if err := o.fill(t); err != nil {
		o.close()
		return nil, err
	}
	return o, nil
}

func (o *opened) fill(t *mountTable) error {
	if err := o.name(); err != nil {
		return err
	}
	var fs unix.Statfs_t
	if err := retry(func() error { return unix.Fstatfs(o.fd, &fs) }); err != nil {
		return fmt.Errorf("stat file system: %w", err)
	}
	o.family = familyOfMagic(int64(fs.Type))
	o.unique = neverRenumbers(int64(fs.Type))
	o.readGeneration()
	if o.family != familyLocal && t != nil {
		if m, ok := mountOf(o.fd, t); ok {
			o.kernelDev, o.listed = m.dev, true
			if m.family != familyUnknown {
				o.family = m.family
			}
		}
	}
	return nil
}

// getVersion is FS_IOC_GETVERSION, which x/sys does not name; 64-bit machines
// share the number.
const getVersion = 0x80087601

// readGeneration asks no server and no overlay: what they pass on is not what
// the kernel shows at exec.
func (o *opened) readGeneration() {
	if o.family != familyLocal && o.family != familyRenumbered {
		return
	}
	var err error
	o.generation, err = unix.IoctlGetUint32(o.fd, getVersion)
	o.numbered = err == nil
}

// name reads path, links and what stat reads. The name comes before the number
// of links: a name that says " (deleted)" then has a number that says so too,
// also when it is removed meanwhile. A name that ends like this by itself could
// be taken for such a one if it was removed in between: it is read once more.
func (o *opened) name() error {
	const attempts = 3 // the name grows at the first removal; more is a rename
	for range attempts {
		path, err := os.Readlink(descriptorPath(o.fd))
		if err != nil {
			return fmt.Errorf("read name of descriptor: %w", err)
		}
		links, err := o.restat()
		if err != nil {
			return err
		}
		again := path != o.path && links == 0 && strings.HasSuffix(path, " (deleted)")
		o.path, o.links = path, links
		if !again {
			break
		}
	}
	return nil
}

// stat refreshes what may change while the descriptor is open, but for the
// number of links: it says how to read the name, and is as old as that.
func (o *opened) stat() error {
	_, err := o.restat()
	return err
}

func (o *opened) restat() (links uint64, err error) {
	var st unix.Stat_t
	if err := retry(func() error { return unix.Fstat(o.fd, &st) }); err != nil {
		return 0, fmt.Errorf("stat descriptor: %w", err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return 0, errNotRegular
	}
	o.dev, o.number = kernelDevice(uint64(st.Dev)), st.Ino
	o.state = state{size: st.Size, mtime: st.Mtim.Nano(), ctime: st.Ctim.Nano()}
	return uint64(st.Nlink), nil
}

// inode is the key under which stat knows the file.
func (o *opened) inode() inode { return inode{dev: o.dev, number: o.number} }

// superblock is the device number that the kernel uses, if it can be known.
func (o *opened) superblock() (uint64, bool) {
	if o.listed {
		return o.kernelDev, true
	}
	return o.dev, o.family.sameDevice()
}

// believed reports whether equal states of this file are equal content: an
// overlay only if the host mounted it.
func (o *opened) believed() bool {
	return o.family.believed() || o.family == familyStacked && o.listed
}

func (o *opened) close() {
	if o.fd >= 0 {
		_ = unix.Close(o.fd) // read only: nothing can be lost
	}
	o.fd = -1
}

// reopen makes a readable descriptor from an O_PATH one, of nothing but a
// regular file: opening a FIFO or a device would act.
func reopen(handle int, t *mountTable) (*opened, error) {
	var st unix.Stat_t
	if err := retry(func() error { return unix.Fstat(handle, &st) }); err != nil {
		return nil, fmt.Errorf("stat handle: %w", err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil, errNotRegular
	}
	fd, err := openQuietly(descriptorPath(handle))
	if err != nil {
		return nil, fmt.Errorf("open handle: %w", err)
	}
	return inspect(fd, t)
}

// openQuietly opens without changing the access time where that is allowed.
func openQuietly(path string) (int, error) {
	fd, err := open(path, openFlags|unix.O_NOATIME)
	if errors.Is(err, unix.EPERM) {
		fd, err = open(path, openFlags)
	}
	return fd, err
}

func open(path string, flags int) (fd int, err error) {
	err = retry(func() error {
		fd, err = unix.Open(path, flags, 0)
		return err
	})
	return fd, err
}

// retry repeats a call that a signal interrupted: the runtime preempts with
// signals, and file servers answer EINTR.
func retry(call func() error) error {
	for {
		if err := call(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

func descriptorPath(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }

// mountOf finds the mount of a descriptor without asking its file system.
func mountOf(fd int, t *mountTable) (mount, bool) {
	text, err := os.ReadFile("/proc/self/fdinfo/" + strconv.Itoa(fd))
	if err != nil {
		return mount{}, false
	}
	_, rest, ok := bytes.Cut(text, []byte("mnt_id:"))
	if !ok {
		return mount{}, false
	}
	line, _, _ := bytes.Cut(rest, []byte("\n"))
	id, err := strconv.ParseUint(string(bytes.TrimSpace(line)), 10, 64)
	if err != nil {
		return mount{}, false
	}
	m, ok := t.byID[id]
	return m, ok
}
