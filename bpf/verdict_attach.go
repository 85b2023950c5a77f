package bpf

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// verdictHooks lists every program in the order of attaching: first who is who,
// then what programs ask for, last the packets. So no packet is judged before
// its owner could be known.
var verdictHooks = [...]hook{
	{program: "verdict_exec", purpose: "class of a new image", at: atTracing},
	{program: "verdict_fork", purpose: "class of a child", at: atTracing},
	{program: "verdict_exit", purpose: "end of processes", at: atTracing},
	{program: "verdict_connect4", purpose: "refuse to connect", at: atCgroup},
	{program: "verdict_connect6", purpose: "refuse to connect", at: atCgroup},
	{program: "verdict_sendmsg4", purpose: "refuse to send", at: atCgroup},
	{program: "verdict_sendmsg6", purpose: "refuse to send", at: atCgroup},
	{program: "verdict_bind4", purpose: "refuse to listen", at: atCgroup},
	{program: "verdict_bind6", purpose: "refuse to listen", at: atCgroup},
	{program: "verdict_create", purpose: "refuse raw sockets", at: atCgroup},
	{program: "verdict_ops", purpose: "owner of listeners; hold connects", at: atCgroup},
	{program: "verdict_family", purpose: "refuse packet, XDP and vsock sockets", at: atLSM},
	{program: "verdict_adopt", purpose: "owner of older sockets", at: atIterator},
	{program: "verdict_ingress", purpose: "refuse to be called", at: atCgroup},
	{program: "verdict_egress", purpose: "refuse packets", at: atCgroup},
}

// Attach puts every program in its place; where an earlier process left one
// pinned, this one takes over from it without a gap. On an error what was there
// before stays, and Close undoes the rest.
func (v *Verdicts) Attach() error {
	dir, err := v.cgroup()
	if err != nil {
		return err
	}
	defer dir.Close()
	for _, h := range verdictHooks {
		if v.spec.Programs[h.program] == nil {
			continue
		}
		if err := v.attach(h, dir); err != nil {
			return fmt.Errorf("attach %s: %w", h.program, err)
		}
		v.mechs = append(v.mechs, Mechanism{Purpose: h.purpose, Program: h.program, AttachPoint: v.spec.Programs[h.program].SectionName})
	}
	return nil
}

// Mechanisms says what runs, in the order of attaching.
func (v *Verdicts) Mechanisms() []Mechanism { return append([]Mechanism(nil), v.mechs...) }

func (v *Verdicts) attach(h hook, cgroup *os.File) error {
	prog := v.coll.Programs[h.program]
	switch h.at {
	case atIterator:
		return v.adopt(prog)
	case atTracing, atLSM:
		return v.attachTracing(h, prog)
	}
	return v.attachCgroup(h.program, prog, cgroup)
}

// Inherit gives sockets whose owner has ended to a process that holds them: what
// the owner might do is judged no more, and what it was allowed not for ever.
// Where the kernel gives no sockets by descriptor, it does nothing.
func (v *Verdicts) Inherit() error {
	prog := v.coll.Programs["verdict_adopt"]
	if prog == nil {
		return nil
	}
	if err := v.adopt(prog); err != nil {
		return fmt.Errorf("find heirs of sockets: %w", err)
	}
	return nil
}

// adopt runs the iterator once: it gives sockets that are there their owners.
func (v *Verdicts) adopt(prog *ebpf.Program) error {
	it, err := link.AttachIter(link.IterOptions{Program: prog})
	if err != nil {
		return err
	}
	defer it.Close()
	r, err := it.Open()
	if err != nil {
		return fmt.Errorf("open iterator: %w", err)
	}
	defer r.Close()
	if _, err := io.Copy(io.Discard, r); err != nil {
		return fmt.Errorf("run iterator: %w", err)
	}
	return nil
}

// attachTracing attaches beside a pinned one, then lets that go: what both do
// twice is the same as once.
func (v *Verdicts) attachTracing(h hook, prog *ebpf.Program) error {
	attach := func() (link.Link, error) { return link.AttachTracing(link.TracingOptions{Program: prog}) }
	if h.at == atLSM {
		attach = func() (link.Link, error) { return link.AttachLSM(link.LSMOptions{Program: prog}) }
	}
	l, err := attach()
	if err != nil {
		return err
	}
	v.links = append(v.links, l)
	return v.pin(l, h.program)
}

// attachCgroup replaces the program of a pinned link of the same cgroup; one of
// another cgroup goes after the new one is there.
func (v *Verdicts) attachCgroup(name string, prog *ebpf.Program, cgroup *os.File) error {
	if v.cfg.Pins != "" {
		l, err := link.LoadPinnedLink(v.pinOf(name), nil)
		if err == nil {
			if attachedTo(l, cgroup) {
				v.links = append(v.links, l)
				return l.Update(prog)
			}
			_ = l.Close()
		} else if !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("open pinned link: %w", err)
		}
	}
	l, err := link.AttachCgroup(link.CgroupOptions{Path: cgroup.Name(), Attach: v.spec.Programs[name].AttachType, Program: prog})
	if err != nil {
		return fmt.Errorf("cgroup %s: %w", cgroup.Name(), err)
	}
	v.links = append(v.links, l)
	return v.pin(l, name)
}

func attachedTo(l link.Link, cgroup *os.File) bool {
	var st unix.Stat_t
	if err := unix.Fstat(int(cgroup.Fd()), &st); err != nil {
		return false
	}
	info, err := l.Info()
	return err == nil && info.Cgroup() != nil && info.Cgroup().CgroupId == st.Ino
}

func (v *Verdicts) pinOf(program string) string { return filepath.Join(v.cfg.Pins, linkPrefix+program) }

// linkPrefix begins the name of a link's pin.
const linkPrefix = "link_"

// pin puts a link in the place of what was pinned there.
func (v *Verdicts) pin(l link.Link, program string) error {
	if v.cfg.Pins == "" {
		return nil
	}
	path := v.pinOf(program)
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("unpin: %w", err)
	}
	if err := l.Pin(path); err != nil {
		return fmt.Errorf("pin: %w", err)
	}
	return nil
}
