package verdict

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"

	"snitch/bpf"
)

// cutLocked destroys the connections that the tables in use forbid. Their
// programs get ECONNABORTED; until then no packet of theirs leaves.
func (b *Backend) cutLocked(ctx context.Context) {
	doomed := map[uint32][]bpf.VerdictEvent{} // by network namespace
	err := b.kernel.Forbidden(func(e *bpf.VerdictEvent) { doomed[e.Netns] = append(doomed[e.Netns], *e) })
	b.problem("look for forbidden connections", err)
	for netns, events := range doomed {
		if ctx.Err() != nil {
			return
		}
		n, err := destroyIn(netns, events)
		b.stats.cut.Add(uint64(n))
		b.problem("cut connections", err)
	}
}

// destroyIn destroys connections of one network namespace and returns how many
// were there.
func destroyIn(netns uint32, events []bpf.VerdictEvent) (n int, err error) {
	diag, err := diagIn(netns, events)
	if err != nil {
		return 0, err
	}
	defer unix.Close(diag)
	var errs []error
	for i := range events {
		switch err := destroy(diag, &events[i]); {
		case err == nil:
			n++
		case !errors.Is(err, unix.ENOENT): // else it ended by itself
			errs = append(errs, err)
		}
	}
	return n, errors.Join(errs...)
}

// diagIn opens a sock_diag socket in a network namespace: its own, or that of
// one of the processes.
func diagIn(netns uint32, events []bpf.VerdictEvent) (int, error) {
	own, err := namespaceOf("self")
	if err != nil {
		return -1, err
	}
	if own == netns {
		return openDiag()
	}
	for i := range events {
		pid := fmt.Sprint(events[i].Id.Pid)
		if there, err := namespaceOf(pid); err != nil || there != netns {
			continue
		}
		return openDiagOf(pid)
	}
	return -1, fmt.Errorf("find a process in network namespace %d: none of the owners is there", netns)
}

func namespaceOf(pid string) (uint32, error) {
	var st unix.Stat_t
	if err := unix.Stat("/proc/"+pid+"/ns/net", &st); err != nil {
		return 0, fmt.Errorf("look up network namespace of process %s: %w", pid, err)
	}
	return uint32(st.Ino), nil
}

func openDiag() (int, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return -1, fmt.Errorf("open sock_diag: %w", err)
	}
	return fd, nil
}

// openDiagOf opens one in the namespace of a process, on a thread that ends with
// it: a thread that cannot go back must not be used again.
func openDiagOf(pid string) (fd int, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked: the thread ends here
		var ns *os.File
		if ns, err = os.Open("/proc/" + pid + "/ns/net"); err != nil {
			return
		}
		defer ns.Close()
		if err = unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
			err = fmt.Errorf("enter network namespace of process %s: %w", pid, err)
			return
		}
		fd, err = openDiag()
	}()
	<-done
	return fd, err
}

// diagRequest is inet_diag_req_v2 behind its netlink header.
type diagRequest struct {
	header   unix.NlMsghdr
	family   uint8
	protocol uint8
	_        [2]uint8
	states   uint32
	sport    [2]byte // in network order, as the addresses
	dport    [2]byte
	src, dst [16]byte
	iface    uint32
	cookie   [2]uint32
}

const (
	sockDestroy   = 21
	everyState    = ^uint32(0)
	nlmsgHdrSize  = 16
	errnoInAnswer = nlmsgHdrSize
)

// destroy asks the kernel to abort one connection, named by ends and cookie.
func destroy(diag int, e *bpf.VerdictEvent) error {
	r := diagRequest{family: uint8(e.Family), protocol: uint8(e.Proto), states: everyState,
		cookie: [2]uint32{uint32(e.Cookie), uint32(e.Cookie >> 32)}}
	r.header = unix.NlMsghdr{Len: uint32(unsafe.Sizeof(r)), Type: sockDestroy, Flags: unix.NLM_F_REQUEST | unix.NLM_F_ACK}
	binary.BigEndian.PutUint16(r.sport[:], e.Lport)
	binary.BigEndian.PutUint16(r.dport[:], e.Rport)
	r.src, r.dst = e.Laddr, e.Raddr
	if e.Family == unix.AF_INET {
		copy(r.src[:4], e.Laddr[12:])
		copy(r.dst[:4], e.Raddr[12:])
	}
	request := unsafe.Slice((*byte)(unsafe.Pointer(&r)), unsafe.Sizeof(r))
	if err := unix.Sendto(diag, request, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return fmt.Errorf("ask to destroy a connection: %w", err)
	}
	var answer [256]byte
	n, _, err := unix.Recvfrom(diag, answer[:], 0)
	if err != nil || n < errnoInAnswer+4 {
		return fmt.Errorf("read answer to destroying a connection: %w", errors.Join(err, unix.EBADMSG))
	}
	if errno := -int32(binary.NativeEndian.Uint32(answer[errnoInAnswer:])); errno != 0 {
		return fmt.Errorf("destroy a connection: %w", unix.Errno(errno))
	}
	return nil
}
