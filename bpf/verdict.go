package bpf

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/ringbuf"
	"golang.org/x/sys/unix"

	"snitch/bpf/features"
)

// VerdictConfig says where verdicts hold and how much they may remember. Zero
// sizes mean the defaults.
type VerdictConfig struct {
	Cgroup    string // directory of a cgroup v2 to attach to; "": the root
	Pins      string // directory in a bpffs that keeps programs and maps when the process ends; "": nothing stays
	Subjects  uint32 // processes; 0: 65,536
	Decisions uint32 // answers of user space; 0: 65,536
	Peers     uint32 // datagram peers; 0: 32,768
	RingBytes uint32 // a power of two; 0: 1 MiB
	Probe     bool   // load the program of Verdicts.Probe too

	held bool // tests: open connections by descriptor, as on 7.x
}

// Verdicts are the kernel programs that allow and deny, and their tables.
// Nothing is judged before Attach, a generation of tables that was flipped in,
// and SetMode(true).
//
// Beat, Decide, Subject methods and Counts are safe for concurrent use. Poll is
// for one goroutine. All others are for one goroutine, the writer.
type Verdicts struct {
	cfg    VerdictConfig
	coll   *ebpf.Collection
	spec   *ebpf.CollectionSpec
	page   *controlPage
	links  []link.Link // a dropped link detaches: keep each
	mechs  []Mechanism
	poller poller
}

// LoadVerdicts loads the programs and maps, and attaches nothing. Maps that an
// earlier process left in cfg.Pins are taken over with all they hold, unless
// they are of another version.
func LoadVerdicts(cfg VerdictConfig) (*Verdicts, error) {
	spec, err := loadVerdict()
	if err != nil {
		return nil, fmt.Errorf("read embedded programs: %w", err)
	}
	v := &Verdicts{cfg: cfg, spec: spec}
	v.prepare()
	if err := errors.Join(v.scope(), v.load()); err != nil {
		return nil, errors.Join(err, v.Close(true))
	}
	return v, nil
}

func (v *Verdicts) prepare() {
	for name, size := range map[string]uint32{"subjects": v.cfg.Subjects, "decisions": v.cfg.Decisions,
		"peers": v.cfg.Peers, "ring": v.cfg.RingBytes} {
		if size > 0 {
			v.spec.Maps[name].MaxEntries = size
		}
	}
	if !v.cfg.Probe {
		delete(v.spec.Programs, "verdict_probe")
	}
	v.chooseIterators(features.Detect(context.Background()))
	if v.cfg.Pins == "" {
		return
	}
	for name, m := range v.spec.Maps {
		if pinned(name) {
			m.Pinning = ebpf.PinByName
		}
	}
}

// pinned reports whether a map outlives the process: the compiler's own hold
// nothing, and have names that a bpffs does not take.
func pinned(name string) bool { return name[0] != '.' }

// chooseIterators leaves out what the kernel cannot run. Linux 5.10 gives no
// sockets by descriptor: those older than the programs have no owner there.
func (v *Verdicts) chooseIterators(r features.Report) {
	files := r.Has(features.FileIterator) && r.Has(features.TracingStorage)
	if !files {
		delete(v.spec.Programs, "verdict_adopt")
	}
	storage := r.Has(features.StorageIterator) && !v.cfg.held
	if !files || storage {
		delete(v.spec.Programs, "verdict_cut_files")
	}
	if !storage {
		delete(v.spec.Programs, "verdict_cut")
	}
	if !r.Has(features.LSM) {
		delete(v.spec.Programs, "verdict_family")
	}
}

// rootCgroup is the inode of the root of every cgroup2 hierarchy (kernfs numbers
// from 1): all are in it, however deep.
const rootCgroup = 1

// scope bounds the programs that are attached to no cgroup.
func (v *Verdicts) scope() error {
	if v.cfg.Cgroup == "" {
		return nil
	}
	var st unix.Stat_t
	if err := unix.Stat(v.cfg.Cgroup, &st); err != nil {
		return fmt.Errorf("look up cgroup: %w", err)
	}
	if st.Ino == rootCgroup {
		return nil
	}
	if err := v.spec.Variables["scope_id"].Set(st.Ino); err != nil {
		return fmt.Errorf("set scope_id: %w", err)
	}
	return nil
}

func (v *Verdicts) load() error {
	if v.cfg.Pins != "" {
		if err := os.MkdirAll(v.cfg.Pins, 0o700); err != nil {
			return fmt.Errorf("make directory of pins: %w", err)
		}
	}
	opts := ebpf.CollectionOptions{Maps: ebpf.MapOptions{PinPath: v.cfg.Pins}}
	var err error
	v.coll, err = ebpf.NewCollectionWithOptions(v.spec, opts)
	if errors.Is(err, ebpf.ErrMapIncompatible) {
		if err := v.unpinMaps(); err != nil {
			return err
		}
		v.coll, err = ebpf.NewCollectionWithOptions(v.spec, opts)
	}
	if err != nil {
		return loadError(err)
	}
	if v.page, err = mapControl(v.coll.Maps["controls"]); err != nil {
		return fmt.Errorf("map control page: %w", err)
	}
	if v.poller.ring, err = ringbuf.NewReader(v.coll.Maps["ring"]); err != nil {
		return fmt.Errorf("open ring: %w", err)
	}
	return nil
}

// unpinMaps forgets maps of another version; the programs of that version go
// on with them until Attach replaces them.
func (v *Verdicts) unpinMaps() error {
	for name := range v.spec.Maps {
		if !pinned(name) {
			continue
		}
		if err := os.Remove(filepath.Join(v.cfg.Pins, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("unpin map of another version: %w", err)
		}
	}
	return nil
}

// Close gives the descriptors back and wakes a blocked Poll. With leave, what is
// pinned stays and goes on judging; without, all programs are detached.
func (v *Verdicts) Close(leave bool) error {
	var errs []error
	if !leave && v.page != nil {
		v.SetMode(false)
	}
	for i := len(v.links) - 1; i >= 0; i-- {
		errs = append(errs, v.links[i].Close())
	}
	v.links = nil
	errs = append(errs, v.poller.close())
	if v.page != nil {
		errs = append(errs, v.page.close())
		v.page = nil
	}
	if v.coll != nil {
		v.coll.Close()
	}
	if !leave && v.cfg.Pins != "" {
		errs = append(errs, RemoveVerdicts(v.cfg.Pins))
	}
	return errors.Join(errs...)
}

// cgroup opens the directory to attach to, which the caller closes.
func (v *Verdicts) cgroup() (*os.File, error) {
	if v.cfg.Cgroup != "" {
		dir, err := os.Open(v.cfg.Cgroup)
		if err != nil {
			return nil, fmt.Errorf("open cgroup: %w", err)
		}
		return dir, nil
	}
	root, err := features.OpenCgroupRoot()
	if err != nil {
		return nil, fmt.Errorf("find cgroups: %w", err)
	}
	defer root.Close()
	dir, err := os.Open(root.Path)
	if err != nil {
		return nil, fmt.Errorf("open root of cgroups: %w", err)
	}
	return dir, nil
}
