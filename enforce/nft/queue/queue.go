package queue

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"snitch/enforce/netns"
)

// Verdict is what becomes of a packet.
type Verdict uint8

// Verdicts.
const (
	Invalid Verdict = 0
	Allow   Verdict = 1 // it goes on, through the chains behind this one
	Deny    Verdict = 2 // it begins its chain again, marked to be rejected there
)

// String is the verdict's name.
func (v Verdict) String() string {
	if v > Deny {
		v = Invalid
	}
	return [...]string{"invalid", "allow", "deny"}[v]
}

// Config is what a Queue is made for.
type Config struct {
	Number     uint16        // of the queue, as the rule that fills it has it
	NetNS      int           // open descriptor of the network namespace, 0: the present one
	MaxLen     uint32        // packets that wait at most; 0: 1024
	CopyRange  uint32        // bytes of a packet that are shown; 0: 256, at most 65,535
	FailOpen   bool          // what does not fit passes, else it is dropped
	Deadline   time.Duration // of one packet
	AtDeadline Verdict       // of what nobody decided by then
	DenyMark   uint32        // bits set in the mark of what is denied
}

// Decide answers for a packet. It is called from many goroutines, and returns
// soon after ctx ended: the packet has its answer by then. What it returns that
// is neither Allow nor Deny counts as AtDeadline.
type Decide func(ctx context.Context, p *Packet) Verdict

// Stats are counters since Open.
type Stats struct {
	Received, Allowed, Denied uint64
	Expired                   uint64 // of those, answered by the deadline
	Late                      uint64 // decisions that came after it
	Overrun                   uint64 // answered by AtDeadline because too many decisions still ran
	Malformed                 uint64 // messages of the kernel that could not be read
	Lost                      uint64 // times that the kernel had no room for messages to this process
	Unsent                    uint64 // verdicts that the kernel did not take
	Dropped                   uint64 // packets that did not fit the queue, as the kernel counts them
	Waiting                   int    // held now
}

// Queue reads one queue. Its methods are safe for concurrent use.
type Queue struct {
	cfg    Config
	decide Decide
	sock   *os.File
	raw    syscall.RawConn
	proc   *os.File // the kernel's own counters, in the namespace of the queue
	ctx    context.Context
	cancel context.CancelFunc
	work   sync.WaitGroup
	close  sync.Once
	run    chan struct{} // one token for each decision that runs
	early  [][]byte      // packets that came while the queue was configured

	received, allowed, denied, expired, late, overrun, malformed, lost, unsent atomic.Uint64

	mu   sync.Mutex
	held map[*Packet]struct{}
}

const (
	defaultMaxLen    = 1024
	defaultCopyRange = 256
	receiveBuffer    = 16 << 20  // bytes
	largest          = 128 << 10 // bytes of a message: CopyRange is bounded
)

// Open binds to a queue and begins to answer. ENOENT or EPROTONOSUPPORT mean
// that the kernel has no NFQUEUE, EBUSY or EPERM that the queue has a reader.
func Open(cfg Config, decide Decide) (*Queue, error) {
	if cfg.MaxLen == 0 {
		cfg.MaxLen = defaultMaxLen
	}
	if cfg.CopyRange == 0 {
		cfg.CopyRange = defaultCopyRange
	}
	cfg.CopyRange = min(cfg.CopyRange, 0xffff)
	if cfg.Deadline <= 0 || cfg.AtDeadline != Allow && cfg.AtDeadline != Deny {
		return nil, errors.New("open queue: it needs a deadline, and allow or deny for what passes it")
	}
	q := &Queue{cfg: cfg, decide: decide, held: map[*Packet]struct{}{}, run: make(chan struct{}, cfg.MaxLen)}
	if err := netns.Do(cfg.NetNS, q.open); err != nil {
		return nil, fmt.Errorf("open queue %d: %w", cfg.Number, errors.Join(err, q.release()))
	}
	q.ctx, q.cancel = context.WithCancel(context.Background())
	q.work.Go(q.read)
	return q, nil
}

