package features

import "fmt"

// Feature is one thing that a kernel may be able to do. The numbers are never
// stored; names are.
type Feature uint8

// The features that are probed.
const (
	featureInvalid Feature = iota

	BTF        // the kernel describes its own types
	KernelRead // bpf_probe_read_kernel

	ExecTracepoint   // tp_btf/sched_process_exec
	ForkTracepoint   // tp_btf/sched_process_fork
	ExitTracepoint   // tp_btf/sched_process_exit
	StateTracepoint  // tp_btf/inet_sock_set_state
	SendTracepoint   // tp_btf/sock_send_length
	RecvTracepoint   // tp_btf/sock_recv_length
	RecvTCP          // tp_btf/tcp_rcv_space_adjust
	DeviceTracepoint // tp_btf/net_dev_queue
	FexitSend        // fexit/inet_sendmsg
	FexitRecv        // fexit/inet_recvmsg
	FexitSendpage    // fexit/inet_sendpage
	FexitPacketSend  // fexit/packet_sendmsg
	FexitPacketRecv  // fexit/packet_recvmsg
	TracingStorage   // sk_storage in tracing programs
	StorageIterator  // iter/bpf_sk_storage_map
	TaskIterator     // iter/task
	FileIterator     // iter/task_file with bpf_sock_from_file

	CgroupConnect // cgroup/connect4
	CgroupSendmsg // cgroup/sendmsg4
	CgroupRecvmsg // cgroup/recvmsg4
	CgroupCreate  // cgroup/sock_create
	CgroupRelease // cgroup/sock_release
	CgroupEgress  // cgroup_skb/egress
	CgroupIngress // cgroup_skb/ingress
	SockOps       // sock_ops
	CgroupTask    // bpf_get_current_task_btf in cgroup hooks
	SkbPid        // bpf_get_current_pid_tgid in cgroup_skb
	NetnsCookie   // bpf_get_netns_cookie in cgroup hooks

	AtomicExchange // BPF_XCHG
	RingBuffer     // BPF_MAP_TYPE_RINGBUF
	MapInMap       // BPF_MAP_TYPE_ARRAY_OF_MAPS

	LSM            // BPF LSM programs that run
	TCX            // tcx/egress
	FanotifyExec   // FAN_OPEN_EXEC
	FanotifyMark   // FAN_MARK_FILESYSTEM
	FanotifyQueue  // FAN_UNLIMITED_QUEUE
	FanotifyIgnore // FAN_MARK_EVICTABLE ignore marks
	SockDestroy    // SOCK_DESTROY
	NftQueue       // nft queue
	NftCgroup      // nft socket cgroupv2

	featureCount
)

