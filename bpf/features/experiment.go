package features

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// An experiment attaches every hook that the kernel takes, lets the traffic
// script run once and looks which ones counted. It lives in a lab's thread.
type experiment struct {
	lab     *lab
	types   *btf.Cache // the kernel's types, decoded once
	counts  *ebpf.Map  // one counter a feature
	storage *ebpf.Map  // sk_storage
	closers []io.Closer
	waiting []Feature // attached, to be seen running
	results []Result
}

func newExperiment(l *lab) (*experiment, error) {
	e := &experiment{lab: l, types: btf.NewCache()}
	var err error
	e.counts, err = ebpf.NewMap(&ebpf.MapSpec{
		Type: ebpf.Array, KeySize: 4, ValueSize: 8 * uint32(featureCount), MaxEntries: 1,
	})
	if err != nil {
		return nil, fmt.Errorf("make the counters: %w", err)
	}
	e.closers = append(e.closers, e.counts)
	number := func(size uint32) btf.Type { return &btf.Int{Name: "number", Size: size} }
	e.storage, err = ebpf.NewMap(&ebpf.MapSpec{
		Type: ebpf.SkStorage, KeySize: 4, ValueSize: 8, Flags: unix.BPF_F_NO_PREALLOC,
		Key: number(4), Value: number(8),
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make a socket storage: %w", err), e.close())
	}
	e.closers = append(e.closers, e.storage)
	return e, nil
}

// close undoes everything, the last first.
func (e *experiment) close() error {
	var err error
	for i := len(e.closers) - 1; i >= 0; i-- {
		err = errors.Join(err, e.closers[i].Close())
	}
	e.closers = nil
	return err
}

func (e *experiment) answer(r Result) { e.results = append(e.results, r) }

// set loads and attaches one hook.
func (e *experiment) set(h hook) {
	if h.cgroup() && e.lab.cgroup == "" {
		e.answer(Result{Feature: h.feature, Reason: "cgroup v2 is not mounted"})
		return
	}
	p, err := e.load(h.spec(e.counts.FD(), e.storage.FD()))
	if err != nil {
		e.answer(refused(h.feature, err))
		return
	}
	e.closers = append(e.closers, p)
	l, err := h.link(p, e.lab.cgroup)
	if err != nil {
		r := refused(h.feature, err)
		if h.trampoline() && errors.Is(err, ebpf.ErrNotSupported) {
			r.Reason = "it loads, and this kernel cannot attach it on this machine (no BPF trampolines)"
		}
		e.answer(r)
		return
	}
	e.closers = append(e.closers, l)
	e.waiting = append(e.waiting, h.feature)
}

// load loads one program, if the kernel itself has its target. Modules are not
// searched: nothing that is probed may live in one.
func (e *experiment) load(spec *ebpf.ProgramSpec) (*ebpf.Program, error) {
	if spec.AttachTo != "" {
		kernel, err := e.types.Kernel()
		if err != nil {
			return nil, err
		}
		if _, err := kernel.AnyTypesByName(targetPrefix(spec.AttachType) + spec.AttachTo); err != nil {
			return nil, err
		}
	}
	const name = "probe"
	c, err := ebpf.NewCollectionWithOptions(
		&ebpf.CollectionSpec{Programs: map[string]*ebpf.ProgramSpec{name: spec}},
		ebpf.CollectionOptions{Cache: e.types})
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return c.DetachProgram(name), nil
}

// targetPrefix is what the kernel's types put before a target's name.
func targetPrefix(attach ebpf.AttachType) string {
	switch attach {
	case ebpf.AttachTraceRawTp:
		return "btf_trace_"
	case ebpf.AttachLSMMac:
		return "bpf_lsm_"
	case ebpf.AttachTraceIter:
		return "bpf_iter_"
	}
	return ""
}

func (h hook) trampoline() bool {
	return h.attach == ebpf.AttachTraceFExit || h.attach == ebpf.AttachLSMMac
}

func (h hook) cgroup() bool {
	return h.kind != ebpf.Tracing && h.kind != ebpf.LSM && h.kind != ebpf.SchedCLS
}

func (h hook) link(p *ebpf.Program, cgroup string) (link.Link, error) {
	switch h.kind {
	case ebpf.Tracing:
		return link.AttachTracing(link.TracingOptions{Program: p, AttachType: h.attach})
	case ebpf.LSM:
		return link.AttachLSM(link.LSMOptions{Program: p})
	case ebpf.SchedCLS: // the loopback is the first device of a namespace
		return link.AttachTCX(link.TCXOptions{Interface: 1, Program: p, Attach: h.attach})
	}
	return link.AttachCgroup(link.CgroupOptions{Path: cgroup, Attach: h.attach, Program: p})
}

// storageVanishes reports whether the kernel takes a socket's storage from its
// entry before the iterator has lost sight of that (7.x, where entries got a
// state): the iterator then follows a null pointer, and the machine may fall.
// This is the one feature that is not tried out.
func (e *experiment) storageVanishes() error {
	kernel, err := e.types.Kernel()
	if err != nil {
		return err
	}
	var entry *btf.Struct
	if err := kernel.TypeByName("bpf_local_storage_elem", &entry); err != nil {
		return err
	}
	if slices.ContainsFunc(entry.Members, func(m btf.Member) bool { return m.Name == "state" }) {
		return fmt.Errorf("it can meet a socket that is being freed, and the kernel fault: %w", ebpf.ErrNotSupported)
	}
	return nil
}

// walk runs one iterator to its end. What it walks over is there: the caller
// holds a socket with an entry in the storage.
func (e *experiment) walk(i iterator) {
	if i.feature == StorageIterator {
		if err := e.storageVanishes(); err != nil {
			e.answer(refused(i.feature, err))
			return
		}
	}
	p, err := e.load(i.spec(e.counts.FD()))
	if err != nil {
		e.answer(refused(i.feature, err))
		return
	}
	defer p.Close()
	options := link.IterOptions{Program: p}
	if i.feature == StorageIterator {
		options.Map = e.storage
	}
	it, err := link.AttachIter(options)
	if err != nil {
		e.answer(refused(i.feature, err))
		return
	}
	defer it.Close()
	objects, err := it.Open()
	if err != nil {
		e.answer(refused(i.feature, err))
		return
	}
	defer objects.Close()
	if _, err := io.Copy(io.Discard, objects); err != nil {
		e.answer(refused(i.feature, fmt.Errorf("walk: %w", err)))
		return
	}
	e.waiting = append(e.waiting, i.feature)
}

// walkAll runs the iterators with a socket to be found.
func (e *experiment) walkAll() {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		defer unix.Close(fd)
		err = e.storage.Put(uint32(fd), uint64(1))
	}
	for _, i := range iterators() {
		if err != nil {
			e.answer(Result{Feature: i.feature, Reason: fmt.Sprintf("make a socket to find: %v", err)})
			continue
		}
		e.walk(i)
	}
}

