package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"snitch/bpf/bpftest/report"
)

func streamGenerators() []generator {
	return []generator{
		{"stream", "connect, send by one way, receive by another", runStream},
		{"serve", "the peer: answers on any number of addresses until its standard input ends", runServe},
		{"many", "many small connections, one report line for all", runMany},
		{"self-stream", "client and server in one process and thread", runSelfStream},
	}
}

// stream is the client's side of one connection.
type stream struct {
	proto    string
	to       netip.AddrPort
	bind     netip.AddrPort
	six      bool // IPv6 socket, the address v4-mapped if need be
	fastOpen bool
	nonblock bool // connect without waiting, then poll
	sendWay  string
	recvWay  string
	order    order
	chunk    int
	pause    time.Duration // between connect and the first byte
	gate     int           // descriptor whose end is awaited behind the first bytes
	first    uint64        // bytes before the gate, which the flow does not count
}

func (s *stream) flags(f *flag.FlagSet) {
	f.StringVar(&s.proto, "proto", "tcp", "tcp, mptcp or sctp")
	f.TextVar(&s.to, "to", netip.AddrPort{}, "address of the server")
	f.TextVar(&s.bind, "bind", netip.AddrPort{}, "own address")
	f.BoolVar(&s.six, "six", false, "use an IPv6 socket also for an IPv4 address")
	f.BoolVar(&s.fastOpen, "fastopen", false, "send the first bytes with the SYN")
	f.BoolVar(&s.nonblock, "nonblock", false, "connect a non-blocking socket and poll for the end of it")
	f.StringVar(&s.sendWay, "send", "write", "way to send")
	f.StringVar(&s.recvWay, "recv", "read", "way to receive")
	f.Uint64Var(&s.order.total, "n", 100_003, "bytes to send")
	f.Uint64Var(&s.order.reply, "reply", 70_001, "bytes to ask for")
	f.BoolVar(&s.order.untilEOF, "half", false, "close the sending side before the answer")
	f.BoolVar(&s.order.stop, "unread", false, "the server leaves what follows the order unread")
	f.IntVar(&s.chunk, "chunk", 8192, "bytes in one call")
	f.IntVar(&s.gate, "gate", -1, "descriptor whose end is awaited behind -first bytes")
	f.Uint64Var(&s.first, "first", orderLen, "bytes in front of -gate, which are not reported")
	f.DurationVar(&s.pause, "pause", 0, "wait before the first byte")
}

func runStream(args []string) error {
	var s stream
	f := flags("stream")
	s.flags(f)
	return reported("stream", func(r *report.Report) error {
		if err := f.Parse(args); err != nil {
			return err
		}
		flow, err := s.run()
		r.Flows = append(r.Flows, flow)
		return err
	})
}

// run makes the connection and returns what happened also when it failed.
func (s *stream) run() (report.Flow, error) {
	fd, err := s.open()
	if err != nil {
		return report.Flow{}, err
	}
	defer unix.Close(fd)
	flow := s.flow(fd)
	first, err := s.connect(fd)
	if err != nil {
		return flow, err
	}
	at := local(fd)
	flow.LAddr, flow.LPort = at.Addr().String(), at.Port()
	flow.Sent += uint64(first)
	time.Sleep(s.pause)
	if s.gate >= 0 {
		return flow, s.gated(fd, &flow)
	}
	return flow, s.exchange(fd, uint64(first), &flow)
}

// gated sends the first bytes, waits until its gate opens, and reports only
// what comes behind: a monitor that starts meanwhile cannot know the rest.
func (s *stream) gated(fd int, flow *report.Flow) error {
	p := make([]byte, max(s.first, orderLen))
	fill(p, fromClient, 0)
	s.order.put(p)
	if err := sendAll(plain(unix.Write), fd, p); err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, os.NewFile(uintptr(s.gate), "gate")); err != nil {
		return fmt.Errorf("wait at the gate: %w", err)
	}
	return s.exchange(fd, uint64(len(p)), flow)
}

func (s *stream) flow(fd int) report.Flow {
	fl := report.Flow{Proto: s.proto, Family: familyName(family(s.to.Addr())), Direction: "out",
		RAddr: s.to.Addr().Unmap().String(), RPort: s.to.Port(), NetNS: socketNamespace(fd), Result: "closed"}
	if s.six && s.to.Addr().Is4() {
		fl.Family = ""
	}
	return fl
}

func (s *stream) open() (int, error) {
	fd, err := openSocket(s.domain(), s.proto)
	if err != nil || !s.bind.IsValid() {
		return fd, err
	}
	if err := unix.Bind(fd, sockaddr(s.domain(), s.bind)); err != nil {
		return -1, errors.Join(fmt.Errorf("bind: %w", err), unix.Close(fd))
	}
	return fd, nil
}

func (s *stream) domain() int {
	if s.six {
		return unix.AF_INET6
	}
	return family(s.to.Addr())
}