// open makes the descriptors, which belong to the namespace of the thread.
func (q *Queue) open() error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
	if err != nil {
		return fmt.Errorf("open netfilter: %w", err)
	}
	if q.early, err = bind(fd, &q.cfg); err == nil {
		err = unix.SetNonblock(fd, true)
	}
	if err != nil {
		return errors.Join(err, unix.Close(fd))
	}
	q.sock = os.NewFile(uintptr(fd), "nfqueue")
	if q.raw, err = q.sock.SyscallConn(); err != nil {
		return fmt.Errorf("poll netfilter: %w", err)
	}
	if q.proc, err = os.Open("/proc/thread-self/net/netfilter/nfnetlink_queue"); err != nil {
		return fmt.Errorf("open counters: %w", err)
	}
	return nil
}

func (q *Queue) release() (err error) {
	if q.sock != nil {
		err = q.sock.Close()
	}
	if q.proc != nil {
		err = errors.Join(err, q.proc.Close())
	}
	return err
}

// bind configures the queue; the socket blocks still. What makes packets come
// is last; early are those that are faster than the answer to it.
func bind(fd int, cfg *Config) (early [][]byte, err error) {
	err = errors.Join(unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer),
		unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}))
	if err != nil {
		return nil, fmt.Errorf("prepare netfilter socket: %w", err)
	}
	flags := uint32(flagGSO | flagUID)
	if cfg.FailOpen {
		flags |= flagFailOpen
	}
	attrs := [][]byte{
		appendAttr(nil, cfgCommand, commandBind, 0, 0, 0),
		appendAttr(nil, cfgMaxLen, be32(cfg.MaxLen)...),
		append(appendAttr(nil, cfgFlags, be32(flags)...), appendAttr(nil, cfgMask, be32(flagGSO|flagUID|flagFailOpen)...)...),
		appendAttr(nil, cfgParams, append(be32(cfg.CopyRange), copyPacket)...),
	}
	for _, a := range attrs {
		if early, err = configure(fd, append(appendMessage(nil, msgConfig, unix.NLM_F_ACK, cfg.Number), a...)); err != nil {
			return nil, fmt.Errorf("configure: %w", err)
		}
	}
	return early, nil
}

// configure sends one message, waits for its answer, and returns what else came.
func configure(fd int, message []byte) (early [][]byte, err error) {
	if err := unix.Sendto(fd, finish(message), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return nil, err
	}
	b := make([]byte, largest)
	for {
		n, from, err := unix.Recvfrom(fd, b, 0)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return nil, err
		case !ofKernel(from) || n < nlHeader+4:
		case binary.NativeEndian.Uint16(b[4:]) != unix.NLMSG_ERROR:
			early = append(early, bytes.Clone(b[:n]))
		default:
			if errno := -int32(binary.NativeEndian.Uint32(b[nlHeader:])); errno != 0 {
				return nil, unix.Errno(errno)
			}
			return early, nil
		}
	}
}

func ofKernel(from unix.Sockaddr) bool {
	k, ok := from.(*unix.SockaddrNetlink)
	return ok && k.Pid == 0
}

// Close answers what waits by AtDeadline, ends the reader and the decisions, and
// unbinds. Remove the rule that fills the queue first: the kernel drops packets
// that come between. Closing again does nothing.
func (q *Queue) Close() (err error) {
	q.close.Do(func() {
		q.cancel()
		for _, p := range q.waiting() {
			q.answer(p, q.cfg.AtDeadline)
		}
		err = q.sock.Close()
		q.work.Wait()
		err = errors.Join(err, q.proc.Close())
	})
	return err
}

func (q *Queue) waiting() (out []*Packet) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for p := range q.held {
		out = append(out, p)
	}
	return out
}
