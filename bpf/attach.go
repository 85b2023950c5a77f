package bpf

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"

	"snitch/bpf/features"
)

// Mechanism is one program that runs and what it is for.
type Mechanism struct {
	Purpose     string
	Program     string
	AttachPoint string
}

type attachKind uint8

const (
	atTracing attachKind = iota + 1
	atCgroup
	atIterator
)

// hook is a program, where it goes and in which tiers.
type hook struct {
	program string
	purpose string
	at      attachKind
	tiers   []features.Tier
}

var (
	everyTier = []features.Tier{features.TierReference, features.TierFexit, features.TierCounters}
	reference = []features.Tier{features.TierReference}
	counters  = []features.Tier{features.TierCounters}
)

// hooks lists every program in the order of attaching. Release comes first:
// once a socket counts, its end must be seen. The hooks that leave a peer for
// the end of a call come after the programs that take it.
var hooks = [...]hook{
	{"sock_release", "last bytes of a socket", atCgroup, reference},
	{"iter_sockets", "bytes of open sockets", atIterator, reference},
	{"iter_tasks", "processes at start", atIterator, everyTier},
	{"iter_files", "sockets at start", atIterator, reference},
	{"process_exec", "programs", atTracing, everyTier},
	{"process_fork", "lineage", atTracing, everyTier},
	{"process_exit", "end of processes", atTracing, everyTier},
	{"set_state", "life of connections", atTracing, reference},
	{"send_length", "bytes sent", atTracing, reference},
	{"recv_length", "bytes received", atTracing, reference},
	{"tcp_received", "bytes received by TCP", atTracing, reference},
	{"connect4", "attempts to connect", atCgroup, reference},
	{"connect6", "attempts to connect", atCgroup, reference},
	{"sock_create", "owner of raw and ICMP sockets", atCgroup, reference},
	{"post_bind4", "owner of bound UDP sockets", atCgroup, reference},
	{"post_bind6", "owner of bound UDP sockets", atCgroup, reference},
	{"sendmsg4", "peer of unconnected UDP", atCgroup, reference},
	{"sendmsg6", "peer of unconnected UDP", atCgroup, reference},
	{"recvmsg4", "peer of unconnected UDP", atCgroup, reference},
	{"recvmsg6", "peer of unconnected UDP", atCgroup, reference},
	{"egress", "names in DNS, TLS and QUIC; peer of raw sockets", atCgroup, reference},
	{"ingress", "DNS answers; peer of datagrams", atCgroup, reference},
	{"count_release", "end of sockets", atCgroup, counters},
	{"count_create", "owner of sockets", atCgroup, counters},
	{"count_bind4", "owner of bound UDP sockets", atCgroup, counters},
	{"count_bind6", "owner of bound UDP sockets", atCgroup, counters},
	{"count_bound4", "UDP listeners", atCgroup, counters},
	{"count_bound6", "UDP listeners", atCgroup, counters},
	{"count_connect4", "attempts to connect", atCgroup, counters},
	{"count_connect6", "attempts to connect", atCgroup, counters},
	{"count_sendmsg4", "owner of unconnected UDP", atCgroup, counters},
	{"count_sendmsg6", "owner of unconnected UDP", atCgroup, counters},
	{"count_streams", "life and bytes of TCP", atCgroup, counters},
	{"count_egress", "bytes sent; names in DNS, TLS and QUIC", atCgroup, counters},
	{"count_ingress", "bytes received; DNS answers", atCgroup, counters},
}

func hooksOf(tier features.Tier) []hook {
	var out []hook
	for _, h := range hooks {
		for _, t := range h.tiers {
			if t == tier {
				out = append(out, h)
			}
		}
	}
	return out
}

func (k *Kernel) attachAll(cfg Config) error {
	for _, h := range hooksOf(cfg.Tier) {
		if err := k.attach(h, cfg.Cgroup); err != nil {
			return fmt.Errorf("attach %s: %w", h.program, err)
		}
	}
	return nil
}

func (k *Kernel) attach(h hook, cgroup string) error {
	prog := k.coll.Programs[h.program]
	if prog == nil {
		return errors.New("program is not in the object")
	}
	where, err := k.attachTo(h, prog, cgroup)
	if err != nil {
		return err
	}
	k.mechs = append(k.mechs, Mechanism{Purpose: h.purpose, Program: h.program, AttachPoint: where})
	return nil
}

func (k *Kernel) attachTo(h hook, prog *ebpf.Program, cgroup string) (string, error) {
	section := k.sections[h.program]
	switch h.at {
	case atTracing:
		l, err := link.AttachTracing(link.TracingOptions{Program: prog})
		if err != nil {
			return "", err
		}
		k.links = append(k.links, l)
	case atCgroup:
		l, err := link.AttachCgroup(link.CgroupOptions{Path: cgroup, Attach: section.AttachType, Program: prog})
		if err != nil {
			return "", fmt.Errorf("cgroup %s: %w", cgroup, err)
		}
		k.links = append(k.links, l)
	case atIterator:
		opts := link.IterOptions{Program: prog}
		if h.program == "iter_sockets" {
			opts.Map = k.coll.Maps["sockets"]
		}
		it, err := link.AttachIter(opts)
		if err != nil {
			return "", err
		}
		k.iterators[h.program] = it
	}
	return section.SectionName, nil
}

// Mechanisms says what runs, in the order of attaching.
func (k *Kernel) Mechanisms() []Mechanism { return append([]Mechanism(nil), k.mechs...) }
