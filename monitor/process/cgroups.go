package process

import (
	"encoding/binary"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"snitch/monitor/event"
)

const (
	// fileidKernfs is the type of the handle that a kernfs inode number is.
	fileidKernfs = 0xfe
	// maxCgroups bounds each of the two generations of the cache.
	maxCgroups = 2048
)

// cgroups turns ids of cgroup v2 directories into paths. Ids are never used
// again during a boot, so that what was seen once stays true, also for a
// directory that is gone. The table's mutex guards it.
type cgroups struct {
	mount int    // descriptor of the cgroup2 mount, -1 for none
	point string // where it is mounted
	mixed bool   // there are v1 hierarchies too

	young, old map[uint64]event.Cgroup
}

// openCgroups looks for cgroup2 wherever it is mounted. A host without it has
// the paths of /proc/PID/cgroup only.
func openCgroups(proc int) (*cgroups, error) {
	c := &cgroups{mount: -1, young: map[uint64]event.Cgroup{}}
	fd, err := openAt(proc, "self/mountinfo", unix.O_RDONLY)
	if err != nil {
		return nil, fmt.Errorf("open own mounts: %w", err)
	}
	defer closeFD(fd)
	b, err := readWhole(fd, maxMounts)
	if err != nil {
		return nil, fmt.Errorf("read own mounts: %w", err)
	}
	for _, m := range parseMounts(b) {
		switch m.fs {
		case "cgroup":
			c.mixed = true
		case "cgroup2":
			// A mount of a part of the hierarchy cannot name the rest.
			if c.mount >= 0 || m.root != "/" {
				continue
			}
			if c.mount, err = openAt(unix.AT_FDCWD, m.point, unix.O_RDONLY|unix.O_DIRECTORY); err != nil {
				return nil, fmt.Errorf("open cgroup mount %q: %w", m.point, err)
			}
			c.point = m.point
		}
	}
	return c, nil
}

func (c *cgroups) close() {
	closeFD(c.mount)
	c.mount = -1
}

// get returns the cgroup of id as far as it is or was known; Path is "" if not.
func (c *cgroups) get(id uint64) event.Cgroup {
	if id == 0 {
		return event.Cgroup{}
	}
	if g, ok := c.young[id]; ok {
		return g
	}
	g, ok := c.old[id]
	if !ok {
		path, err := c.path(id)
		if err != nil { // gone before it was ever seen, or not ours to open
			return event.Cgroup{ID: id}
		}
		g = named(id, path)
	}
	c.keep(g)
	return g
}

func (c *cgroups) keep(g event.Cgroup) {
	if len(c.young) >= maxCgroups {
		c.old, c.young = c.young, make(map[uint64]event.Cgroup, maxCgroups)
	}
	c.young[g.ID] = g
}

// path asks the kernel for the directory whose inode number is id.
func (c *cgroups) path(id uint64) (string, error) {
	if c.mount < 0 {
		return "", unix.ENOENT
	}
	handle := unix.NewFileHandle(fileidKernfs, binary.NativeEndian.AppendUint64(nil, id))
	fd, err := unix.OpenByHandleAt(c.mount, handle, unix.O_PATH|unix.O_CLOEXEC)
	if err != nil {
		return "", fmt.Errorf("open cgroup %d: %w", id, err)
	}
	defer closeFD(fd)
	path, err := linkFD(fd)
	if err != nil {
		return "", err
	}
	path = strings.TrimSuffix(strings.TrimPrefix(path, c.point), deletedSuffix)
	if path == "" {
		path = "/"
	}
	return path, nil
}

// identify fills in what the id alone does not tell: the path of a process
// whose v2 cgroup is the root or unknown, from its /proc/PID/cgroup.
func (c *cgroups) identify(id uint64, lines func() []hierarchy) event.Cgroup {
	g := c.get(id)
	if g.Path != "" && (g.Path != "/" || !c.mixed) {
		return g
	}
	list := lines()
	if g.Path == "" {
		for _, h := range list {
			if h.unified {
				g = named(c.idOf(id, h.path), h.path)
				c.keep(g)
			}
		}
	}
	if g.Path == "" || g.Path == "/" {
		if path := v1Path(list); path != "" {
			g = named(g.ID, path)
		}
	}
	return g
}

// idOf is id, or the inode number of the directory path when id is not known.
func (c *cgroups) idOf(id uint64, path string) uint64 {
	if id != 0 || c.mount < 0 {
		return id
	}
	fd, err := openAt(c.mount, relative(path), unix.O_PATH|unix.O_NOFOLLOW)
	if err != nil {
		return 0
	}
	defer closeFD(fd)
	s, err := statFD(fd)
	if err != nil {
		return 0
	}
	return s.inode
}

// v1Path is where systemd put a process on a hybrid or legacy host, else a path
// of any controller that names a container; "" if neither says anything.
func v1Path(list []hierarchy) string {
	for _, h := range list {
		if h.name == "name=systemd" && h.path != "/" {
			return h.path
		}
	}
	for _, h := range list {
		if !h.unified && Container(h.path) != "" {
			return h.path
		}
	}
	return ""
}

func named(id uint64, path string) event.Cgroup {
	return event.Cgroup{ID: id, Path: path, Unit: Unit(path), Container: Container(path)}
}
