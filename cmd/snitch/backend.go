package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"snitch/bpf"
	"snitch/bpf/features"
	"snitch/enforce"
	"snitch/enforce/nft"
	"snitch/enforce/verdict"
	"snitch/monitor/event"
	"snitch/monitor/process"
	"snitch/policy/rule"
)

// Backends that deny.
const (
	backendAuto   = "auto"
	backendCgroup = "cgroup"
	backendNft    = "nft"
)

// openBackend makes what denies, which puts nothing into the kernel yet. A host
// that has nothing goes on recording.
func (d *daemon) openBackend(ctx context.Context) {
	name := chooseBackend(ctx, d.cfg.Enforce.Backend)
	open, prepare, other := d.cgroupBackend, mountBPFFS, removeTable
	if name == backendNft {
		open, prepare, other = d.nftBackend, func() error { return nil }, removePrograms
	}
	b, err := open()
	if err != nil {
		d.log.Error("there is nothing to deny with", "component", "enforce", "backend", name, "error", err)
		return
	}
	d.infers = name == backendNft
	d.denier = &denier{Backend: b, prepare: prepare, follow: func(on bool) { d.monitor.Follow(on) }, mode: func(m event.Mode) {
		d.denying.Store(m == event.ModeEnforce)
		d.engine.SetMode(m)
	}, settled: func() { // the last daemon may have denied by the other
		if err := other(d.state.path); err != nil {
			d.log.Warn("what another backend left is still in the kernel", "component", "enforce", "error", err)
		}
		if err := opened(d.state.path); err != nil {
			d.log.Error("the network is still shut, as at boot", "component", "enforce", "error", err)
		}
	}, remember: func(want enforce.Desired) {
		if err := remember(d.state.path, want); err != nil {
			d.log.Warn("the next boot may begin otherwise than it should", "component", "enforce", "error", err)
		}
	}}
}

// chooseBackend: cgroup programs know more, so they are the first choice.
func chooseBackend(ctx context.Context, want string) string {
	if want != backendAuto {
		return want
	}
	r := features.Detect(ctx)
	for _, f := range []features.Feature{features.CgroupConnect, features.CgroupSendmsg, features.CgroupEgress, features.CgroupIngress, features.SockOps,
		features.ExecTracepoint, features.ForkTracepoint, features.ExitTracepoint, features.RingBuffer} {
		if !r.Has(f) {
			return backendNft
		}
	}
	return backendCgroup
}

func (d *daemon) cgroupBackend() (enforce.Backend, error) {
	cfg := verdict.Config{Pins: pinsOf(d.state.path), Programs: d.cfg.Enforce.Hold.MountPoints()}
	if d.cfg.Enforce.Hold.Programs == "auto" && d.cfg.Cgroup == "" {
		cfg.Mounts = func() []string { return d.hasher.MountPoints() }
	}
	return verdict.New(cfg, verdict.Deps{Decider: d.engine, Recorder: d, Lookup: d.lookup, CatchUp: d.catchUp, Complete: d.complete, Image: d.becomes, Log: d.log}), nil
}

// becomes is what a process will be once it runs file. One that was not met yet
// was forked just now.
func (d *daemon) becomes(ctx context.Context, pid uint32, file *os.File, reads rule.Reads) *event.Process {
	var need process.Need
	for _, r := range []rule.SubjectReads{reads.Process, reads.Parent, reads.Ancestors} { // it will be a parent too
		need.Digest, need.Package = need.Digest || r.SHA256 || r.Reputation, need.Package || r.Package
		need.Script, need.ScriptDigest = need.Script || r.Script, need.ScriptDigest || r.ScriptSHA256
		need.Name = need.Name || r.Name
	}
	p, met := d.table.Coming(ctx, pid, int(file.Fd()), need)
	if !met {
		d.catchUp(ctx)
		p, _ = d.table.Coming(ctx, pid, int(file.Fd()), need)
	}
	return p
}

