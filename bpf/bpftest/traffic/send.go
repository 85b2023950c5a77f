package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

func senders() map[string]func() (sender, error) {
	stateless := func(f plain) func() (sender, error) { return func() (sender, error) { return f, nil } }
	return map[string]func() (sender, error){
		"write":         stateless(unix.Write),
		"writev":        stateless(sendWritev),
		"send":          stateless(func(fd int, p []byte) (int, error) { return unix.SendmsgN(fd, p, nil, nil, 0) }),
		"send-more":     stateless(sendMore),
		"sendto":        stateless(sendTo),
		"sendmsg":       stateless(sendMsgVector),
		"sendmmsg":      stateless(sendMmsg),
		"sendfile":      func() (sender, error) { return newFileSender() },
		"splice":        func() (sender, error) { return newPipeSender(false) },
		"vmsplice":      func() (sender, error) { return newPipeSender(true) },
		"zerocopy":      func() (sender, error) { return new(zeroCopySender), nil },
		"ktls":          func() (sender, error) { return &kernelTLS{direction: tlsTX}, nil },
		"uring-send":    ringSender(0, prepareSend),
		"uring-write":   ringSender(0, prepareWrite),
		"uring-sendmsg": ringSender(0, prepareSendmsg),
		"uring-sendzc":  ringSender(0, prepareSendZC),
		"uring-sqpoll":  ringSender(setupSQPoll, prepareSend),
		"uring-fixed":   ringFixedSender,
	}
}

// parts cuts p into up to n pieces, none empty.
func parts(p []byte, n int) [][]byte {
	var out [][]byte
	for ; n > 1 && len(p) > 1; n-- {
		k := max(1, len(p)/n)
		out, p = append(out, p[:k]), p[k:]
	}
	return append(out, p)
}

func sendWritev(fd int, p []byte) (int, error) { return unix.Writev(fd, parts(p, 3)) }

func sendMsgVector(fd int, p []byte) (int, error) {
	return unix.SendmsgBuffers(fd, parts(p, 3), nil, nil, 0)
}

// sendTo is sendto(2) without an address.
func sendTo(fd int, p []byte) (int, error) {
	n, _, errno := unix.Syscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)), 0, 0, 0)
	return result(n, errno)
}

func result(n uintptr, errno unix.Errno) (int, error) {
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

// sendMore announces more with its first half and sends the second at once.
func sendMore(fd int, p []byte) (int, error) {
	half := len(p) / 2
	if half == 0 {
		return unix.SendmsgN(fd, p, nil, nil, 0)
	}
	n, err := unix.SendmsgN(fd, p[:half], nil, nil, unix.MSG_MORE)
	if err != nil || n < half {
		return n, err
	}
	m, err := unix.SendmsgN(fd, p[half:], nil, nil, 0)
	return n + m, err
}

// mmsghdr is struct mmsghdr.
type mmsghdr struct {
	hdr unix.Msghdr
	len uint32
	_   [4]byte
}

// messages makes one message of each piece; the pieces stay referenced by the
// returned vectors, which the caller keeps alive.
func messages(pieces [][]byte) ([]mmsghdr, []unix.Iovec) {
	vectors := make([]unix.Iovec, len(pieces))
	msgs := make([]mmsghdr, len(pieces))
	for i, piece := range pieces {
		if len(piece) > 0 {
			vectors[i].Base = &piece[0]
		}
		vectors[i].SetLen(len(piece))
		msgs[i].hdr.Iov = &vectors[i]
		msgs[i].hdr.SetIovlen(1)
	}
	return msgs, vectors
}

func mmsg(call uintptr, fd int, msgs []mmsghdr, flags int) (int, error) {
	n, _, errno := unix.Syscall6(call, uintptr(fd), uintptr(unsafe.Pointer(&msgs[0])), uintptr(len(msgs)), uintptr(flags), 0, 0)
	return result(n, errno)
}

// sendMmsg sends p as three messages; on a stream the kernel may stop early.
func sendMmsg(fd int, p []byte) (int, error) {
	pieces := parts(p, 3)
	msgs, vectors := messages(pieces)
	done, err := mmsg(unix.SYS_SENDMMSG, fd, msgs, 0)
	if err != nil {
		return 0, err
	}
	total := 0
	for i := range done {
		total += int(msgs[i].len)
		if int(msgs[i].len) < len(pieces[i]) {
			if i != done-1 {
				return 0, errors.New("sendmmsg went on behind a short message")
			}
			break
		}
	}
	_ = vectors
	return total, nil
}

// fileSender puts the bytes into a file in memory and sends them from there.
// The socket keeps the file's pages until the peer has them: the file grows,
// and no page of it is written twice.
type fileSender struct {
	file *os.File
	at   int64
}

func newFileSender() (sender, error) {
	fd, err := unix.MemfdCreate("traffic", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make file: %w", err)
	}
	return &fileSender{file: os.NewFile(uintptr(fd), "traffic")}, nil
}

func (s *fileSender) send(fd int, p []byte) (int, error) {
	if _, err := s.file.WriteAt(p, s.at); err != nil {
		return 0, err
	}
	offset := s.at
	s.at += int64(len(p))
	return unix.Sendfile(fd, int(s.file.Fd()), &offset, len(p))
}

func (s *fileSender) Close() error { return s.file.Close() }

// pipeSender writes into a pipe (or lends it the pages) and splices from the
// pipe into the socket.
type pipeSender struct {
	r, w *os.File
	lend bool
}

func newPipeSender(lend bool) (sender, error) {
	r, w, err := blockingPipe()
	return &pipeSender{r: r, w: w, lend: lend}, err
}

// blockingPipe avoids os.Pipe, which hands the ends to the network poller.
func blockingPipe() (r, w *os.File, err error) {
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		return nil, nil, fmt.Errorf("make pipe: %w", err)
	}
	return os.NewFile(uintptr(p[0]), "pipe"), os.NewFile(uintptr(p[1]), "pipe"), nil
}

