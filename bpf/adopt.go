package bpf

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// claimOwned is CLAIM_OWNED of headers/sock.h.
const claimOwned = 3

// adoptSockets gives open sockets their owners where no iterator can: it takes
// a copy of each process's socket descriptors for a moment and writes the state
// that the programs will find. Base lines are theirs: the first packet that
// they see of an adopted socket sets them. A process or descriptor that goes
// away meanwhile, or that even root may not look into, is passed over.
func (k *Kernel) adoptSockets() error {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &now); err != nil {
		return fmt.Errorf("read the clock: %w", err)
	}
	var failed error
	err := k.Processes(func(r *ExecRecord) {
		if failed != nil || r.Flags&ExecKThread != 0 {
			return
		}
		state := countersSockState{
			Claim: claimOwned, Existing: 1, First: uint64(now.Nano()),
			Netns: r.Netns, Uid: r.Uid, Comm: r.Comm, Result: ResultEstablished,
		}
		state.Owner.Start, state.Owner.Pid, state.Owner.Exec = r.Id.Start, r.Id.Pid, r.Id.Exec
		failed = k.adoptFrom(int(r.Id.Pid), state)
	})
	return errors.Join(err, failed)
}

func (k *Kernel) adoptFrom(pid int, state countersSockState) error {
	dir := "/proc/" + strconv.Itoa(pid) + "/fd"
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil // gone
	}
	process := -1
	for _, entry := range entries {
		target, err := os.Readlink(dir + "/" + entry.Name())
		if err != nil || !strings.HasPrefix(target, "socket:") {
			continue
		}
		if process < 0 {
			if process, err = unix.PidfdOpen(pid, 0); err != nil {
				return nil // gone
			}
			defer unix.Close(process)
		}
		number, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		socket, err := unix.PidfdGetfd(process, number, 0)
		if err != nil {
			continue // closed meanwhile, or guarded
		}
		err = k.adoptOne(socket, state)
		unix.Close(socket)
		if err != nil {
			return err
		}
	}
	return nil
}

// adoptOne writes the state of one socket, unless the programs have.
func (k *Kernel) adoptOne(socket int, state countersSockState) error {
	family, err := unix.GetsockoptInt(socket, unix.SOL_SOCKET, unix.SO_DOMAIN)
	if err != nil || family != unix.AF_INET && family != unix.AF_INET6 {
		return nil
	}
	proto, err := unix.GetsockoptInt(socket, unix.SOL_SOCKET, unix.SO_PROTOCOL)
	if err != nil {
		return fmt.Errorf("read a socket's protocol: %w", err)
	}
	kind, err := unix.GetsockoptInt(socket, unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil {
		return fmt.Errorf("read a socket's type: %w", err)
	}
	if state.Cookie, err = unix.GetsockoptUint64(socket, unix.SOL_SOCKET, unix.SO_COOKIE); err != nil {
		return fmt.Errorf("read a socket's cookie: %w", err)
	}
	state.Family, state.Proto = uint16(family), uint16(proto)
	if proto == unix.IPPROTO_TCP || proto == unix.IPPROTO_MPTCP {
		state.Stream = 1
	}
	if kind == unix.SOCK_RAW || proto == unix.IPPROTO_ICMP || proto == unix.IPPROTO_ICMPV6 {
		state.Raw = 1
	}
	listens, err := unix.GetsockoptInt(socket, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	if err == nil && listens != 0 && state.Stream != 0 {
		state.Kind, state.Result, state.Told = FlowListen, ResultListening, 1
		state.Laddr, state.Lport = localAddress(socket)
	}
	err = k.coll.Maps["sockets"].Update(uint32(socket), &state, ebpf.UpdateNoExist)
	switch {
	case errors.Is(err, ebpf.ErrKeyExist):
		return nil
	case err != nil:
		return fmt.Errorf("give a socket its owner: %w", err)
	case state.Kind == FlowListen:
		k.adopted.add(&state)
	}
	return nil
}

// localAddress returns what a socket is bound to, IPv4 as v4-mapped and zero
// for any.
func localAddress(socket int) (addr [16]uint8, port uint16) {
	bound, err := unix.Getsockname(socket)
	if err != nil {
		return addr, 0
	}
	switch bound := bound.(type) {
	case *unix.SockaddrInet4:
		if at := netip.AddrFrom4(bound.Addr); !at.IsUnspecified() {
			addr = at.As16()
		}
		return addr, uint16(bound.Port)
	case *unix.SockaddrInet6:
		return bound.Addr, uint16(bound.Port)
	}
	return addr, 0
}

// adopted are listeners that no packet will show: the next Drain tells them.
type adopted struct {
	mu    sync.Mutex
	flows []Flow // guarded by mu
}

func (a *adopted) add(state *countersSockState) {
	var f Flow
	f.Key.Id.Start, f.Key.Id.Pid, f.Key.Id.Exec = state.Owner.Start, state.Owner.Pid, state.Owner.Exec
	f.Key.Cookie, f.Key.Proto, f.Key.Kind = state.Cookie, state.Proto, state.Kind
	f.Value.First, f.Value.Last = state.First, state.First
	f.Value.Laddr, f.Value.Lport, f.Value.Family = state.Laddr, state.Lport, state.Family
	f.Value.Netns, f.Value.Uid, f.Value.Comm = state.Netns, state.Uid, state.Comm
	f.Value.Result, f.Value.Flags = state.Result, FlowExisting
	a.mu.Lock()
	defer a.mu.Unlock()
	a.flows = append(a.flows, f)
}

// take returns what was not told yet.
func (a *adopted) take() []Flow {
	a.mu.Lock()
	defer a.mu.Unlock()
	flows := a.flows
	a.flows = nil
	return flows
}
