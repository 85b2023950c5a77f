package bpf

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// Every way of taking bytes out of a TCP socket counts what was taken, once.
func TestTCPReceive(t *testing.T) {
	const n = 70001
	for _, way := range []struct {
		name string
		take func(t *testing.T, fd int)
	}{
		{"read", func(t *testing.T, fd int) { recvAll(t, fd, n) }},
		{"peek first", func(t *testing.T, fd int) {
			_, _, err := unix.Recvfrom(fd, make([]byte, 1000), unix.MSG_PEEK)
			must(t, err)
			recvAll(t, fd, n)
		}},
		{"discard", func(t *testing.T, fd int) {
			for left := n; left > 0; {
				m, _, err := unix.Recvfrom(fd, make([]byte, left), unix.MSG_TRUNC)
				must(t, err)
				left -= m
			}
		}},
		{"splice to the end", spliceAll},
		{"read to the end", func(t *testing.T, fd int) {
			recvAll(t, fd, n)
			if m, err := unix.Read(fd, make([]byte, 1)); m != 0 || err != nil {
				t.Fatalf("read %d, %v; want the end", m, err)
			}
		}},
	} {
		t.Run(way.name, func(t *testing.T) {
			k := load(t, Config{})
			client, server := tcpPair(t)
			at, from := localOf(t, server), localOf(t, client)
			send(t, client, n)
			must(t, unix.Shutdown(client, unix.SHUT_WR))
			way.take(t, server)
			l := ledger{}
			drain(t, k, l)
			l.expect(t, mine(FlowConnect, 6, at), n, 0)
			l.expect(t, mine(FlowAccept, 6, from), 0, n)
			noLosses(t, k)
		})
	}
}

func spliceAll(t *testing.T, fd int) {
	var p [2]int
	must(t, unix.Pipe2(p[:], unix.O_CLOEXEC))
	defer unix.Close(p[0])
	defer unix.Close(p[1])
	buf := make([]byte, 65536)
	for {
		n, err := unix.Splice(fd, nil, p[1], nil, 65536, unix.SPLICE_F_MOVE)
		must(t, err)
		if n == 0 {
			return
		}
		for n > 0 {
			m, err := unix.Read(p[0], buf)
			must(t, err)
			n -= int64(m)
		}
	}
}

func TestSendfile(t *testing.T) {
	const n = 50000
	k := load(t, Config{})
	client, server := tcpPair(t)
	file, err := os.CreateTemp(t.TempDir(), "")
	must(t, err)
	defer file.Close()
	must(t, file.Truncate(n))
	sent, err := unix.Sendfile(client, int(file.Fd()), nil, n)
	must(t, err)
	if sent != n {
		t.Fatalf("sendfile moved %d, want %d", sent, n)
	}
	recvAll(t, server, n)
	l := ledger{}
	drain(t, k, l)
	l.expect(t, mine(FlowConnect, 6, localOf(t, server)), n, 0)
	l.expect(t, mine(FlowAccept, 6, localOf(t, client)), 0, n)
}

// Results of attempts, bytes or not.
func TestResults(t *testing.T) {
	k := load(t, Config{})
	refused := newSocket(t, unix.SOCK_STREAM, 0)
	bind(t, refused) // bound, not listening
	closedPort := localOf(t, refused)
	c := newSocket(t, unix.SOCK_STREAM, 0)
	if err := unix.Connect(c, closedPort); err != unix.ECONNREFUSED {
		t.Fatalf("connect: %v, want refused", err)
	}
	nowhere := newSocket(t, unix.SOCK_STREAM, 0)
	failed := &unix.SockaddrInet4{Addr: [4]byte{255, 255, 255, 255}, Port: 9}
	if err := unix.Connect(nowhere, failed); err == nil {
		t.Fatal("connect to broadcast succeeded")
	}
	unix.Close(nowhere)
	client, server := tcpPair(t)
	at, from := localOf(t, server), localOf(t, client)
	l := ledger{}
	drain(t, k, l)
	for key, want := range map[ledgerKey]uint8{
		mine(FlowConnect, 6, closedPort): ResultRefused,
		mine(FlowConnect, 6, failed):     ResultFailed,
		mine(FlowConnect, 6, at):         ResultEstablished,
	} {
		if r := l.expect(t, key, 0, 0); r.Result != want {
			t.Errorf("%v: result %d, want %d", key, r.Result, want)
		}
	}
	must(t, unix.SetsockoptLinger(client, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}))
	unix.Close(client)
	unix.Read(server, make([]byte, 1)) // takes the reset
	unix.Close(server)
	drain(t, k, l)
	if r := l.expect(t, mine(FlowConnect, 6, at), 0, 0); r.Result != ResultClosed || r.Flags&FlowClosed == 0 {
		t.Errorf("closed connection: result %d flags %d", r.Result, r.Flags)
	}
	if r := l.expect(t, mine(FlowAccept, 6, from), 0, 0); r.Result != ResultReset || r.Flags&FlowClosed == 0 {
		t.Errorf("reset connection: result %d flags %d", r.Result, r.Flags)
	}
}

// A socket may be used again for another connection, and by another process.
func TestReuse(t *testing.T) {
	k := load(t, Config{})
	lns := [2]int{}
	for i := range lns {
		lns[i] = newSocket(t, unix.SOCK_STREAM, 0)
		bind(t, lns[i])
		must(t, unix.Listen(lns[i], 8))
	}
	c := newSocket(t, unix.SOCK_STREAM, 0)
	l := ledger{}
	for i, ln := range lns {
		must(t, unix.Connect(c, localOf(t, ln)))
		send(t, c, 100+i)
		s, _, err := unix.Accept4(ln, unix.SOCK_CLOEXEC)
		must(t, err)
		recvAll(t, s, 100+i)
		unix.Close(s)
		must(t, disconnect(c))
	}
	drain(t, k, l)
	for i, ln := range lns {
		l.expect(t, mine(FlowConnect, 6, localOf(t, ln)), uint64(100+i), 0)
	}
	noLosses(t, k)
}

