package evasion

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"snitch/bpf/bpftest"
	"snitch/monitor/event"
)

// wayAttempts turn the direction round, change the source, or are new.
func wayAttempts() []attempt {
	return []attempt{
		{name: "answers", does: "UDP: the forbidden peer speaks first, and is answered", result: limit,
			by: "a rule with `to` speaks of who begins: add `from`, or confine", act: answered, between: speakFirst},
		{name: "listen", does: "TCP: listen and let the forbidden peer connect, with `bind` and without", result: stopped, by: "cgroup/bind4; cgroup_skb/ingress",
			rules: "\nconfine:\n  - {id: locked, process: any}\nrules:\n", act: listenInstead, between: callIn},
		{name: "other-source", does: "UDP: a permitted source by `bind`, a forbidden one in the datagram (`IP_PKTINFO`)", result: stopped,
			by:    "cgroup_skb/egress judges the source that the packet has",
			rules: "\nrules:\n  - {id: forbidden, action: deny, process: {exe: \"{attacker}\"}, direction: out, from: {host: 10.77.0.11}, to: {host: 10.77.0.9}}\n", act: otherSource},
		{name: "new-programs", does: "programs that nobody has seen, which send with their first instruction, TCP and UDP", result: stopped,
			by: "who is unknown is undecided; the default: deny", rules: "\nrules:\n  - {id: forbidden, action: deny, process: {exe: \"{dir}/**\"}, to: {host: 10.77.0.9}}\n",
			undecided: event.ActionDeny, deaf: true, silent: true, act: func(p *place) error { return newPrograms(p, p.Dir) }},
		{name: "new-programs-open", does: "the same, where the default is allow and no exec is held", result: limit, by: "the first datagrams of a program that nobody holds get the default: have programs held at exec",
			rules: "\nrules:\n  - {id: forbidden, action: deny, process: {exe: \"{dir}/**\"}, to: {host: 10.77.0.9}}\n", deaf: true, act: func(p *place) error { return newPrograms(p, p.Dir) }},
		{name: "new-programs-held", does: "the same, where programs are held at exec", result: stopped, by: "fanotify FAN_OPEN_EXEC_PERM: the class is there before the first instruction",
			rules: "\nrules:\n  - {id: forbidden, action: deny, process: {exe: \"{held}/**\"}, to: {host: 10.77.0.9}}\n", deaf: true, silent: true, act: func(p *place) error { return newPrograms(p, p.Held) }},
	}
}

const listenPort = 7007

func answered(p *place) error {
	return with(unix.AF_INET, unix.SOCK_DGRAM, 0, func(fd int) error {
		if err := unix.Bind(fd, &unix.SockaddrInet4{Port: listenPort}); err != nil {
			return err
		}
		if err := pause(); err != nil {
			return err
		}
		_, from, err := unix.Recvfrom(fd, make([]byte, 64), 0)
		if err != nil {
			return fmt.Errorf("receive: %w", err)
		}
		return unix.Sendto(fd, payload, 0, from)
	})
}

// speakFirst has the forbidden peer send a datagram.
func speakFirst(r *run) {
	r.Helper()
	err := r.lab.pair.Server.Do(func() error {
		return with(unix.AF_INET, unix.SOCK_DGRAM, 0, func(fd int) error {
			if err := unix.Bind(fd, sockaddr(netip.AddrPortFrom(forbiddenV4, 0))); err != nil {
				return err
			}
			return unix.Sendto(fd, []byte("hello"), 0, sockaddr(netip.AddrPortFrom(bpftest.ClientV4, listenPort)))
		})
	})
	if err != nil {
		r.Fatal(err)
	}
}

// listenInstead waits for two calls: of a port that it chose, and of one that
// the kernel chose.
func listenInstead(p *place) error {
	wait := func(bind bool) func() error {
		return func() error {
			return with(unix.AF_INET, unix.SOCK_STREAM, 0, func(fd int) error {
				if bind {
					if err := unix.Bind(fd, &unix.SockaddrInet4{Port: listenPort}); err != nil {
						return fmt.Errorf("bind: %w", err)
					}
				}
				if err := unix.Listen(fd, 1); err != nil {
					return fmt.Errorf("listen: %w", err)
				}
				at, err := unix.Getsockname(fd)
				if err != nil {
					return err
				}
				port := strconv.Itoa(at.(*unix.SockaddrInet4).Port)
				if err := os.WriteFile(filepath.Join(p.Dir, "port"), []byte(port), 0o600); err != nil {
					return err
				}
				if err := pause(); err != nil {
					return err
				}
				c, _, err := unix.Accept(fd)
				if err != nil {
					return fmt.Errorf("accept: %w", err)
				}
				defer unix.Close(c)
				return write(c)
			})
		}
	}
	return each(wait(true), wait(false))
}

// callIn has the forbidden peer connect to the port of the attacker.
func callIn(r *run) {
	r.Helper()
	text, err := os.ReadFile(filepath.Join(r.place.Dir, "port"))
	if err != nil {
		r.Fatal(err)
	}
	err = r.lab.pair.Server.Do(func() error {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: forbiddenV4.AsSlice()}, Timeout: 300 * time.Millisecond}
		c, err := d.Dial("tcp", net.JoinHostPort(bpftest.ClientV4.String(), string(text)))
		if err == nil {
			r.Cleanup(func() { c.Close() })
		}
		return err
	})
	if err != nil && !r.denied {
		r.Error(err)
	}
}

func otherSource(p *place) error {
	from := unix.PktInfo4(&unix.Inet4Pktinfo{Spec_dst: p.Source.As4()})
	bound := func(f func(fd int) error) func() error {
		return func() error {
			return datagram(p.V4, func(fd int) error {
				if err := unix.Bind(fd, sockaddr(netip.AddrPortFrom(p.SourceV4, 0))); err != nil {
					return err
				}
				return f(fd)
			})
		}
	}
	return each(bound(func(fd int) error { return unix.Sendmsg(fd, payload, from, sockaddr(p.V4), 0) }),
		bound(func(fd int) error {
			if err := unix.Connect(fd, sockaddr(p.V4)); err != nil {
				return err
			}
			return unix.Sendmsg(fd, payload, from, nil, 0)
		}))
}

// newPrograms runs copies that have never run, and do not wait to be known.
func newPrograms(p *place, dir string) error {
	var errs []error
	for i := range 2 {
		path := filepath.Join(dir, fmt.Sprint("new-", time.Now().UnixNano()))
		if err := copySelf(path, strconv.Itoa(i)); err != nil {
			return err
		}
		errs = append(errs, runPart(exec.Command(path), order{Part: "send-at-once", Place: *p}), os.Remove(path))
	}
	return errors.Join(errs...)
}
