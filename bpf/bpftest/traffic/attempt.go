package main

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"snitch/bpf/bpftest/report"
)

func failureGenerators() []generator {
	return []generator{
		{"attempt", "connect to where it must fail in a given way", runAttempt},
		{"udp-refused", "a datagram to a closed port", runUDPRefused},
		{"reset", "a connection that ends by a reset", runReset},
	}
}

// errnos are the failures that -want names.
var errnos = map[string]error{
	"refused":     unix.ECONNREFUSED,
	"timeout":     unix.ETIMEDOUT,
	"unreachable": unix.EHOSTUNREACH,
	"noroute":     unix.ENETUNREACH,
	"silent":      unix.EINPROGRESS, // the program's own patience ends
	"denied":      unix.EPERM,
}

// runAttempt connects and fails. Its result in the log is given by the caller:
// it is what the attempt is there to show.
func runAttempt(args []string) error {
	var s stream
	f := flags("attempt")
	s.flags(f)
	want := f.String("want", "refused", "refused, timeout, unreachable, noroute, silent or denied")
	patience := f.Duration("patience", 300*time.Millisecond, "of -want silent")
	result := f.String("result", "refused", "what the log shall say")
	return reported("attempt", func(r *report.Report) error {
		if err := f.Parse(args); err != nil {
			return err
		}
		fd, err := s.open()
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		flow := s.flow(fd)
		flow.Result = *result
		r.Flows = append(r.Flows, flow)
		if err := impatience(fd, *want, *patience); err != nil {
			return err
		}
		_, err = s.connect(fd)
		if !errors.Is(err, errnos[*want]) {
			return fmt.Errorf("connect says %w, want %s", errors.Join(err), *want)
		}
		return nil
	})
}

func impatience(fd int, want string, patience time.Duration) error {
	switch want {
	case "silent":
		tv := unix.NsecToTimeval(patience.Nanoseconds())
		return unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &tv)
	case "timeout":
		return unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_SYNCNT, 1)
	}
	return nil
}

func runUDPRefused(args []string) error {
	var d datagrams
	f := flags("udp-refused")
	d.flags(f)
	return reported("udp-refused", func(r *report.Report) error {
		if err := f.Parse(args); err != nil {
			return err
		}
		d.connected = true
		fd, err := d.open()
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		flow := d.flow(fd, d.to[0])
		flow.Result = "established|closed|refused"
		at := local(fd)
		flow.LAddr, flow.LPort = at.Addr().String(), at.Port()
		p := make([]byte, 10)
		if _, err := unix.Write(fd, p); err != nil {
			return fmt.Errorf("send: %w", err)
		}
		flow.Sent = uint64(len(p))
		r.Flows = append(r.Flows, flow)
		if _, err := unix.Read(fd, p); !errors.Is(err, unix.ECONNREFUSED) {
			return fmt.Errorf("read says %w, want connection refused", errors.Join(err))
		}
		return nil
	})
}

// runReset exchanges as stream does with a server of its own, and then closes
// so that the other end is reset.
func runReset(args []string) error {
	f := flags("reset")
	var at netip.AddrPort
	f.TextVar(&at, "at", netip.MustParseAddrPort("127.0.0.1:7101"), "address to listen on")
	return reported("reset", func(r *report.Report) error {
		if err := f.Parse(args); err != nil {
			return err
		}
		sv := service{proto: "tcp", addr: at, options: map[string]string{}}
		l, err := listenStream(&sv)
		if err != nil {
			return err
		}
		defer l.Close()
		return resetAfter(r, l.(*streamService), 1000)
	})
}

func resetAfter(r *report.Report, l *streamService, n int) error {
	s := stream{proto: "tcp", to: l.addr}
	client, err := s.open()
	if err != nil {
		return err
	}
	if _, err := s.connect(client); err != nil {
		return errors.Join(err, unix.Close(client))
	}
	server, sa, err := unix.Accept4(l.fd, unix.SOCK_CLOEXEC)
	if err != nil {
		return errors.Join(fmt.Errorf("accept: %w", err), unix.Close(client))
	}
	defer unix.Close(server)
	out, in := s.flow(client), accepted("tcp", server, addrPort(sa))
	at := local(client)
	out.LAddr, out.LPort, out.Result, in.Result = at.Addr().String(), at.Port(), "reset|closed|aborted", "reset"
	listen := report.Flow{Proto: "tcp", Family: out.Family, Direction: "listen", LAddr: l.addr.Addr().String(),
		LPort: l.addr.Port(), NetNS: out.NetNS, Result: "listening|closed"}
	err = passBytes(client, server, n, fromClient)
	out.Sent, in.Received = uint64(n), uint64(n)
	r.Flows = append(r.Flows, listen, out, in)
	if err := errors.Join(err, unix.SetsockoptLinger(client, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}), unix.Close(client)); err != nil {
		return err
	}
	if _, err := unix.Read(server, make([]byte, 1)); !errors.Is(err, unix.ECONNRESET) {
		return fmt.Errorf("read says %w, want connection reset", errors.Join(err))
	}
	return nil
}