// judge reads the counters. What did not count although the traffic passed
// does not run on this kernel; if the traffic failed nothing is known. Packet
// sockets have a traffic of their own, for a kernel may lack them.
func (e *experiment) judge(traffic, packets error) {
	counts := make([]uint64, featureCount)
	if err := e.counts.Lookup(uint32(0), counts); err != nil {
		traffic = errors.Join(traffic, fmt.Errorf("read the counters: %w", err))
	}
	for _, f := range e.waiting {
		failed := traffic
		if f == FexitPacketSend || f == FexitPacketRecv {
			failed = packets
		}
		switch {
		case counts[f] > 0:
			e.answer(Result{Feature: f, Answer: Yes})
		case failed != nil:
			e.answer(Result{Feature: f, Reason: failed.Error()})
		default:
			e.answer(Result{Feature: f, Answer: No, Reason: "it loads and attaches, and never runs"})
		}
	}
	e.waiting = nil
}

// runExperiment answers everything that needs a lab.
func runExperiment(ctx context.Context, l *lab) ([]Result, error) {
	e, err := newExperiment(l)
	if err != nil {
		return nil, err
	}
	for _, h := range hooks() {
		e.set(h)
	}
	passed := l.runOnce(ctx, "traffic", traffic())
	packets := l.runOnce(ctx, "packets", packets())
	e.walkAll()
	e.judge(passed, packets)
	e.results = append(e.results, fanotifyProbes(ctx, l)...)
	e.results = append(e.results, sockDestroy(), nftQueue(l), nftCgroup(l))
	return e.results, e.close()
}
