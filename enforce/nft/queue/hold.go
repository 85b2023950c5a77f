package queue

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// read takes packets from the kernel until the socket is closed.
func (q *Queue) read() {
	for _, message := range q.early {
		q.messages(message)
	}
	b := make([]byte, largest)
	for {
		var n int
		var from unix.Sockaddr
		var err error
		if closed := q.raw.Read(func(fd uintptr) bool {
			n, from, err = unix.Recvfrom(int(fd), b, 0)
			return !errors.Is(err, unix.EAGAIN)
		}); closed != nil {
			return
		}
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			q.lost.Add(1) // ENOBUFS: the kernel dropped messages, and the packets with them
		case ofKernel(from):
			q.messages(b[:n])
		}
	}
}

func (q *Queue) messages(b []byte) {
	for len(b) >= nlHeader {
		size := int(binary.NativeEndian.Uint32(b))
		if size < nlHeader || size > len(b) {
			q.malformed.Add(1)
			return
		}
		switch kind := binary.NativeEndian.Uint16(b[4:]); {
		case kind == msgPacket && size >= nlHeader+nfHeader:
			p, err := parse(b[nlHeader+nfHeader : size])
			if err != nil {
				q.malformed.Add(1)
				break
			}
			q.received.Add(1)
			q.hold(p)
		case kind == unix.NLMSG_ERROR:
			q.unsent.Add(1) // of a verdict: nothing else asks
		}
		b = b[min(len(b), (size+3)&^3):]
	}
}

// hold starts the decision about p.
func (q *Queue) hold(p *Packet) {
	q.mu.Lock()
	q.held[p] = struct{}{}
	q.mu.Unlock()
	select {
	case q.run <- struct{}{}:
		q.work.Go(func() { q.judge(p); <-q.run })
	default:
		if q.answer(p, q.cfg.AtDeadline) {
			q.overrun.Add(1)
		}
	}
}

// judge decides about p; the deadline answers for it if that takes too long.
func (q *Queue) judge(p *Packet) {
	ctx, cancel := context.WithCancel(q.ctx)
	defer cancel()
	deadline := time.AfterFunc(q.cfg.Deadline, func() {
		if q.answer(p, q.cfg.AtDeadline) {
			q.expired.Add(1)
		}
		cancel()
	})
	v := q.decide(ctx, p)
	deadline.Stop()
	if v != Allow && v != Deny {
		v = q.cfg.AtDeadline
	}
	if !q.answer(p, v) {
		q.late.Add(1)
	}
}

// answer gives the verdict, false if p has one already.
func (q *Queue) answer(p *Packet, v Verdict) bool {
	q.mu.Lock()
	_, waits := q.held[p]
	delete(q.held, p)
	q.mu.Unlock()
	if !waits {
		return false
	}
	message := appendMessage(make([]byte, 0, 64), msgVerdict, 0, q.cfg.Number)
	if v == Allow {
		q.allowed.Add(1)
		message = appendVerdict(message, verdictAccept, p.id)
	} else {
		q.denied.Add(1)
		message = appendVerdict(message, verdictRepeat, p.id)
		message = appendAttr(message, attrMark, be32(p.Mark|q.cfg.DenyMark)...)
	}
	finish(message)
	err := q.raw.Control(func(fd uintptr) {
		if err := unix.Sendto(int(fd), message, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
			q.unsent.Add(1)
		}
	})
	if err != nil {
		q.unsent.Add(1)
	}
	return true
}

func appendVerdict(to []byte, verdict, id uint32) []byte {
	return appendAttr(to, attrVerdict, append(be32(verdict), be32(id)...)...)
}

// Stats reads the counters, those of the kernel included.
func (q *Queue) Stats() (Stats, error) {
	s := Stats{Received: q.received.Load(), Allowed: q.allowed.Load(), Denied: q.denied.Load(), Expired: q.expired.Load(), Late: q.late.Load(),
		Overrun: q.overrun.Load(), Malformed: q.malformed.Load(), Lost: q.lost.Load(), Unsent: q.unsent.Load()}
	q.mu.Lock()
	s.Waiting = len(q.held)
	q.mu.Unlock()
	var err error
	s.Dropped, err = q.dropped()
	return s, err
}

// dropped is what the kernel dropped because the queue or the socket was full.
func (q *Queue) dropped() (uint64, error) {
	b, err := io.ReadAll(io.NewSectionReader(q.proc, 0, 1<<20))
	if err != nil {
		return 0, fmt.Errorf("read counters of queue %d: %w", q.cfg.Number, err)
	}
	for lines := bufio.NewScanner(bytes.NewReader(b)); lines.Scan(); {
		// number, reader, waiting, copy mode, copy range, dropped, dropped at the socket …
		f := strings.Fields(lines.Text())
		if len(f) < 7 || f[0] != strconv.Itoa(int(q.cfg.Number)) {
			continue
		}
		full, err1 := strconv.ParseUint(f[5], 10, 64)
		user, err2 := strconv.ParseUint(f[6], 10, 64)
		if err := errors.Join(err1, err2); err != nil {
			return 0, fmt.Errorf("read counters of queue %d: %w", q.cfg.Number, err)
		}
		return full + user, nil
	}
	return 0, fmt.Errorf("read counters of queue %d: the kernel does not list it", q.cfg.Number)
}
