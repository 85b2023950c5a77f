package bpf

import (
	"errors"
	"fmt"
	"slices"

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
	atLSM
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
	callTiers = []features.Tier{features.TierReference, features.TierFexit}
	reference = []features.Tier{features.TierReference}
	fexit     = []features.Tier{features.TierFexit}
	counters  = []features.Tier{features.TierCounters}
)

// hooks lists every program in the order of attaching. Release comes first:
// once a socket counts, its end must be seen. The hooks that leave a peer for
// the end of a call come after the programs that take it.
var hooks = [...]hook{
	{"sock_release", "last bytes of a socket", atCgroup, callTiers},
	{"iter_sockets", "bytes of open sockets", atIterator, callTiers},
	{"iter_held", "bytes of open sockets, by descriptor", atIterator, callTiers},
	{"iter_tasks", "processes at start", atIterator, everyTier},
	{"iter_files", "sockets at start", atIterator, callTiers},
	{"process_exec", "programs", atTracing, everyTier},
	{"process_fork", "lineage", atTracing, everyTier},
	{"process_exit", "end of processes", atTracing, everyTier},
	{"set_state", "life of connections", atTracing, callTiers},
	{"send_length", "bytes sent", atTracing, reference},
	{"recv_length", "bytes received", atTracing, reference},
	{"sent", "bytes sent", atTracing, fexit},
	{"sent6", "bytes sent", atTracing, fexit},
	{"sent_page", "bytes sent by sendfile and splice", atTracing, fexit},
	{"sent_packet", "bytes sent by AF_PACKET", atTracing, fexit},
	{"received", "bytes received", atTracing, fexit},
	{"received6", "bytes received", atTracing, fexit},
	{"received_raw", "bytes received by raw IPv6", atTracing, fexit},
	{"received_packet", "bytes received by AF_PACKET", atTracing, fexit},
	{"tcp_received", "bytes received by TCP", atTracing, callTiers},
	{"connect4", "attempts to connect", atCgroup, callTiers},
	{"connect6", "attempts to connect", atCgroup, callTiers},
	{"sock_create", "owner of raw and ICMP sockets", atCgroup, callTiers},
	{"post_bind4", "owner of bound UDP sockets", atCgroup, callTiers},
	{"post_bind6", "owner of bound UDP sockets", atCgroup, callTiers},
	{"sendmsg4", "peer of unconnected UDP", atCgroup, callTiers},
	{"sendmsg6", "peer of unconnected UDP", atCgroup, callTiers},
	{"recvmsg4", "peer of unconnected UDP", atCgroup, callTiers},
	{"recvmsg6", "peer of unconnected UDP", atCgroup, callTiers},
	{"egress", "names in DNS, TLS and QUIC; peer of raw sockets", atCgroup, callTiers},
	{"ingress", "DNS answers; peer of datagrams", atCgroup, callTiers},
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
		if slices.Contains(h.tiers, tier) {
			out = append(out, h)
		}
	}
	return out
}

// chooseHooks leaves out what the kernel has no place for and the tier can do
// without. Open sockets are found in the storage map, or where that is not
// possible, and if held, among the descriptors of processes.
func chooseHooks(tier features.Tier, report features.Report, held bool) []hook {
	held = held || !report.Has(features.StorageIterator)
	return slices.DeleteFunc(hooksOf(tier), func(h hook) bool {
		switch h.program {
		case "iter_sockets":
			return held
		case "iter_held":
			return !held
		}
		need, optional := optional(h.program)
		return optional && !report.Has(need)
	})
}

// optional names what a program needs that its tier can do without: functions
// that came and went, and AF_PACKET, which a kernel may be built without.
func optional(program string) (features.Feature, bool) {
	switch program {
	case "sent_page":
		return features.FexitSendpage, true
	case "sent_packet":
		return features.FexitPacketSend, true
	case "received_packet":
		return features.FexitPacketRecv, true
	}
	return 0, false
}

func (k *Kernel) attachAll(cfg Config) error {
	for _, h := range cfg.hooks {
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
	switch h.at {
	case atTracing:
		l, err := link.AttachTracing(link.TracingOptions{Program: prog})
		if err != nil {
			return "", err
		}
		k.links = append(k.links, l)
	case atCgroup:
		l, err := link.AttachCgroup(link.CgroupOptions{Path: cgroup, Attach: k.sections[h.program].kind, Program: prog})
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
	return k.sections[h.program].name, nil
}

// Mechanisms says what runs, in the order of attaching.
func (k *Kernel) Mechanisms() []Mechanism { return append([]Mechanism(nil), k.mechs...) }
