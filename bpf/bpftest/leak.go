package bpftest

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
)

// Held is what one process holds in the kernel: programs, maps and links by
// id, and fanotify groups. The ids are the process's own, so other users of
// BPF on the machine do not disturb the check.
type Held struct {
	Programs, Maps, Links []uint32
	Fanotify              int
}

// HeldBy reads /proc/PID/fdinfo and follows links to programs and programs to
// maps.
func HeldBy(pid int) (*Held, error) {
	dir := fmt.Sprintf("/proc/%d/fdinfo", pid)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("list descriptors: %w", err)
	}
	h := new(Held)
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if errors.Is(err, fs.ErrNotExist) {
			continue // closed since it was listed
		} else if err != nil {
			return nil, fmt.Errorf("read descriptor: %w", err)
		}
		h.parse(string(b))
	}
	h.follow()
	return h, nil
}

func (h *Held) parse(fdinfo string) {
	fanotify := false
	for s := bufio.NewScanner(strings.NewReader(fdinfo)); s.Scan(); {
		name, value, _ := strings.Cut(s.Text(), ":")
		id, err := strconv.ParseUint(strings.TrimSpace(value), 10, 32)
		switch {
		case strings.HasPrefix(name, "fanotify "):
			fanotify = true
		case err != nil:
		case name == "prog_id":
			h.Programs = append(h.Programs, uint32(id))
		case name == "map_id":
			h.Maps = append(h.Maps, uint32(id))
		case name == "link_id":
			h.Links = append(h.Links, uint32(id))
		}
	}
	if fanotify {
		h.Fanotify++
	}
}

// follow adds what has no descriptor of its own: the program behind a link and
// the maps of a program.
func (h *Held) follow() {
	for _, id := range h.Links {
		l, err := link.NewFromID(link.ID(id))
		if err != nil {
			continue
		}
		if info, err := l.Info(); err == nil {
			h.Programs = append(h.Programs, uint32(info.Program))
		}
		_ = l.Close()
	}
	h.Programs = unique(h.Programs)
	for _, id := range h.Programs {
		p, err := ebpf.NewProgramFromID(ebpf.ProgramID(id))
		if err != nil {
			continue
		}
		if info, err := p.Info(); err == nil {
			if ids, ok := info.MapIDs(); ok {
				for _, m := range ids {
					h.Maps = append(h.Maps, uint32(m))
				}
			}
		}
		_ = p.Close()
	}
	h.Maps = unique(h.Maps)
}

func unique(ids []uint32) []uint32 {
	slices.Sort(ids)
	return slices.Compact(ids)
}

// Gone waits up to grace for everything to leave the kernel (it frees behind
// grace periods of its own) and names what did not.
func (h *Held) Gone(grace time.Duration) error {
	for deadline := time.Now().Add(grace); ; time.Sleep(20 * time.Millisecond) {
		err := errors.Join(
			gone("link", h.Links, func(id uint32) (interface{ Close() error }, error) { return link.NewFromID(link.ID(id)) }),
			gone("program", h.Programs, func(id uint32) (interface{ Close() error }, error) {
				return ebpf.NewProgramFromID(ebpf.ProgramID(id))
			}),
			gone("map", h.Maps, func(id uint32) (interface{ Close() error }, error) { return ebpf.NewMapFromID(ebpf.MapID(id)) }),
		)
		if err == nil || time.Now().After(deadline) {
			return err
		}
	}
}

func gone(kind string, ids []uint32, open func(uint32) (interface{ Close() error }, error)) error {
	var left []uint32
	for _, id := range ids {
		c, err := open(id)
		if err != nil {
			if !errors.Is(err, os.ErrNotExist) {
				return fmt.Errorf("look for %s %d: %w", kind, id, err)
			}
			continue
		}
		_ = c.Close()
		left = append(left, id)
	}
	if len(left) > 0 {
		return fmt.Errorf("%ss left behind: %v", kind, left)
	}
	return nil
}

// cgroupAttachments are the attach types a firewall may use.
var cgroupAttachments = []ebpf.AttachType{
	ebpf.AttachCGroupInetIngress, ebpf.AttachCGroupInetEgress, ebpf.AttachCGroupInetSockCreate, ebpf.AttachCGroupSockOps,
	ebpf.AttachCGroupInet4Bind, ebpf.AttachCGroupInet6Bind, ebpf.AttachCGroupInet4Connect, ebpf.AttachCGroupInet6Connect,
	ebpf.AttachCGroupInet4PostBind, ebpf.AttachCGroupInet6PostBind, ebpf.AttachCGroupUDP4Sendmsg, ebpf.AttachCGroupUDP6Sendmsg,
	ebpf.AttachCGroupUDP4Recvmsg, ebpf.AttachCGroupUDP6Recvmsg, ebpf.AttachCgroupInetSockRelease, ebpf.AttachCGroupGetsockopt,
	ebpf.AttachCGroupSetsockopt,
}

// Unattached reports programs that are attached to the cgroup.
func (c *Cgroup) Unattached() error {
	dir, err := os.Open(c.dir)
	if err != nil {
		return fmt.Errorf("open cgroup: %w", err)
	}
	defer dir.Close()
	var left []error
	for _, at := range cgroupAttachments {
		found, err := link.QueryPrograms(link.QueryOptions{Target: int(dir.Fd()), Attach: at})
		if errors.Is(err, ebpf.ErrNotSupported) {
			continue
		} else if err != nil {
			return fmt.Errorf("query %v: %w", at, err)
		}
		for _, p := range found.Programs {
			left = append(left, fmt.Errorf("program %d is attached to the cgroup as %v", p.ID, at))
		}
	}
	return errors.Join(left...)
}

// CheckDescriptors fails the test at its end when the process then has more
// descriptors than now. Call it first, so that it runs last.
func CheckDescriptors(tb testing.TB) {
	tb.Helper()
	before, err := descriptors()
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		var left []string
		for deadline := time.Now().Add(2 * time.Second); ; time.Sleep(20 * time.Millisecond) {
			after, err := descriptors()
			if err != nil {
				tb.Error(err)
				return
			}
			if left = newDescriptors(before, after); len(left) == 0 || time.Now().After(deadline) {
				break
			}
		}
		if len(left) > 0 {
			tb.Errorf("descriptors left open: %q", left)
		}
	})
}

// descriptors maps each open descriptor to what it is. Those of the Go runtime
// (epoll, eventfd) are opened once and stay.
func descriptors() (map[string]string, error) {
	const dir = "/proc/self/fd"
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("list own descriptors: %w", err)
	}
	found := make(map[string]string, len(entries))
	for _, e := range entries {
		target, err := os.Readlink(filepath.Join(dir, e.Name()))
		if err != nil || strings.HasSuffix(target, "[eventpoll]") || strings.HasSuffix(target, "[eventfd]") ||
			strings.HasSuffix(target, "/fd") {
			continue
		}
		found[e.Name()] = target
	}
	return found, nil
}

func newDescriptors(before, after map[string]string) []string {
	var left []string
	for fd, target := range after {
		if before[fd] != target {
			left = append(left, fd+" "+target)
		}
	}
	slices.Sort(left)
	return left
}
