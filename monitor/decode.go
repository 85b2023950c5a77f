package monitor

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"unsafe"

	"snitch/bpf"
	"snitch/monitor/event"
)

// wakeRecord asks for an early drain.
type wakeRecord struct{}

// errShort says that a record ended before its type does.
var errShort = errors.New("record is too short")

// decode reads one record of the ring. Strings and data are copied, except for
// a payload's Data, which is valid as long as raw is.
func decode(raw []byte) (any, error) {
	var hdr bpf.Record
	if _, err := fixed(raw, &hdr); err != nil {
		return nil, err
	}
	switch hdr.Type {
	case bpf.RecordExec:
		e, err := decodeExec(raw)
		if err != nil {
			return nil, err
		}
		return e, nil
	case bpf.RecordFork:
		var r bpf.ForkRecord
		if _, err := fixed(raw, &r); err != nil {
			return nil, err
		}
		return event.Fork{Child: processID(r.Child), Parent: processID(r.Parent), Boot: r.Hdr.Time, UID: r.Uid, Comm: text(r.Comm[:])}, nil
	case bpf.RecordExit:
		var r bpf.ExitRecord
		if _, err := fixed(raw, &r); err != nil {
			return nil, err
		}
		return event.Exit{ID: processID(r.Id), Boot: r.Hdr.Time}, nil
	case bpf.RecordPayload:
		p, err := decodePayload(raw)
		if err != nil {
			return nil, err
		}
		return p, nil
	case bpf.RecordWake:
		return wakeRecord{}, nil
	}
	return nil, fmt.Errorf("record type %d is unknown", hdr.Type)
}

// fixed reads the leading T of raw and returns what follows it. T is a struct
// of C's layout without pointers.
func fixed[T any](raw []byte, into *T) (rest []byte, err error) {
	size := int(unsafe.Sizeof(*into))
	if len(raw) < size {
		return nil, fmt.Errorf("%w: %d bytes, want %d", errShort, len(raw), size)
	}
	copy(unsafe.Slice((*byte)(unsafe.Pointer(into)), size), raw)
	return raw[size:], nil
}

func decodeExec(raw []byte) (event.Exec, error) {
	var r bpf.ExecRecord
	rest, err := fixed(raw, &r)
	if err != nil {
		return event.Exec{}, err
	}
	if int(r.ArgsLen) > len(rest) {
		return event.Exec{}, fmt.Errorf("%w: %d bytes of arguments, want %d", errShort, len(rest), r.ArgsLen)
	}
	e := execEvent(&r)
	e.Args = arguments(rest[:r.ArgsLen])
	return e, nil
}

// execEvent is r without its arguments.
func execEvent(r *bpf.ExecRecord) event.Exec {
	e := event.Exec{
		ID: processID(r.Id), Boot: r.Hdr.Time, Parent: processID(r.Parent), UID: r.Uid, GID: r.Gid, CgroupID: r.Cgroup,
		NetNS: r.Netns, MountNS: r.Mntns, PIDNS: r.Pidns,
		File:  fileID(&r.File),
		Links: r.Nlink, MemFD: r.Flags&bpf.ExecMemFD != 0,
		Filename: text(r.Filename[:]), Interp: text(r.Interp[:]), Comm: text(r.Comm[:]),
		ArgsCut: r.Flags&bpf.ExecArgsCut != 0, NodeCut: r.Flags&bpf.ExecNodeCut != 0,
	}
	if e.Interp == "" { // the kernel side leaves it out when it is the same
		e.Interp = e.Filename
	}
	return e
}

// fileID is zero for a process without a file.
func fileID(f *bpf.FileId) event.FileID {
	return event.FileID{Dev: f.Dev, Inode: f.Inode, Size: f.Size, Mtime: f.Mtime, Ctime: f.Ctime,
		Generation: f.Generation, HasGeneration: *f != bpf.FileId{}}
}

// snapshot is a process that was there at start.
func snapshot(r *bpf.ExecRecord) event.Snapshot {
	return event.Snapshot{Exec: execEvent(r), KernelThread: r.Flags&bpf.ExecKThread != 0}
}

// arguments splits what the kernel keeps as one NUL-ended string each. A last
// one without NUL was cut.
func arguments(b []byte) []string {
	if len(b) == 0 {
		return nil
	}
	parts := bytes.Split(bytes.TrimSuffix(b, []byte{0}), []byte{0})
	args := make([]string, len(parts))
	for i, p := range parts {
		args[i] = string(p)
	}
	return args
}

func decodePayload(raw []byte) (event.Payload, error) {
	var r bpf.PayloadRecord
	rest, err := fixed(raw, &r)
	if err != nil {
		return event.Payload{}, err
	}
	if int(r.DataLen) > len(rest) {
		return event.Payload{}, fmt.Errorf("%w: %d bytes of payload, want %d", errShort, len(rest), r.DataLen)
	}
	return event.Payload{
		Kind: event.PayloadKind(r.Kind), ID: processID(r.Id), Cookie: r.Cookie, Boot: r.Hdr.Time, Proto: r.Proto, NetNS: r.Netns,
		Local: address(r.Laddr, r.Lport), Remote: address(r.Raddr, r.Rport),
		Seq: r.Seq, Length: r.WireLen, Data: rest[:r.DataLen],
	}, nil
}

// flow converts one delta.
func flow(f *bpf.Flow) event.Flow {
	v := &f.Value
	local := address(v.Laddr, v.Lport)
	if v.Family == event.AFInet && local.Addr() == netip.IPv6Unspecified() { // the kernel's zero has no family
		local = netip.AddrPortFrom(netip.IPv4Unspecified(), local.Port())
	}
	return event.Flow{
		FlowKey: event.FlowKey{ID: processID(f.Key.Id), Cookie: f.Key.Cookie, Remote: address(f.Key.Raddr, f.Key.Rport),
			Proto: f.Key.Proto, Kind: event.FlowKind(f.Key.Kind)},
		Family: v.Family, Local: local,
		Sent: v.Sent, Received: v.Received, SentOps: v.SentOps, RecvOps: v.RecvOps,
		FirstBoot: v.First, LastBoot: v.Last, CgroupID: v.Cgroup, NetNS: v.Netns, UID: v.Uid, Comm: text(v.Comm[:]),
		Result:    event.Result(v.Result),
		RecvFirst: v.Flags&bpf.FlowRecvFirst != 0, Closed: v.Flags&bpf.FlowClosed != 0, Existing: v.Flags&bpf.FlowExisting != 0,
	}
}

func processID(id bpf.ProcessId) event.ProcessID {
	return event.ProcessID{PID: id.Pid, Exec: id.Exec, Start: id.Start}
}

// address is invalid for the kernel's "none": no address and no port.
func address(a [16]byte, port uint16) netip.AddrPort {
	if a == ([16]byte{}) && port == 0 {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(netip.AddrFrom16(a).Unmap(), port)
}

// text is a C string in a fixed field; without NUL it fills the field.
func text(b []int8) string {
	bytes := unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(b))), len(b))
	for i, c := range bytes {
		if c == 0 {
			return string(bytes[:i])
		}
	}
	return string(bytes)
}