// facts holds each feature's name and what its absence costs.
var facts = [featureCount]struct{ name, consequence string }{
	featureInvalid: {name: "invalid"},

	BTF:        {"btf", "nothing can be traced: snitch does not run"},
	KernelRead: {"bpf_probe_read_kernel", "processes cannot be told apart: snitch does not run"},

	ExecTracepoint:   {"tp_btf/sched_process_exec", "programs cannot be told apart: snitch does not run"},
	ForkTracepoint:   {"tp_btf/sched_process_fork", "no ancestry: snitch does not run"},
	ExitTracepoint:   {"tp_btf/sched_process_exit", "processes never end: snitch does not run"},
	StateTracepoint:  {"tp_btf/inet_sock_set_state", "no reference or fexit tier; connection results come from sock_ops"},
	SendTracepoint:   {"tp_btf/sock_send_length", "no reference tier: sendfile, splice and raw bytes are counted less exactly"},
	RecvTracepoint:   {"tp_btf/sock_recv_length", "no reference tier: received bytes are counted less exactly"},
	RecvTCP:          {"tp_btf/tcp_rcv_space_adjust", "no reference or fexit tier: TCP receives are counted on arrival"},
	DeviceTracepoint: {"tp_btf/net_dev_queue", "AF_PACKET bytes are not counted below the reference tier"},
	FexitSend:        {"fexit/inet_sendmsg", "no fexit tier; on kernels before 6.3 counters are the best"},
	FexitRecv:        {"fexit/inet_recvmsg", "no fexit tier; on kernels before 6.3 counters are the best"},
	FexitSendpage:    {"fexit/inet_sendpage", "expected from 6.5 on, where sendfile is a sendmsg"},
	FexitPacketSend:  {"fexit/packet_sendmsg", "the fexit tier does not count what AF_PACKET sends"},
	FexitPacketRecv:  {"fexit/packet_recvmsg", "the fexit tier does not count what AF_PACKET receives"},
	TracingStorage:   {"sk_storage in tracing", "no reference or fexit tier: sockets are accounted by cgroup hooks only"},
	StorageIterator:  {"iter/bpf_sk_storage_map", "open sockets are read by descriptor: one that waits to be accepted, is on its way to another process or known to io_uring alone is told when it closes"},
	TaskIterator:     {"iter/task", "processes that exist at start are read from /proc"},
	FileIterator:     {"iter/task_file with sockets", "sockets that exist at start get an owner when they are used"},

	CgroupConnect: {"cgroup/connect", "failed attempts have no owner"},
	CgroupSendmsg: {"cgroup/sendmsg", "unconnected UDP has no peer"},
	CgroupRecvmsg: {"cgroup/recvmsg", "unconnected UDP has no peer"},
	CgroupCreate:  {"cgroup/sock_create", "sockets get an owner only when they are used"},
	CgroupRelease: {"cgroup/sock_release", "ends of sockets are seen late"},
	CgroupEgress:  {"cgroup_skb/egress", "no SNI, no packet counters, nothing to enforce with"},
	CgroupIngress: {"cgroup_skb/ingress", "no DNS answers, no packet counters"},
	SockOps:       {"sock_ops", "no counters tier"},
	CgroupTask:    {"task_btf in cgroup hooks", "owners come from the process table by pid"},
	SkbPid:        {"pid_tgid in cgroup_skb", "packets are owned by their socket's owner, not by who sent them"},
	NetnsCookie:   {"netns cookie in cgroup hooks", "network namespaces are told apart by inode only"},

	AtomicExchange: {"atomic exchange", "counters are drained by swapping maps only"},
	RingBuffer:     {"ring buffer", "no events: snitch does not run"},
	MapInMap:       {"map in map", "the flow table cannot be swapped: snitch does not run"},

	LSM:            {"bpf lsm", "AF_PACKET, AF_XDP and vsock sockets are seen, not denied; add bpf to lsm= to have it"},
	TCX:            {"tcx", "nothing: no program is attached there"},
	FanotifyExec:   {"fanotify FAN_OPEN_EXEC", "programs that end at once may have no digest"},
	FanotifyMark:   {"fanotify filesystem mark", "programs in containers may have no digest"},
	FanotifyQueue:  {"fanotify unlimited queue", "bursts of execs may lose digests"},
	FanotifyIgnore: {"fanotify evictable ignore mark", "every exec of a known program costs an event"},
	SockDestroy:    {"SOCK_DESTROY", "established connections are cut by dropping packets"},
	NftQueue:       {"nft queue", "connections are held by the xtables target, or by dropping SYNs"},
	NftCgroup:      {"nft socket cgroupv2", "nft rules cannot select by cgroup"},
}

// All lists every feature that Detect asks for, in the order of reports.
func All() []Feature {
	all := make([]Feature, 0, featureCount-1)
	for f := featureInvalid + 1; f < featureCount; f++ {
		all = append(all, f)
	}
	return all
}

// String returns the feature's name as doctor shows it.
func (f Feature) String() string {
	if f < featureCount {
		return facts[f].name
	}
	return fmt.Sprintf("feature(%d)", uint8(f))
}

// MarshalText writes the feature's name.
func (f Feature) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (f *Feature) UnmarshalText(text []byte) error {
	for _, known := range All() {
		if known.String() == string(text) {
			*f = known
			return nil
		}
	}
	return fmt.Errorf("feature %q is not known", text)
}
