package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

func receivers() map[string]func() (receiver, error) {
	stateless := func(f plain) func() (receiver, error) { return func() (receiver, error) { return f, nil } }
	return map[string]func() (receiver, error){
		"read":          stateless(unix.Read),
		"readv":         stateless(func(fd int, p []byte) (int, error) { return unix.Readv(fd, parts(p, 3)) }),
		"recv":          stateless(recvFlags(0)),
		"recvfrom":      stateless(recvFlags(0)),
		"recvmsg":       stateless(recvMsgVector),
		"recvmmsg":      stateless(recvMmsg),
		"peek":          stateless(recvPeek),
		"trunc":         stateless(recvTrunc),
		"waitall":       stateless(recvFlags(unix.MSG_WAITALL)),
		"splice":        func() (receiver, error) { return newPipeReceiver() },
		"map":           func() (receiver, error) { return new(mapReceiver), nil },
		"ktls":          func() (receiver, error) { return &kernelTLS{direction: tlsRX}, nil },
		"uring-recv":    ringReceiver(0, prepareRecv),
		"uring-read":    ringReceiver(0, prepareRead),
		"uring-recvmsg": ringReceiver(0, prepareRecvmsg),
		"uring-sqpoll":  ringReceiver(setupSQPoll, prepareRecv),
		"uring-fixed":   ringFixedReceiver,
	}
}

func recvFlags(flags int) plain {
	return func(fd int, p []byte) (int, error) {
		n, _, err := unix.Recvfrom(fd, p, flags)
		return n, err
	}
}

func recvMsgVector(fd int, p []byte) (int, error) {
	n, _, _, _, err := unix.RecvmsgBuffers(fd, parts(p, 3), nil, 0)
	return n, err
}

// recvMmsg asks for several messages. On a stream a call may return one after
// the other without a gap only when each is full, so it asks for one.
func recvMmsg(fd int, p []byte) (int, error) {
	msgs, vectors := messages([][]byte{p})
	n, err := mmsg(unix.SYS_RECVMMSG, fd, msgs, 0)
	if err != nil {
		return 0, err
	}
	_ = vectors
	if n == 0 {
		return 0, nil
	}
	return int(msgs[0].len), nil
}

// recvPeek looks twice before it reads: only the read may count.
func recvPeek(fd int, p []byte) (int, error) {
	for range 2 {
		if _, _, err := unix.Recvfrom(fd, p, unix.MSG_PEEK); err != nil {
			return 0, err
		}
	}
	n, _, err := unix.Recvfrom(fd, p, 0)
	return n, err
}

// recvTrunc reads an order in the ordinary way and throws the rest of the
// stream away: the kernel counts it as read and copies nothing.
func recvTrunc(fd int, p []byte) (int, error) {
	if len(p) <= orderLen {
		return unix.Read(fd, p)
	}
	n, _, err := unix.Recvfrom(fd, p, unix.MSG_TRUNC)
	return n, err
}

// pipeReceiver splices from the socket into a pipe and reads there.
type pipeReceiver struct{ r, w *os.File }

func newPipeReceiver() (receiver, error) {
	r, w, err := blockingPipe()
	return &pipeReceiver{r: r, w: w}, err
}

func (s *pipeReceiver) recv(fd int, p []byte) (int, error) {
	n, err := unix.Splice(fd, nil, int(s.w.Fd()), nil, min(len(p), 32<<10), 0)
	if err != nil || n == 0 {
		return 0, err
	}
	if _, err := io.ReadFull(s.r, p[:n]); err != nil {
		return 0, fmt.Errorf("read pipe: %w", err)
	}
	return int(n), nil
}

func (s *pipeReceiver) Close() error { return errors.Join(s.r.Close(), s.w.Close()) }
