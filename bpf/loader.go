package bpf

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/ringbuf"
	"golang.org/x/sys/unix"

	"snitch/bpf/features"
)

// Config says what to load; the zero value accounts the whole machine with
// the best tier that its kernel has.
type Config struct {
	Tier        features.Tier // TierInvalid and TierAuto: the best there is
	Cgroup      string        // directory of a cgroup v2 to attach to; "": the root
	Filter      bool          // account only sockets whose owner is in Cgroup
	FlowEntries uint32        // flows in one generation; 0: 65,536
	RingBytes   uint32        // a power of two; 0: 2 MiB

	held  bool   // tests: open sockets by descriptor, as on 7.x
	hooks []hook // what complete chose
}

const (
	defaultFlowEntries = 65536
	defaultRingBytes   = 2 << 20
	overflowEntries    = 1024
)

// Kernel is a loaded and attached kernel side. Poll, and Drain together with
// DrainOverflow, may each be used by one goroutine; the rest by any.
type Kernel struct {
	tier      features.Tier
	coll      *ebpf.Collection
	links     []link.Link // a dropped link detaches: keep each
	mechs     []Mechanism
	sections  map[string]section // of the programs, by name
	flows     *generations[FlowKey, FlowValue]
	overflow  *generations[ProcessId, Loss]
	iterators map[string]*link.Iter
	wakeAt    *ebpf.Variable
	inserted  *ebpf.Variable
	drained   uint64 // value of inserted at the last drain
	overflown uint64 // losses to the overflow map at its last drain
	half      uint64
	closed    *ringbuf.Reader // last deltas of closed sockets
	poller    poller
	adopted   adopted
}

// section is what attaching needs of a program's specification, which holds a
// megabyte of instructions.
type section struct {
	name string
	kind ebpf.AttachType
}

// Load loads and attaches all programs of the tier, or none. The error names
// the program or hook and the reason. Nothing is pinned: the programs live as
// long as the Kernel.
func Load(cfg Config) (*Kernel, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	spec, err := cfg.spec()
	if err != nil {
		return nil, err
	}
	k := &Kernel{tier: cfg.Tier, iterators: map[string]*link.Iter{}, half: uint64(cfg.FlowEntries) / 2, sections: map[string]section{}}
	for name, program := range spec.Programs {
		k.sections[name] = section{strings.Clone(program.SectionName), program.AttachType}
	}
	if err := k.load(cfg, spec); err != nil {
		return nil, errors.Join(err, k.Close())
	}
	return k, nil
}

func (cfg *Config) complete() error {
	if cfg.FlowEntries == 0 {
		cfg.FlowEntries = defaultFlowEntries
	}
	if cfg.RingBytes == 0 {
		cfg.RingBytes = defaultRingBytes
	}
	report := features.Detect(context.Background())
	if cfg.Tier == features.TierInvalid || cfg.Tier == features.TierAuto {
		best, why := report.Tier()
		if best == features.TierInvalid {
			return fmt.Errorf("choose a tier: %s", strings.Join(why, "; "))
		}
		cfg.Tier = best
	}
	cfg.hooks = chooseHooks(cfg.Tier, report, cfg.held)
	return nil
}

// spec is the object cut down to the tier, with sizes and tunables set.
func (cfg *Config) spec() (*ebpf.CollectionSpec, error) {
	spec, err := object(cfg.Tier)
	if err != nil {
		return nil, fmt.Errorf("read embedded programs: %w", err)
	}
	wanted := map[string]bool{}
	for _, h := range cfg.hooks {
		wanted[h.program] = true
	}
	if len(wanted) == 0 {
		return nil, fmt.Errorf("tier %s has no programs", cfg.Tier)
	}
	for name := range spec.Programs {
		if !wanted[name] {
			delete(spec.Programs, name)
		}
	}
	spec.Maps["flows"].InnerMap.MaxEntries = cfg.FlowEntries
	spec.Maps["overflow"].InnerMap.MaxEntries = overflowEntries
	spec.Maps["ring"].MaxEntries = cfg.RingBytes
	spec.Maps["closed"].MaxEntries = closedBytes(cfg.FlowEntries)
	if err := spec.Variables["filter"].Set(cfg.Filter); err != nil {
		return nil, fmt.Errorf("set filter: %w", err)
	}
	if cfg.Filter {
		var st unix.Stat_t
		if err := unix.Stat(cfg.Cgroup, &st); err != nil {
			return nil, fmt.Errorf("look up cgroup %s: %w", cfg.Cgroup, err)
		}
		if err := spec.Variables["scope_id"].Set(st.Ino); err != nil {
			return nil, fmt.Errorf("set scope_id: %w", err)
		}
	}
	if err := spec.Variables["flows_wake"].Set(uint64(cfg.FlowEntries) / 2); err != nil {
		return nil, fmt.Errorf("set flows_wake: %w", err)
	}
	return spec, nil
}