func (d *daemon) nftBackend() (enforce.Backend, error) {
	root, err := features.OpenCgroupRoot()
	if err != nil {
		return nil, err
	}
	d.closers = append(d.closers, root.Close)
	return nft.New(nft.Config{Table: nft.Name(d.state.path), Cgroups: root.Path}, nft.Deps{Log: d.log.With("component", "nft"), Now: time.Now})
}

// Denied implements enforce.Recorder: what was refused is the monitor's to join
// with what it saw of it itself.
func (d *daemon) Denied(c *event.Connection) { d.monitor.Denied(c) }

// Alert implements enforce.Recorder.
func (d *daemon) Alert(a event.Alert) { d.raise(a) }

// infer marks what the nft table refused, which tells of no single attempt: its
// rules are those of the engine, and what they deny gets a reset.
func (d *daemon) infer(rows []event.Connection) {
	if !d.infers || !d.denying.Load() {
		return
	}
	for i := range rows {
		c := &rows[i]
		if c.Direction != event.Out || c.Proto != event.ProtoTCP && c.Proto != event.ProtoMPTCP || c.Result != event.ResultRefused && c.Result != event.ResultReset {
			continue
		}
		if decision, _ := d.engine.Decide(context.Background(), c); decision.Action == event.ActionDeny {
			c.Result = event.ResultDenied
		}
	}
}

func (d *daemon) lookup(id event.ProcessID) *event.Process { return d.table.Lookup(id) }

func (d *daemon) catchUp(ctx context.Context) {
	if err := d.monitor.CatchUp(ctx); err != nil {
		d.log.Debug("decided without the latest records", "component", "enforce", "error", err)
	}
}

// complete fills what rules may ask of an attempt that waits.
func (d *daemon) complete(c *event.Connection) {
	d.monitor.Complete(c)
	d.place(c)
	c.Novelty = d.store.Foresee(c)
}

// bpffs is where the kernel's BPF file system is mounted.
const bpffs = "/sys/fs/bpf"

// pinsOf is the directory of pins of a state directory. Two daemons have two;
// the next daemon with this state directory finds what this one leaves.
func pinsOf(state string) string { return filepath.Join(bpffs, nft.Name(state)) }

// hasBPFFS reports whether the BPF file system is mounted.
func hasBPFFS() (bool, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(bpffs, &st); err != nil {
		return false, fmt.Errorf("look at %s: %w", bpffs, err)
	}
	return st.Type == unix.BPF_FS_MAGIC, nil
}

// mountBPFFS mounts the BPF file system where it is not, as few hosts do not:
// without it denials end with the process, whatever is configured.
func mountBPFFS() error {
	has, err := hasBPFFS()
	if err == nil && !has {
		err = unix.Mount("bpf", bpffs, "bpf", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "mode=700")
	}
	if err != nil {
		return fmt.Errorf("mount the BPF file system: %w", err)
	}
	return nil
}

func removePrograms(state string) error { return bpf.RemoveVerdicts(pinsOf(state)) }

// removeTable: a kernel without nftables has no table.
func removeTable(state string) error {
	return absentIsFine(nft.Remove(nft.Config{Table: nft.Name(state)}))
}

// absentIsFine drops the errors of a kernel that has no nftables.
func absentIsFine(err error) error {
	for _, absent := range []error{unix.EINVAL, unix.EPROTONOSUPPORT, unix.EOPNOTSUPP, unix.ENOPROTOOPT} {
		if errors.Is(err, absent) {
			return nil
		}
	}
	return err
}

// removers end what a daemon left in the kernel.
func removers() []remover {
	return []remover{
		{what: "programs in cgroups", remove: func(_ context.Context, state string) error { return removePrograms(state) }},
		{what: "nftables table", remove: func(_ context.Context, state string) error { return removeTable(state) }},
		{what: "what shut the network at boot", remove: removeShut},
	}
}
