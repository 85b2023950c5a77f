package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"snitch/bpf/bpftest/report"
)

func processGenerators() []generator {
	return []generator{
		{"exec", "send, exec another file at once, go on with the same socket", runExec},
		{"continue", "the second half of exec and pass", runContinue},
		{"fork", "parent and forked child send on one socket", runFork},
		{"accept-fork", "a forked child accepts", runAcceptFork},
		{"never-accept", "listen, and leave the connection in the queue", runNeverAccept},
		{"pass", "another process sends on a socket that it was passed", runPass},
		{"share", "threads take turns on one socket", runShare},
		{"setns", "another network namespace between socket and connect", runSetns},
		{"short", "short-lived processes, each a new file", runShort},
	}
}

// runExec sends a part, and the file at -with sends the rest.
func runExec(args []string) error {
	var s stream
	f := flags("exec")
	s.flags(f)
	with := f.String("with", "", "file to execute")
	part := f.Uint64("part", 5000, "bytes before the exec")
	r, err := self("exec")
	if err != nil {
		return err
	}
	if err := f.Parse(args); err != nil {
		return err
	}
	fd, err := s.open()
	if err != nil {
		return err
	}
	flow := s.flow(fd)
	if _, err := s.connect(fd); err != nil {
		return err
	}
	at := local(fd)
	flow.LAddr, flow.LPort, flow.Sent = at.Addr().String(), at.Port(), *part
	r.Flows = []report.Flow{flow}
	// Printed before it is true, so that nothing stands between send and exec.
	if err := printReport(r); err != nil {
		return err
	}
	p := make([]byte, *part)
	fill(p, fromClient, 0)
	s.order.put(p)
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFD, 0); err != nil {
		return fmt.Errorf("keep socket over exec: %w", err)
	}
	argv := append([]string{*with, "continue", "-fd", strconv.Itoa(fd), "-done", strconv.FormatUint(*part, 10)}, s.args()...)
	env := os.Environ()
	if err := sendAll(plain(unix.Write), fd, p); err != nil {
		return err
	}
	return fmt.Errorf("execute %s: %w", *with, unix.Exec(*with, argv, env))
}

// args are flags that make another process the same stream.
func (s *stream) args() []string {
	return []string{"-proto", s.proto, "-to", s.to.String(), "-send", s.sendWay, "-recv", s.recvWay,
		"-n", strconv.FormatUint(s.order.total, 10), "-reply", strconv.FormatUint(s.order.reply, 10)}
}

func runContinue(args []string) error {
	var s stream
	f := flags("continue")
	s.flags(f)
	fd := f.Int("fd", -1, "the socket, or with -pass a unix socket that it comes from")
	pass := f.Bool("pass", false, "receive the socket")
	done := f.Uint64("done", 0, "bytes already sent")
	return reported("continue", func(r *report.Report) error {
		if err := f.Parse(args); err != nil {
			return err
		}
		sock := *fd
		if *pass {
			var err error
			if sock, err = receiveSocket(*fd); err != nil {
				return err
			}
		}
		flow := s.flow(sock)
		at := local(sock)
		flow.LAddr, flow.LPort = at.Addr().String(), at.Port()
		err := s.exchange(sock, *done, &flow)
		r.Flows = append(r.Flows, flow)
		return errors.Join(err, unix.Close(sock))
	})
}

// runFork: the parent sends the order, the forked child a part, the parent the
// rest, and the parent reads the answer.
func runFork(args []string) error {
	var s stream
	f := flags("fork")
	s.flags(f)
	part := f.Uint64("part", 3000, "bytes of the child")
	return reported("fork", func(r *report.Report) error {
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
		head := make([]byte, orderLen)
		s.order.put(head)
		if err := sendAll(plain(unix.Write), fd, head); err != nil {
			return err
		}
		flow.Sent = orderLen
		if err := childSends(r, fd, *part, flow); err != nil {
			return err
		}
		err = s.exchange(fd, orderLen+*part, &flow)
		r.Flows = append(r.Flows, flow)
		return err
	})
}

func childSends(r *report.Report, fd int, part uint64, flow report.Flow) error {
	p, err := fixed(int(part))
	if err != nil {
		return err
	}
	fill(p, fromClient, orderLen)
	child, err := forkCalls([]call{{trap: unix.SYS_WRITE, args: [6]uintptr{uintptr(fd), address(p), uintptr(part)}, from: -1}})
	if err != nil {
		return err
	}
	results, err := child.wait()
	if err != nil {
		return err
	}
	if results[0] != int64(part) {
		return fmt.Errorf("the child sent %d bytes, want %d", results[0], part)
	}
	flow.Sent, flow.Received = part, 0
	return printReport(childReport(r, child.pid, flow))
}

// childReport is the report of a forked child, which executes its parent's file.
func childReport(r *report.Report, pid int, flows ...report.Flow) *report.Report {
	c := *r
	c.PID, c.ParentPID, c.ParentExe, c.ParentSHA256, c.Flows = pid, r.PID, r.Exe, r.SHA256, flows
	c.GrandparentExe, c.GrandparentSHA256 = r.ParentExe, r.ParentSHA256
	c.Start = 0
	return &c
}

func runAcceptFork(args []string) error {
	f := flags("accept-fork")
	var at netip.AddrPort
	f.TextVar(&at, "at", netip.MustParseAddrPort("127.0.0.1:7102"), "address to listen on")
	n := f.Int("n", 2000, "bytes of the answer")
	return reported("accept-fork", func(r *report.Report) error {
		if err := f.Parse(args); err != nil {
			return err
		}
		sv := service{proto: "tcp", addr: at, options: map[string]string{}}
		l, err := listenStream(&sv)
		if err != nil {
			return err
		}
		defer l.Close()
		return acceptForked(r, l.(*streamService), *n)
	})
}

