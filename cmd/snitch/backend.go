package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
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

// openBackend makes what denies, which puts nothing into the kernel yet.
func (d *daemon) openBackend(ctx context.Context) error {
	var b enforce.Backend
	var err error
	if chooseBackend(ctx, d.cfg.Enforce.Backend) == backendNft {
		b, err = d.nftBackend()
	} else {
		b, err = d.cgroupBackend()
	}
	if err != nil {
		return lacksError(fmt.Errorf("prepare to deny: %w", err), "'snitch doctor' tells what this host has")
	}
	_, d.infers = b.(*nft.Backend)
	d.denier = &denier{Backend: b, follow: func(on bool) { d.monitor.Follow(on) }, mode: func(m event.Mode) {
		d.denying.Store(m == event.ModeEnforce)
		d.engine.SetMode(m)
	}}
	return nil
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
	pins, err := pinsOf(d.state.path)
	if err != nil {
		d.log.Warn("denials do not outlive snitch: there is nowhere to pin them", "component", "enforce", "error", err)
	}
	cfg := verdict.Config{Pins: pins, Programs: d.cfg.Enforce.Hold.MountPoints()}
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
		need.Digest, need.Package = need.Digest || r.SHA256, need.Package || r.Package
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
func pinsOf(state string) (string, error) {
	var st unix.Statfs_t
	err := unix.Statfs(bpffs, &st)
	if err == nil && st.Type != unix.BPF_FS_MAGIC {
		err = unix.Mount("bpf", bpffs, "bpf", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "mode=700")
	}
	if err != nil {
		return "", fmt.Errorf("find the BPF file system at %s: %w", bpffs, err)
	}
	return filepath.Join(bpffs, nft.Name(state)), nil
}

// removers end what a daemon left in the kernel.
func removers() []remover {
	return []remover{
		{what: "programs in cgroups", remove: func(_ context.Context, state string) error {
			if _, err := os.Stat(bpffs); errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			return bpf.RemoveVerdicts(filepath.Join(bpffs, nft.Name(state)))
		}},
		{what: "nftables table", remove: func(_ context.Context, state string) error { return nft.Remove(nft.Config{Table: nft.Name(state)}) }},
	}
}
