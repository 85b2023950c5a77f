package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"

	"golang.org/x/sys/unix"

	"snitch/bpf/bpftest/report"
)

// runPass connects and gives the socket away; the file at -with uses it.
func runPass(args []string) error {
	var s stream
	f := flags("pass")
	s.flags(f)
	with := f.String("with", "", "file of the other process")
	return reported("pass", func(r *report.Report) error {
		if err := f.Parse(args); err != nil {
			return err
		}
		fd, err := s.open()
		if err != nil {
			return err
		}
		flow := s.flow(fd)
		if _, err := s.connect(fd); err != nil {
			return errors.Join(err, unix.Close(fd))
		}
		at := local(fd)
		flow.LAddr, flow.LPort = at.Addr().String(), at.Port()
		r.Flows = append(r.Flows, flow)
		return s.giveAway(fd, *with)
	})
}

func (s *stream) giveAway(fd int, with string) error {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return errors.Join(fmt.Errorf("make unix sockets: %w", err), unix.Close(fd))
	}
	theirs := os.NewFile(uintptr(pair[1]), "theirs")
	defer unix.Close(pair[0])
	argv := append([]string{with, "continue", "-pass", "-fd", "3"}, s.args()...)
	p, err := os.StartProcess(with, argv, &os.ProcAttr{Files: []*os.File{nil, os.Stdout, os.Stderr, theirs}})
	if err := errors.Join(err, theirs.Close()); err != nil {
		return fmt.Errorf("start the other process: %w", errors.Join(err, unix.Close(fd)))
	}
	err = unix.Sendmsg(pair[0], []byte{0}, unix.UnixRights(fd), nil, 0)
	return errors.Join(err, unix.Close(fd), join(p))
}

func receiveSocket(from int) (int, error) {
	oob := make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := unix.Recvmsg(from, make([]byte, 1), oob, unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		return -1, fmt.Errorf("receive socket: %w", err)
	}
	messages, err := unix.ParseSocketControlMessage(oob[:n])
	if err != nil || len(messages) != 1 {
		return -1, fmt.Errorf("receive socket: %d messages: %w", len(messages), errors.Join(err))
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		return -1, fmt.Errorf("receive socket: %d descriptors: %w", len(fds), errors.Join(err))
	}
	return fds[0], nil
}

// runShare has threads send in turn, each from a thread of its own.
func runShare(args []string) error {
	var s stream
	f := flags("share")
	s.flags(f)
	threads := f.Int("threads", 4, "threads")
	return reported("share", func(r *report.Report) error {
		if err := f.Parse(args); err != nil {
			return err
		}
		fd, err := s.open()
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		flow := s.flow(fd)
		if _, err := s.connect(fd); err != nil {
			return err
		}
		at := local(fd)
		flow.LAddr, flow.LPort = at.Addr().String(), at.Port()
		if err := s.inTurns(fd, *threads, &flow); err != nil {
			return err
		}
		err = s.exchange(fd, flow.Sent, &flow)
		r.Flows = append(r.Flows, flow)
		return err
	})
}

func (s *stream) inTurns(fd, threads int, flow *report.Flow) error {
	var mu sync.Mutex
	var wg sync.WaitGroup
	errs := make([]error, threads)
	for t := range threads {
		wg.Go(func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			p := make([]byte, 1000+t)
			for errs[t] == nil {
				mu.Lock()
				n := min(uint64(len(p)), s.order.total-flow.Sent)
				fill(p[:n], fromClient, flow.Sent)
				if flow.Sent == 0 {
					s.order.put(p)
				}
				if n > 0 {
					errs[t] = sendAll(plain(unix.Write), fd, p[:n])
				}
				flow.Sent += n
				mu.Unlock()
				if n == 0 {
					return
				}
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// runSetns makes the socket where it is and connects from another network
// namespace (descriptor -ns): the socket stays where it was made.
func runSetns(args []string) error {
	var s stream
	f := flags("setns")
	s.flags(f)
	ns := f.Int("ns", 3, "descriptor of the namespace")
	return reported("setns", func(r *report.Report) error {
		if err := f.Parse(args); err != nil {
			return err
		}
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		fd, err := s.open()
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		if err := unix.Setns(*ns, unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter network namespace: %w", err)
		}
		flow := s.flow(fd)
		if _, err := s.connect(fd); err != nil {
			return err
		}
		at := local(fd)
		flow.LAddr, flow.LPort = at.Addr().String(), at.Port()
		err = s.exchange(fd, 0, &flow)
		r.Flows = append(r.Flows, flow)
		return err
	})
}