// connect returns how many bytes went out with the SYN.
func (s *stream) connect(fd int) (int, error) {
	sa := sockaddr(s.domain(), s.to)
	if s.nonblock {
		return 0, connectNonblock(fd, sa)
	}
	if !s.fastOpen {
		if err := unix.Connect(fd, sa); err != nil {
			return 0, fmt.Errorf("connect: %w", err)
		}
		return 0, nil
	}
	head := make([]byte, orderLen)
	s.order.put(head)
	n, err := unix.SendmsgN(fd, head, nil, sa, unix.MSG_FASTOPEN)
	if err != nil {
		return 0, fmt.Errorf("fast open: %w", err)
	}
	if n != orderLen {
		return n, fmt.Errorf("fast open took %d of %d bytes", n, orderLen)
	}
	return n, nil
}

// connectNonblock connects as event loops do, and leaves the socket blocking.
func connectNonblock(fd int, sa unix.Sockaddr) error {
	if err := unix.SetNonblock(fd, true); err != nil {
		return fmt.Errorf("make non-blocking: %w", err)
	}
	if err := unix.Connect(fd, sa); err != nil && !errors.Is(err, unix.EINPROGRESS) {
		return fmt.Errorf("connect: %w", err)
	}
	for {
		_, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}, -1)
		if err == nil {
			break
		}
		if !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("poll: %w", err)
		}
	}
	errno, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err != nil {
		return fmt.Errorf("read SO_ERROR: %w", err)
	}
	if errno != 0 {
		return fmt.Errorf("connect: %w", unix.Errno(errno))
	}
	return unix.SetNonblock(fd, false)
}

// exchange sends what is left of the order and checks the answer.
func (s *stream) exchange(fd int, done uint64, flow *report.Flow) (err error) {
	out, err := newSender(s.sendWay)
	if err != nil {
		return err
	}
	defer out.Close()
	in, err := newReceiver(s.recvWay)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	p := make([]byte, max(s.chunk, orderLen))
	for done < s.order.total {
		n := min(uint64(len(p)), s.order.total-done)
		fill(p[:n], fromClient, done)
		if done == 0 {
			s.order.put(p)
		}
		if err := sendAll(out, fd, p[:n]); err != nil {
			return err
		}
		done += n
		flow.Sent += n
	}
	if s.order.untilEOF {
		if err := unix.Shutdown(fd, unix.SHUT_WR); err != nil {
			return fmt.Errorf("half close: %w", err)
		}
	}
	return s.answer(in, fd, p, flow)
}

func (s *stream) answer(in receiver, fd int, p []byte, flow *report.Flow) error {
	for flow.Received < s.order.reply {
		want := min(uint64(len(p)), s.order.reply-flow.Received)
		n, err := in.recv(fd, p[:want])
		if err != nil {
			return fmt.Errorf("receive: %w", err)
		}
		if n == 0 {
			return fmt.Errorf("the answer ends after %d of %d bytes", flow.Received, s.order.reply)
		}
		if s.recvWay != "trunc" {
			if err := check(p[:n], fromServer, flow.Received); err != nil {
				return err
			}
		}
		flow.Received += uint64(n)
	}
	if s.order.untilEOF {
		return endOfStream(in, fd)
	}
	return nil
}

// answerStream is the server's side: it reads an order, what follows it, and
// sends the reply; then it waits for the client to close.
func answerStream(out sender, in receiver, blind bool, fd int, flow *report.Flow) error {
	p := make([]byte, 16<<10)
	head := p[:0]
	for len(head) < orderLen {
		n, err := in.recv(fd, p[len(head):orderLen])
		if err != nil || n == 0 {
			return errors.Join(err, fmt.Errorf("the order ends after %d bytes", len(head)))
		}
		head = p[:len(head)+n]
		flow.Received += uint64(n)
	}
	o, err := readOrder(head)
	if err != nil {
		return err
	}
	for !o.stop && flow.Received < o.total {
		n, err := in.recv(fd, p[:min(uint64(len(p)), o.total-flow.Received)])
		if err != nil || n == 0 {
			return errors.Join(err, fmt.Errorf("the stream ends after %d of %d bytes", flow.Received, o.total))
		}
		if !blind {
			if err := check(p[:n], fromClient, flow.Received); err != nil {
				return err
			}
		}
		flow.Received += uint64(n)
	}
	if o.untilEOF {
		if err := endOfStream(in, fd); err != nil {
			return err
		}
	}
	if err := reply(out, fd, o.reply, flow, p); err != nil {
		return err
	}
	if o.untilEOF || o.stop {
		return nil
	}
	return endOfStream(in, fd)
}

func reply(out sender, fd int, total uint64, flow *report.Flow, p []byte) error {
	for flow.Sent < total {
		n := min(uint64(len(p)), total-flow.Sent)
		fill(p[:n], fromServer, flow.Sent)
		if err := sendAll(out, fd, p[:n]); err != nil {
			return err
		}
		flow.Sent += n
	}
	return nil
}

func endOfStream(in receiver, fd int) error {
	var one [1]byte
	n, err := in.recv(fd, one[:])
	if err != nil {
		return fmt.Errorf("wait for the end: %w", err)
	}
	if n != 0 {
		return errors.New("bytes behind the end")
	}
	return nil
}

// socketNamespace is the inode of the namespace that the socket lives in, 0
// when the kernel does not say.
func socketNamespace(fd int) uint64 {
	ns, err := unix.IoctlRetInt(fd, unix.SIOCGSKNS)
	if err != nil {
		return 0
	}
	defer unix.Close(ns)
	var st unix.Stat_t
	if err := unix.Fstat(ns, &st); err != nil {
		return 0
	}
	return st.Ino
}
