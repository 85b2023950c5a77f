package event

import (
	"strings"
	"time"
)

// ProcessID names one process image for the life of a boot. It is comparable
// and is the same triple in the kernel's maps and in user space.
type ProcessID struct {
	PID   uint32 // thread group id in the initial PID namespace
	Exec  uint32 // low half of task_struct.self_exec_id: inherited over fork, raised by exec
	Start uint64 // start of the group leader, ns of CLOCK_BOOTTIME
}

// IsZero reports whether id names nothing.
func (id ProcessID) IsZero() bool { return id == ProcessID{} }

// FileID is one state of one file as the kernel's inode shows it at exec. Dev
// is the superblock's s_dev, which stat() does not show on overlayfs and
// btrfs: never compare it with a Dev that came from stat.
type FileID struct {
	Dev   uint64 // kernel encoding: major<<20 | minor
	Inode uint64
	Size  int64
	Mtime int64 // ns since 1970
	Ctime int64 // ns since 1970
	// Generation is i_generation, which most file systems change whenever they
	// give an inode number to another file; valid when HasGeneration is set.
	Generation    uint32
	HasGeneration bool
}

// IsZero reports whether f names nothing.
func (f FileID) IsZero() bool { return f == FileID{} }

// ExecutableKind says what sort of file was executed.
type ExecutableKind uint8

// Kinds; the numbers are stored.
const (
	ExecutableInvalid ExecutableKind = 0
	ExecutableFile    ExecutableKind = 1 // a file with a name
	ExecutableDeleted ExecutableKind = 2 // its last name was removed
	ExecutableMemfd   ExecutableKind = 3 // never had a name (memfd_create)
	ExecutableKernel  ExecutableKind = 4 // a kernel thread, or the kernel itself
	ExecutableUnknown ExecutableKind = 5 // the exec was not seen and /proc no longer had it
)

var executableKindNames = [...]string{"invalid", "file", "deleted", "memfd", "kernel", "unknown"}

// String is the name that log prints.
func (k ExecutableKind) String() string { return enumName(executableKindNames[:], int(k)) }

// ViewUnverified is the View of a path that nobody could compare with the file:
// the process was gone, or its file lies on a mount that no namespace shows.
// Such a path is what the process said, no more.
const ViewUnverified = "unverified"

// Executable is the program file of a process.
type Executable struct {
	// Path is the file's path in the host's mount namespace when View is empty
	// (same device and inode there), else the path inside View.
	Path string
	// View names the mount namespace or container that Path belongs to: "" for
	// the host, else "container:ID", "mnt:INUM", or ViewUnverified.
	View   string
	Kind   ExecutableKind
	File   FileID
	SHA256 Digest
	Reason HashReason
	// Package owns the file: NAME, "modified:NAME" when the file is not the one
	// that was installed, "unverified:NAME" when they could not be compared,
	// "none"; "" is not known.
	Package        string
	PackagePending bool // it is being looked for
	Reputation     Reputation
}

// Script is the program that an interpreter runs: the file behind "#!" or the
// interpreter's script argument. Path is "-m NAME" for a module that the
// interpreter finds by itself (Reason is HashNoFile then).
type Script struct {
	Path   string
	View   string // as Executable.View
	SHA256 Digest
	Reason HashReason
}

// Cgroup is where a process or socket is accounted.
type Cgroup struct {
	ID        uint64 // inode number of the cgroup v2 directory
	Path      string // from the root of the hierarchy, "/" first
	Unit      string // systemd unit, "" if none
	Container string // container id (12 or 64 hexadecimal digits, or a name), "" if none
}

// Process is one process image and its facts. Immutable once published; when a
// fact arrives later (a digest), a new value with the same ID is published.
type Process struct {
	ID         ProcessID
	Executable Executable
	Script     *Script // nil when it is no script
	Name       string  // comm of the group leader, at most 15 bytes
	Args       []string
	ArgsCut    bool // Args were longer than the bound
	UID        uint32
	User       string // account name of UID when the image was first seen, "" unknown
	GID        uint32
	Cgroup     Cgroup
	NetNS      uint32 // inode numbers of the namespaces, as lsns(8) shows them
	MountNS    uint32
	PIDNS      uint32
	Started    time.Time // of this image
	Parent     *Process  // who forked it, also when it was reparented since; nil at the top
}

// Cmdline joins the arguments with single spaces, as ps(1) does.
func (p *Process) Cmdline() string { return strings.Join(p.Args, " ") }

// Ancestor returns the n-th ancestor (1 is the parent) or nil.
func (p *Process) Ancestor(n int) *Process {
	for ; p != nil && n > 0; n-- {
		p = p.Parent
	}
	return p
}

// Waits reports whether a fact of p or of its ancestors is still being looked
// for: a digest, also one that missed its deadline and may yet come, or the
// package of a file.
func (p *Process) Waits() bool {
	pending := func(r HashReason) bool { return r == HashPending || r == HashDeadline }
	for ; p != nil; p = p.Parent {
		if pending(p.Executable.Reason) || p.Executable.PackagePending || p.Script != nil && pending(p.Script.Reason) {
			return true
		}
	}
	return false
}
