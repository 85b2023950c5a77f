package verdict

import (
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"snitch/bpf/bpftest"
)

// serve answers on a port of the server, TCP and UDP, both families.
func (l *lab) serve(port int) {
	l.Helper()
	var ln net.Listener
	var udp net.PacketConn
	err := l.pair.Server.Do(func() (err error) {
		if ln, err = net.Listen("tcp", fmt.Sprintf(":%d", port)); err == nil {
			udp, err = net.ListenPacket("udp", fmt.Sprintf(":%d", port))
		}
		return err
	})
	if err != nil {
		l.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			running.Go(func() { echo(c) })
		}
	})
	running.Go(func() {
		buf := make([]byte, 2048)
		for {
			n, from, err := udp.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = udp.WriteTo(buf[:n], from)
		}
	})
	l.Cleanup(func() {
		ln.Close()
		udp.Close()
		running.Wait()
	})
}

// echo ends with the connection, or when the peer says nothing for long.
func echo(c net.Conn) {
	defer c.Close()
	buf := make([]byte, 2048)
	for {
		_ = c.SetDeadline(time.Now().Add(10 * time.Second))
		n, err := c.Read(buf)
		if err == nil {
			_, err = c.Write(buf[:n])
		}
		if err != nil {
			return
		}
	}
}

// tap counts the packets that arrive at the server for a port, and those that
// are neither neighbour discovery nor of a port.
type tap struct {
	l  *lab
	fd int
}

// tapRoom is for packets that nobody asked about yet.
const tapRoom = 16 << 20 // bytes

func (l *lab) tap() *tap {
	l.Helper()
	t := &tap{l: l}
	err := l.pair.Server.Do(func() (err error) {
		t.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, int(htons(unix.ETH_P_ALL)))
		return err
	})
	if err != nil {
		l.Fatal(err)
	}
	l.Cleanup(func() { unix.Close(t.fd) })
	if err := unix.SetsockoptInt(t.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, tapRoom); err != nil {
		l.Fatal(err)
	}
	return t
}

func htons(v uint16) uint16 { return v<<8 | v>>8 }

// seen is what arrived since the last call, as "proto port" by count.
func (t *tap) seen() map[string]int {
	time.Sleep(30 * time.Millisecond)
	out := map[string]int{}
	buf := make([]byte, 4096)
	for {
		n, from, err := unix.Recvfrom(t.fd, buf, 0)
		if err != nil {
			return out
		}
		if ll, ok := from.(*unix.SockaddrLinklayer); !ok || ll.Pkttype == unix.PACKET_OUTGOING || n < 28 {
			continue
		}
		proto, at := int(buf[9]), 20
		if buf[0]>>4 == 6 {
			proto, at = int(buf[6]), 40
		}
		switch proto {
		case unix.IPPROTO_TCP, unix.IPPROTO_UDP:
			out[fmt.Sprintf("%d %d", proto, int(buf[at+2])<<8|int(buf[at+3]))]++
		case unix.IPPROTO_ICMP:
			if buf[at] == 8 { // echo request: a program's, not the kernel's
				out["icmp"]++
			}
		}
	}
}

// none fails if a packet for a port arrived.
func (t *tap) none(port int) {
	t.l.Helper()
	for what, n := range t.seen() {
		if strings.HasSuffix(what, fmt.Sprintf(" %d", port)) || what == "icmp" {
			t.l.Errorf("%d packets %q reached the peer", n, what)
		}
	}
}

// call says something to the client's namespace from the server's and waits for
// the same.
func (l *lab) call(network, addr string) error {
	var c net.Conn
	err := l.pair.Server.Do(func() (err error) {
		c, err = net.DialTimeout(network, addr, bpftest.Patience(300*time.Millisecond))
		return err
	})
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(bpftest.Patience(300 * time.Millisecond))); err != nil {
		return err
	}
	if _, err := c.Write([]byte("x")); err != nil {
		return err
	}
	_, err = c.Read(make([]byte, 1))
	return err
}
