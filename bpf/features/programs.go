package features

import (
	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

// A hook is a place where a counting program is attached while the traffic
// script runs. The program counts only when its body came to its end.
type hook struct {
	feature Feature
	kind    ebpf.ProgramType
	attach  ebpf.AttachType
	target  string // of a tracing or LSM program
	result  int32  // what the program returns: always what lets things pass
	body    func(storage int) asm.Instructions
}

// hooks lists every probe that is answered by one run of the script.
func hooks() []hook {
	tracepoint := func(f Feature, name string) hook {
		return hook{feature: f, kind: ebpf.Tracing, attach: ebpf.AttachTraceRawTp, target: name}
	}
	fexit := func(f Feature, name string) hook {
		return hook{feature: f, kind: ebpf.Tracing, attach: ebpf.AttachTraceFExit, target: name}
	}
	cgroup := func(f Feature, kind ebpf.ProgramType, attach ebpf.AttachType) hook {
		return hook{feature: f, kind: kind, attach: attach, result: 1}
	}
	calls := func(h hook, f Feature, fn asm.BuiltinFunc) hook {
		h.feature, h.body = f, func(int) asm.Instructions { return notZero(fn) }
		return h
	}
	state := tracepoint(StateTracepoint, "inet_sock_set_state")
	storage := state
	storage.feature, storage.body = TracingStorage, storageOfFirstArgument
	connect := cgroup(CgroupConnect, ebpf.CGroupSockAddr, ebpf.AttachCGroupInet4Connect)
	egress := cgroup(CgroupEgress, ebpf.CGroupSKB, ebpf.AttachCGroupInetEgress)
	return []hook{
		tracepoint(ExecTracepoint, "sched_process_exec"),
		tracepoint(ForkTracepoint, "sched_process_fork"),
		tracepoint(ExitTracepoint, "sched_process_exit"),
		state,
		tracepoint(SendTracepoint, "sock_send_length"),
		tracepoint(RecvTracepoint, "sock_recv_length"),
		tracepoint(RecvTCP, "tcp_rcv_space_adjust"),
		tracepoint(DeviceTracepoint, "net_dev_queue"),
		fexit(FexitSend, "inet_sendmsg"),
		fexit(FexitRecv, "inet_recvmsg"),
		fexit(FexitSendpage, "inet_sendpage"),
		fexit(FexitPacketSend, "packet_sendmsg"),
		fexit(FexitPacketRecv, "packet_recvmsg"),
		storage,
		connect,
		cgroup(CgroupSendmsg, ebpf.CGroupSockAddr, ebpf.AttachCGroupUDP4Sendmsg),
		cgroup(CgroupRecvmsg, ebpf.CGroupSockAddr, ebpf.AttachCGroupUDP4Recvmsg),
		cgroup(CgroupCreate, ebpf.CGroupSock, ebpf.AttachCGroupInetSockCreate),
		cgroup(CgroupRelease, ebpf.CGroupSock, ebpf.AttachCgroupInetSockRelease),
		egress,
		cgroup(CgroupIngress, ebpf.CGroupSKB, ebpf.AttachCGroupInetIngress),
		cgroup(SockOps, ebpf.SockOps, ebpf.AttachCGroupSockOps),
		calls(connect, CgroupTask, asm.FnGetCurrentTaskBtf),
		calls(egress, SkbPid, asm.FnGetCurrentPidTgid),
		calls(connect, NetnsCookie, asm.FnGetNetnsCookie),
		{feature: LSM, kind: ebpf.LSM, attach: ebpf.AttachLSMMac, target: "socket_create"},
		{feature: TCX, kind: ebpf.SchedCLS, attach: ebpf.AttachTCXEgress, result: -1}, // TCX_NEXT
	}
}

// spec is the hook's program. It adds to its own slot of the map counts.
func (h hook) spec(counts, storage int) *ebpf.ProgramSpec {
	var body asm.Instructions
	if h.body != nil {
		body = h.body(storage)
	}
	return counting(&ebpf.ProgramSpec{Type: h.kind, AttachType: h.attach, AttachTo: h.target},
		h.feature, body, counts, h.result)
}

// counting completes spec: body, then one more in the feature's slot. A body
// leaves by jumping to "out".
func counting(spec *ebpf.ProgramSpec, f Feature, body asm.Instructions, counts int, result int32) *ebpf.ProgramSpec {
	spec.Name = "snitch_probe"
	spec.License = "Dual BSD/GPL"
	spec.Instructions = append(body,
		asm.LoadMapValue(asm.R1, counts, uint32(f)*8),
		asm.Mov.Imm(asm.R2, 1),
		asm.StoreXAdd(asm.R1, asm.R2, asm.DWord),
		asm.Mov.Imm(asm.R0, result).WithSymbol("out"),
		asm.Return(),
	)
	return spec
}

// notZero calls a helper that takes the context and must not return zero.
func notZero(fn asm.BuiltinFunc) asm.Instructions {
	return asm.Instructions{
		fn.Call(),
		asm.JEq.Imm(asm.R0, 0, "out"),
	}
}

// storageOfFirstArgument makes an sk_storage entry for the socket that is a
// tracing program's first argument.
func storageOfFirstArgument(storage int) asm.Instructions {
	return asm.Instructions{
		asm.LoadMem(asm.R2, asm.R1, 0, asm.DWord),
		asm.LoadMapPtr(asm.R1, storage),
		asm.Mov.Imm(asm.R3, 0),
		asm.Mov.Imm(asm.R4, 1), // BPF_SK_STORAGE_GET_F_CREATE
		asm.FnSkStorageGet.Call(),
		asm.JEq.Imm(asm.R0, 0, "out"),
	}
}

// An iterator walks all objects of a kind; its program counts those in the
// context's field at that offset.
type iterator struct {
	feature Feature
	target  string
	field   int16
	call    asm.BuiltinFunc // must find something; 0: none
}

func iterators() []iterator {
	return []iterator{
		{feature: TaskIterator, target: "task", field: 8},
		{feature: FileIterator, target: "task_file", field: 24, call: asm.FnSockFromFile},
		{feature: StorageIterator, target: "bpf_sk_storage_map", field: 24},
	}
}

func (i iterator) spec(counts int) *ebpf.ProgramSpec {
	body := asm.Instructions{
		asm.LoadMem(asm.R1, asm.R1, i.field, asm.DWord),
		asm.JEq.Imm(asm.R1, 0, "out"), // the last call has no object
	}
	if i.call != 0 {
		body = append(body, notZero(i.call)...)
	}
	return counting(&ebpf.ProgramSpec{Type: ebpf.Tracing, AttachType: ebpf.AttachTraceIter, AttachTo: i.target},
		i.feature, body, counts, 0)
}
