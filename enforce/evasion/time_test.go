package evasion

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"time"

	"golang.org/x/sys/unix"

	"snitch/bpf/features"
	"snitch/monitor/event"
)

const (
	// forbidCountry (the lab lets the forbidden peer be in Antarctica) cannot be decided by tables: the connection is held.
	forbidCountry = `
rules:
  - {id: forbidden, action: deny, process: {exe: "{attacker}"}, to: {country: AQ}}
`
	slowAnswer = 3 * time.Second // longer than a hold may last
	atHold     = "the hold: cgroup_skb/egress drops the SYN until the answer comes"
)

// timeAttempts use the time before, between and after decisions.
func timeAttempts() []attempt {
	return []attempt{
		{name: "held", does: "a connect that only user space can decide, blocking and not", result: stopped, by: atHold, rules: forbidCountry, act: heldConnect},
		{name: "slow-answer", does: "an evaluator that is kept busy until the deadline, where the default is deny", result: stopped, by: "the deadline's default: deny",
			rules: forbidCountry, undecided: event.ActionDeny, slow: slowAnswer, act: heldConnect},
		{name: "slow-answer-open", does: "the same, where the default is allow (as well: a program so large that its digest takes longer)", result: limit, by: "the deadline's default was chosen: allow",
			rules: forbidCountry, slow: slowAnswer, act: heldConnect},
		{name: "flood", does: "hundreds of connects that must all be asked about, and one among them", result: stopped, by: atHold + "; the deadline's default: deny",
			rules: forbidCountry, undecided: event.ActionDeny, act: flood},
		{name: "bind-while-held", does: "a held connect, and `bind` on the same socket before the answer", result: stopped,
			by: atHold + "; the deadline's default: deny", rules: forbidCountry, undecided: event.ActionDeny, slow: 500 * time.Millisecond, act: bindWhileHeld},
		{name: "older-connections", does: "connections that are older than the rule, TCP and UDP", result: stopped, by: "cut at the flip; " + atEgress, short: true, late: true, resets: true, silent: true, act: older(nil)},
		{name: "older-and-bound", does: "the same, after `bind` on the connected socket", result: stopped,
			by: "cut at the flip; " + atEgress, late: true, resets: true, silent: true, act: older(func(fd int) error {
				_ = unix.Bind(fd, &unix.SockaddrInet4{Port: 45678}) // refused, but the hook has run
				return nil
			})},
		{name: "older-of-the-dead", does: "a connection older than the rule, whose opener passed it on and ended", result: stopped,
			by: "who holds the socket inherits it at the flip; cut there; " + atEgress, late: true, resets: true, silent: true,
			hooks: []features.Feature{features.FileIterator, features.TracingStorage}, act: olderOfTheDead, between: forgotten},
	}
}

func heldConnect(p *place) error {
	return each(func() error { return stream(p.V4, func(fd int) error { return say(fd, p.V4) }) },
		func() error {
			return stream(p.V4, func(fd int) error { return errors.Join(connectLater(fd, p.V4), finish(fd)) })
		})
}

// connectLater begins to connect.
func connectLater(fd int, to netip.AddrPort) error {
	if err := unix.SetNonblock(fd, true); err != nil {
		return err
	}
	if err := unix.Connect(fd, sockaddr(to)); err != nil && !errors.Is(err, unix.EINPROGRESS) {
		return fmt.Errorf("connect: %w", err)
	}
	return nil
}

// finish waits for a connect that has begun, and sends.
func finish(fd int) error {
	poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); {
		n, err := unix.Poll(poll, 1000)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return err
		}
		if n == 0 {
			continue
		}
		if errno, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR); err != nil || errno != 0 {
			return errors.Join(err, fmt.Errorf("connect: %w", unix.Errno(errno)))
		}
		return write(fd)
	}
	return fmt.Errorf("connect: %w", unix.ETIMEDOUT)
}

func flood(p *place) error {
	var fds []int
	defer func() {
		for _, fd := range fds {
			unix.Close(fd)
		}
	}()
	for i := range 300 {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		fds = append(fds, fd)
		if err := connectLater(fd, netip.AddrPortFrom(p.V4.Addr(), uint16(20000+i))); err != nil {
			return err
		}
	}
	return stream(p.V4, func(fd int) error { return errors.Join(connectLater(fd, p.V4), finish(fd)) })
}

func bindWhileHeld(p *place) error {
	return stream(p.V4, func(fd int) error {
		if err := connectLater(fd, p.V4); err != nil {
			return err
		}
		_ = unix.Bind(fd, &unix.SockaddrInet4{Port: 45678}) // refused, but the hook has run
		return finish(fd)
	})
}

// older connects before the rules come; trick is tried on each socket.
func older(trick func(fd int) error) func(*place) error {
	return func(p *place) error {
		return stream(p.V4, func(tcp int) error {
			return datagram(p.V4, func(udp int) error {
				fds := []int{tcp, udp}
				for _, fd := range fds {
					if err := say(fd, p.V4); err != nil {
						return errors.New(err.Error())
					}
					if trick != nil {
						if err := trick(fd); err != nil {
							return err
						}
					}
				}
				if err := pause(); err != nil {
					return err
				}
				return each(func() error { return write(tcp) }, func() error { return write(udp) })
			})
		})
	}
}

// olderOfTheDead has another process connect, which ends.
func olderOfTheDead(p *place) error {
	self, err := selfPath()
	if err != nil {
		return err
	}
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: shareSocket(p), Net: "unix"})
	if err != nil {
		return err
	}
	defer ln.Close()
	got := make(chan []int, 1)
	go func() {
		defer close(got)
		c, err := ln.AcceptUnix()
		if err != nil {
			return
		}
		defer c.Close()
		if fds, err := receiveFrom(c); err == nil {
			got <- fds
		}
	}()
	if err := runPart(exec.Command(self), order{Part: "connect-and-pass", Place: *p}); err != nil {
		return errors.New(err.Error())
	}
	fds := <-got
	if len(fds) == 0 {
		return errors.New("nothing was passed")
	}
	if err := pause(); err != nil {
		return err
	}
	return useSockets(p, fds)
}

// forgotten returns when the daemon knows who has ended.
func forgotten(r *run) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := r.lab.monitor.CatchUp(ctx); err != nil {
		r.Error(err)
	}
}

// connectAndPass gives its connections away.
func connectAndPass(p *place) error {
	c, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: shareSocket(p), Net: "unix"})
	if err != nil {
		return err
	}
	defer c.Close()
	return stream(p.V4, func(tcp int) error {
		return datagram(p.V4, func(udp int) error {
			if err := errors.Join(say(tcp, p.V4), say(udp, p.V4)); err != nil {
				return err
			}
			_, _, err := c.WriteMsgUnix([]byte("x"), unix.UnixRights(tcp, udp), nil)
			return err
		})
	})
}
