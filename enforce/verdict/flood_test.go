package verdict

import (
	"errors"
	"net"
	"strconv"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"snitch/bpf/bpftest"
)

// tally is how much this program tried for the present line.
var tally int

// flood tries to connect and to send for a while, and at least so often, and
// succeeds if every attempt was refused.
func flood(addr, duration, attempts string) error {
	d, err := time.ParseDuration(duration)
	if err != nil {
		return err
	}
	least, err := strconv.Atoi(attempts)
	if err != nil {
		return err
	}
	family, to := sockaddr(addr)
	for end := time.Now().Add(d); tally < least || time.Now().Before(end); tally++ {
		switch err := attemptOnce(family, tally%4 == 3, to); {
		case err == nil:
			return unix.EISCONN // it passed
		case !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.ECONNABORTED):
			return err
		}
	}
	return nil
}

func attemptOnce(family int, datagram bool, to unix.Sockaddr) error {
	kind := unix.SOCK_STREAM
	if datagram {
		kind = unix.SOCK_DGRAM
	}
	fd, err := unix.Socket(family, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if datagram {
		return unix.Sendto(fd, []byte("payload"), 0, to)
	}
	patience := unix.NsecToTimeval((5 * time.Second).Nanoseconds())
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &patience); err != nil {
		return err
	}
	return unix.Connect(fd, to)
}

// reach connects and writes for a while, and succeeds if all of it worked.
func reach(addr, duration string) error {
	d, err := time.ParseDuration(duration)
	if err != nil {
		return err
	}
	for end := time.Now().Add(d); time.Now().Before(end); tally++ {
		if err := dial("tcp", addr); err != nil {
			return err
		}
		time.Sleep(10 * time.Millisecond) // a service, not a load
	}
	return nil
}

// manyPeers sends to as many ports of a host, from one socket or from one each,
// whatever becomes of it; it fails with EPERM if one was refused.
func manyPeers(host, number, sockets string) error {
	n, err := strconv.Atoi(number)
	if err != nil {
		return err
	}
	family, to := sockaddr(net.JoinHostPort(host, "1"))
	fd := -1
	defer func() { unix.Close(fd) }()
	var refused error
	for ; tally < n; tally++ {
		if fd < 0 || sockets == "each" {
			unix.Close(fd)
			if fd, err = unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0); err != nil {
				return err
			}
		}
		to.(*unix.SockaddrInet4).Port = 10_000 + tally
		if err := unix.Sendto(fd, []byte("payload"), 0, to); errors.Is(err, unix.EPERM) {
			refused = err
		} else if err != nil {
			return err
		}
	}
	return refused
}

// floodAttempts is how much each flood tries at least: those of the fail modes
// make more than a hundred thousand.
const floodAttempts = 15_000

// task is something long that a program does meanwhile.
type task struct {
	p    *program
	what string
	done chan result
	got  *result
}

type result struct {
	errno syscall.Errno
	tried int
}

func (p *program) begin(what string) *task {
	k := &task{p: p, what: what, done: make(chan result, 1)}
	go func() {
		errno, _, tried := p.count("%s", what)
		k.done <- result{errno, tried}
	}()
	return k
}

// flood begins to try what is denied: port 9090 of the server.
func (p *program) flood(d time.Duration) *task {
	attempts := floodAttempts
	if testing.Short() {
		attempts = 1000
	}
	return p.begin("flood " + bpftest.ServerV4.String() + ":9090 " + d.String() + " " + strconv.Itoa(attempts))
}

// reach begins to use what is allowed: port 8080.
func (p *program) reach(d time.Duration) *task {
	return p.begin("reach " + bpftest.ServerV4.String() + ":8080 " + d.String())
}

func (k *task) over() bool {
	if k.got == nil {
		select {
		case r := <-k.done:
			k.got = &r
		default:
		}
	}
	return k.got != nil
}

func (k *task) wait() result {
	if !k.over() {
		r := <-k.done
		k.got = &r
	}
	return *k.got
}

// refused waits for a flood, of which nothing may have passed.
func (k *task) refused() {
	k.p.l.Helper()
	r := k.wait()
	if r.errno != 0 {
		k.p.l.Errorf("%s: after %d attempts one passed or ended otherwise: %v", k.what, r.tried, r.errno)
	}
	k.p.l.Logf("%d attempts", r.tried)
}

// worked waits for a use, all of which must have worked.
func (k *task) worked() {
	k.p.l.Helper()
	if r := k.wait(); r.errno != 0 || r.tried == 0 {
		k.p.l.Errorf("%s: %v after %d attempts", k.what, r.errno, r.tried)
	}
}