// closedBytes gives the ring of closed sockets room for a sixth of a flow
// generation, between a page and 2 MiB.
func closedBytes(entries uint32) uint32 {
	size := uint32(os.Getpagesize())
	for size < 2<<20 && size < entries*32 {
		size *= 2
	}
	return size
}

func (k *Kernel) load(cfg Config, spec *ebpf.CollectionSpec) (err error) {
	if k.coll, err = ebpf.NewCollection(spec); err != nil {
		return loadError(err)
	}
	k.wakeAt, k.inserted = k.coll.Variables["flows_wake"], k.coll.Variables["flows_inserted"]
	if k.flows, err = newGenerations[FlowKey, FlowValue](k.coll.Maps["flows"], spec.Maps["flows"].InnerMap); err != nil {
		return fmt.Errorf("make flow maps: %w", err)
	}
	if k.overflow, err = newGenerations[ProcessId, Loss](k.coll.Maps["overflow"], spec.Maps["overflow"].InnerMap); err != nil {
		return fmt.Errorf("make overflow maps: %w", err)
	}
	if k.poller.ring, err = ringbuf.NewReader(k.coll.Maps["ring"]); err != nil {
		return fmt.Errorf("open ring: %w", err)
	}
	if k.closed, err = ringbuf.NewReader(k.coll.Maps["closed"]); err != nil {
		return fmt.Errorf("open ring of closed sockets: %w", err)
	}
	k.closed.SetDeadline(time.Unix(1, 0)) // never waits
	if cfg.Filter {
		if err := k.setScope(cfg.Cgroup); err != nil {
			return err
		}
	}
	if cfg.Cgroup == "" {
		root, err := features.OpenCgroupRoot()
		if err != nil {
			return fmt.Errorf("find cgroups: %w", err)
		}
		defer root.Close() // what is attached stays so
		cfg.Cgroup = root.Path
	}
	return k.attachAll(cfg)
}

func (k *Kernel) setScope(cgroup string) error {
	dir, err := os.Open(cgroup)
	if err != nil {
		return fmt.Errorf("open cgroup: %w", err)
	}
	defer dir.Close()
	if err := k.coll.Maps["scope"].Put(uint32(0), uint32(dir.Fd())); err != nil {
		return fmt.Errorf("set cgroup %s as scope: %w", cgroup, err)
	}
	return nil
}

// loadError keeps the end of a verifier's log, which says what is wrong.
func loadError(err error) error {
	var verifier *ebpf.VerifierError
	if !errors.As(err, &verifier) {
		return fmt.Errorf("load programs: %w", err)
	}
	const last = 12
	log := verifier.Log
	if len(log) > last {
		log = log[len(log)-last:]
	}
	return fmt.Errorf("load programs: %w\n%s", err, strings.Join(log, "\n"))
}

// Tier is the tier that runs.
func (k *Kernel) Tier() features.Tier { return k.tier }

// Close detaches every program, wakes a blocked Poll and frees the maps.
// What was not drained is gone.
func (k *Kernel) Close() error {
	var errs []error
	for i := len(k.links) - 1; i >= 0; i-- {
		if err := k.links[i].Close(); err != nil {
			errs = append(errs, fmt.Errorf("detach: %w", err))
		}
	}
	k.links = nil
	for _, it := range k.iterators {
		errs = append(errs, it.Close())
	}
	k.iterators = nil
	errs = append(errs, k.poller.close(), k.flows.close(), k.overflow.close())
	if k.closed != nil {
		errs = append(errs, k.closed.Close())
	}
	if k.coll != nil {
		k.coll.Close()
	}
	return errors.Join(errs...)
}