func (s *pipeSender) send(fd int, p []byte) (int, error) {
	p = p[:min(len(p), 16<<10)] // less than a pipe holds, whatever the alignment
	if err := s.fill(p); err != nil {
		return 0, err
	}
	for left := len(p); left > 0; {
		n, err := unix.Splice(int(s.r.Fd()), nil, fd, nil, left, 0)
		if err != nil {
			return 0, err
		}
		if n == 0 {
			return 0, io.ErrUnexpectedEOF
		}
		left -= int(n)
	}
	return len(p), nil
}

func (s *pipeSender) fill(p []byte) error {
	if !s.lend {
		_, err := s.w.Write(p)
		return err
	}
	// Lent pages must not change until the peer has them: give away a copy.
	pages := append([]byte(nil), p...)
	for len(pages) > 0 {
		v := unix.Iovec{Base: &pages[0]}
		v.SetLen(len(pages))
		n, err := unix.Vmsplice(int(s.w.Fd()), []unix.Iovec{v}, 0)
		if err != nil {
			return err
		}
		pages = pages[n:]
	}
	return nil
}

func (s *pipeSender) Close() error { return errors.Join(s.r.Close(), s.w.Close()) }

// zeroCopySender sends with MSG_ZEROCOPY and reads the completion from the
// error queue, which is no received data.
type zeroCopySender struct{ armed bool }

func (s *zeroCopySender) send(fd int, p []byte) (int, error) {
	if !s.armed {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ZEROCOPY, 1); err != nil {
			return 0, fmt.Errorf("set SO_ZEROCOPY: %w", err)
		}
		s.armed = true
	}
	n, err := unix.SendmsgN(fd, p, nil, nil, unix.MSG_ZEROCOPY)
	if err != nil {
		return 0, err
	}
	return n, s.completion(fd)
}

func (s *zeroCopySender) completion(fd int) error {
	oob := make([]byte, 256)
	for {
		_, _, _, _, err := unix.Recvmsg(fd, nil, oob, unix.MSG_ERRQUEUE)
		switch {
		case err == nil:
			return nil
		case !errors.Is(err, unix.EAGAIN):
			return fmt.Errorf("read completion: %w", err)
		}
		set := []unix.PollFd{{Fd: int32(fd)}}
		if n, err := unix.Poll(set, 5000); err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("wait for completion: %w", err)
		} else if n == 0 && err == nil {
			return errors.New("no completion in 5 s")
		}
	}
}

func (s *zeroCopySender) Close() error { return nil }
