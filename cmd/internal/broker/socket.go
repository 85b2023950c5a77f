package broker

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// pair makes two connected sockets that keep message boundaries; both close on
// exec.
func pair(kind int) (ours, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("make socket pair: %w", err)
	}
	return os.NewFile(uintptr(fds[0]), "broker"), os.NewFile(uintptr(fds[1]), "broker"), nil
}

// receive reads one message and at most one descriptor (-1 for none) from a
// blocking socket. More descriptors are closed and refused. n is 0 at the end.
func receive(fd int, buf []byte) (n, passed int, err error) {
	oob := make([]byte, unix.CmsgSpace(4*4))
	var oobn, flags int
	for {
		n, oobn, flags, _, err = unix.Recvmsg(fd, buf, oob, unix.MSG_CMSG_CLOEXEC)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		return 0, -1, fmt.Errorf("receive message: %w", err)
	}
	passed, err = onlyDescriptor(oob[:oobn])
	if err == nil && flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0 {
		err = errTooLong
	}
	if err != nil && passed >= 0 {
		_ = unix.Close(passed) // nothing was written to it
		passed = -1
	}
	return n, passed, err
}

// onlyDescriptor returns the descriptor in a control message. When there are
// several it closes all.
func onlyDescriptor(oob []byte) (int, error) {
	if len(oob) == 0 {
		return -1, nil
	}
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return -1, fmt.Errorf("read control message: %w", err)
	}
	var fds []int
	for i := range messages {
		got, err := unix.ParseUnixRights(&messages[i])
		if err == nil {
			fds = append(fds, got...)
		}
	}
	if len(fds) == 1 {
		return fds[0], nil
	}
	for _, fd := range fds {
		_ = unix.Close(fd) // never used
	}
	if len(fds) > 1 {
		return -1, fmt.Errorf("message passes %d descriptors, want at most 1", len(fds))
	}
	return -1, nil
}