// A child that inherits a connected socket counts for itself.
func TestInheritedSocket(t *testing.T) {
	k := load(t, Config{})
	client, server := tcpPair(t)
	at, from := localOf(t, server), localOf(t, client)
	send(t, client, 10)
	dup, err := unix.Dup(client)
	must(t, err)
	file := os.NewFile(uintptr(dup), "socket")
	cmd := exec.Command("/bin/sh", "-c", "printf 12345 >&3; read line <&3; printf 678 >&3")
	cmd.ExtraFiles = []*os.File{file}
	must(t, cmd.Start())
	file.Close()
	recvAll(t, server, 15)
	if _, err := unix.Write(server, []byte("go\n")); err != nil {
		t.Fatal(err)
	}
	must(t, cmd.Wait())
	send(t, client, 20)
	recvAll(t, server, 23)
	l := ledger{}
	drain(t, k, l)
	l.expect(t, mine(FlowConnect, 6, at), 30, 0)
	l.expect(t, mine(FlowAccept, 6, from), 3, 38)
	child := mine(FlowConnect, 6, at)
	child.pid = uint32(cmd.Process.Pid)
	l.expect(t, child, 8, 3)
	noLosses(t, k)
}

// Listeners are told, also those that Go makes MPTCP of, and UDP servers.
func TestListeners(t *testing.T) {
	for _, tt := range []struct {
		name        string
		kind, proto int
		want        uint16
	}{
		{"tcp", unix.SOCK_STREAM, 0, 6},
		{"mptcp", unix.SOCK_STREAM, unix.IPPROTO_MPTCP, 262},
		{"udp", unix.SOCK_DGRAM, 0, 17},
	} {
		t.Run(tt.name, func(t *testing.T) {
			k := load(t, Config{})
			fd := newSocket(t, tt.kind, tt.proto)
			bind(t, fd)
			at := localOf(t, fd)
			if tt.kind == unix.SOCK_STREAM {
				must(t, unix.Listen(fd, 8))
			} else { // a port that the program chose
				unix.Close(fd)
				fd = newSocket(t, tt.kind, tt.proto)
				must(t, unix.Bind(fd, at))
			}
			l := ledger{}
			drain(t, k, l)
			key := ledgerKey{pid: uint32(os.Getpid()), kind: FlowListen, proto: tt.want, remote: unspecified}
			r := l.expect(t, key, 0, 0)
			if r.Result != ResultListening || int(r.Lport) != at.Port || r.Flags&FlowClosed != 0 {
				t.Errorf("result %d port %d flags %d, want listening on %d", r.Result, r.Lport, r.Flags, at.Port)
			}
			unix.Close(fd)
			drain(t, k, l)
			if r := l[key]; r == nil || r.Result != ResultClosed || r.Flags&FlowClosed == 0 {
				t.Errorf("after close: %+v", r)
			}
		})
	}
}

// MPTCP counts at the parent, also when the peer speaks plain TCP.
func TestMPTCP(t *testing.T) {
	for _, proto := range []int{unix.IPPROTO_MPTCP, 0} {
		t.Run(fmt.Sprint(proto), func(t *testing.T) {
			k := load(t, Config{})
			ln := newSocket(t, unix.SOCK_STREAM, unix.IPPROTO_MPTCP)
			bind(t, ln)
			must(t, unix.Listen(ln, 8))
			c := newSocket(t, unix.SOCK_STREAM, proto)
			must(t, unix.Connect(c, localOf(t, ln)))
			s, _, err := unix.Accept4(ln, unix.SOCK_CLOEXEC)
			must(t, err)
			send(t, c, 5000)
			recvAll(t, s, 5000)
			send(t, s, 300)
			recvAll(t, c, 300)
			from, at := localOf(t, c), localOf(t, ln)
			unix.Close(c)
			unix.Close(s)
			l := ledger{}
			drain(t, k, l)
			wire := uint16(262)
			if proto == 0 {
				wire = 6
			}
			l.expect(t, mine(FlowConnect, wire, at), 5000, 300)
			l.expect(t, mine(FlowAccept, wire, from), 300, 5000)
			if t.Failed() {
				t.Log(l)
			}
			noLosses(t, k)
		})
	}
}

// A process that becomes another program counts as two, with one socket.
func TestExecKeepsSocket(t *testing.T) {
	k := load(t, Config{})
	client, server := tcpPair(t)
	dup, err := unix.Dup(client)
	must(t, err)
	file := os.NewFile(uintptr(dup), "socket")
	cmd := exec.Command("/bin/sh", "-c", `printf 12 >&3; exec /bin/sh -c "printf 345 >&3"`)
	cmd.ExtraFiles = []*os.File{file}
	must(t, cmd.Run())
	file.Close()
	recvAll(t, server, 5)
	images := map[uint32]uint64{}
	must(t, k.Drain(func(f *Flow) {
		if f.Key.Id.Pid == uint32(cmd.Process.Pid) {
			images[f.Key.Id.Exec] += f.Value.Sent
		}
	}))
	var got []uint64
	for _, n := range images {
		got = append(got, n)
	}
	slices.Sort(got)
	if !slices.Equal(got, []uint64{2, 3}) {
		t.Errorf("images sent %v, want 2 and 3 bytes", got)
	}
}