func acceptForked(r *report.Report, l *streamService, n int) error {
	r.Flows = append(r.Flows, listening(l))
	p, err := fixed(orderLen + n)
	if err != nil {
		return err
	}
	fill(p[orderLen:], fromServer, 0)
	child, err := forkCalls([]call{
		{trap: unix.SYS_ACCEPT4, args: [6]uintptr{uintptr(l.fd)}, from: -1},
		{trap: unix.SYS_READ, args: [6]uintptr{0, address(p), orderLen}, from: 0},
		{trap: unix.SYS_WRITE, args: [6]uintptr{0, address(p[orderLen:]), uintptr(n)}, from: 0},
		{trap: unix.SYS_READ, args: [6]uintptr{0, address(p), 1}, from: 0},
	})
	if err != nil {
		return err
	}
	client := runSelf("stream", "-to", l.addr.String(), "-n", strconv.Itoa(orderLen), "-reply", strconv.Itoa(n))
	results, err := child.wait()
	if err := errors.Join(client, err); err != nil {
		return err
	}
	if results[1] != orderLen || results[2] != int64(n) || results[3] != 0 {
		return fmt.Errorf("the child's calls returned %d", results)
	}
	in := report.Flow{Proto: "tcp", Family: familyName(family(l.addr.Addr())), Direction: "in", LAddr: l.addr.Addr().String(),
		LPort: l.addr.Port(), RAddr: l.addr.Addr().String(), Sent: uint64(n), Received: orderLen, Result: "closed"}
	return printReport(childReport(r, child.pid, in))
}

func listening(l *streamService) report.Flow {
	return report.Flow{Proto: "tcp", Family: familyName(family(l.addr.Addr())), Direction: "listen", LAddr: l.addr.Addr().String(),
		LPort: l.addr.Port(), NetNS: socketNamespace(l.fd), Result: "listening|closed"}
}

// runSelf runs another process of this file; it reports for itself.
func runSelf(args ...string) error {
	exe, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return fmt.Errorf("read own executable's name: %w", err)
	}
	return runFile(exe, args...)
}

func runFile(path string, args ...string) error {
	p, err := os.StartProcess(path, append([]string{path}, args...), &os.ProcAttr{Files: []*os.File{nil, os.Stdout, os.Stderr}})
	if err != nil {
		return fmt.Errorf("start %s: %w", args[0], err)
	}
	return join(p)
}

func join(p *os.Process) error {
	state, err := p.Wait()
	if err != nil {
		return fmt.Errorf("wait for child: %w", err)
	}
	if !state.Success() {
		return fmt.Errorf("child: %v", state)
	}
	return nil
}

func runNeverAccept(args []string) error {
	f := flags("never-accept")
	var at netip.AddrPort
	f.TextVar(&at, "at", netip.MustParseAddrPort("127.0.0.1:7103"), "address to listen on")
	return reported("never-accept", func(r *report.Report) error {
		if err := f.Parse(args); err != nil {
			return err
		}
		sv := service{proto: "tcp", addr: at, options: map[string]string{}}
		l, err := listenStream(&sv)
		if err != nil {
			return err
		}
		defer l.Close()
		waiting := report.Flow{Proto: "tcp", Direction: "in", LAddr: at.Addr().String(), LPort: at.Port(),
			RAddr: at.Addr().String(), Result: "established|closed|reset|aborted", Quiet: true}
		r.Flows = append(r.Flows, listening(l.(*streamService)), waiting)
		return runSelf("stream", "-to", at.String(), "-n", strconv.Itoa(orderLen), "-reply", "0")
	})
}

// runShort runs processes that live for a few system calls, each from a file
// of its own that nobody has seen before.
func runShort(args []string) error {
	f := flags("short")
	to := f.String("to", "", "address of a tcp service")
	dir := f.String("dir", "", "directory for the files")
	count := f.Int("count", 300, "processes")
	remove := f.Bool("remove", false, "remove each file when its process is over")
	return reported("short", func(r *report.Report) error {
		if err := f.Parse(args); err != nil {
			return err
		}
		addr, err := parseAddr(*to)
		if err != nil {
			return err
		}
		for i := range *count {
			path := fmt.Sprintf("%s/short-%d", *dir, i)
			if err := shortLived(r, addr, path, uint64(i), *remove); err != nil {
				return err
			}
			if *remove {
				if err := os.Remove(path); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

func shortLived(r *report.Report, to netip.AddrPort, path string, serial uint64, removed bool) error {
	image := tinyELF(to, order{total: orderLen}, binary.LittleEndian.AppendUint64(nil, serial))
	if err := os.WriteFile(path, image, 0o755); err != nil {
		return fmt.Errorf("write executable: %w", err)
	}
	p, err := os.StartProcess(path, []string{path}, &os.ProcAttr{Files: []*os.File{nil, os.Stdout, os.Stderr}})
	if err != nil {
		return fmt.Errorf("start executable: %w", err)
	}
	pid := p.Pid
	if err := join(p); err != nil {
		return err
	}
	flow := report.Flow{Proto: "tcp", Family: "ipv4", Direction: "out", RAddr: to.Addr().String(), RPort: to.Port(),
		Sent: orderLen, Result: "closed"}
	c := childReport(r, pid, flow)
	c.Exe, c.SHA256, c.Name, c.Removed = path, sum(image), "", removed
	return printReport(c)
}
