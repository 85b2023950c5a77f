package features

import (
	"bytes"
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// A script is a program without a language: a table of system calls that a
// loop of a few instructions walks through. It lets a probe run a process of
// its own, in a cgroup of its own, that does exactly what is to be seen and
// needs no file of the host. The first call that fails ends the process with
// the call's place in the table, from 1, as its exit status.
type script []call

type call struct {
	name string
	nr   uint64
	args [6]uint64
}

// Where the two segments of a script lie: the file is mapped twice, once to be
// run and once to be written.
const (
	codeBase = 0x400000
	dataBase = 0x500000
	headers  = 64 + 2*56 // ELF header and two program headers
	dataSize = 128       // scratch for addresses and buffers
)

// Offsets in the scratch area. The process is started with descriptor 0 open
// on its own file; the sockets follow from 1 in the order of the calls.
const (
	udpAddr   = 0
	tcpAddr   = 16
	peerAddr  = 32
	udpLen    = 48
	tcpLen    = 52
	peerLen   = 56
	offset    = 64
	buffer    = 72
	linkAddr  = 96
	sockaddr4 = 16
	sockaddrL = 20
)

// traffic sends a datagram to itself and a byte and a file over a TCP
// connection to itself. Receives wait for what was sent, so when it ends every
// hook on the way has run.
func traffic() script {
	at := func(off uint64) uint64 { return dataBase + headers + off }
	return script{
		{"socket udp", unix.SYS_SOCKET, [6]uint64{unix.AF_INET, unix.SOCK_DGRAM}}, // 1
		{"bind udp", unix.SYS_BIND, [6]uint64{1, at(udpAddr), sockaddr4}},
		{"getsockname udp", unix.SYS_GETSOCKNAME, [6]uint64{1, at(udpAddr), at(udpLen)}},
		{"sendto udp", unix.SYS_SENDTO, [6]uint64{1, at(buffer), 1, 0, at(udpAddr), sockaddr4}},
		{"recvfrom udp", unix.SYS_RECVFROM, [6]uint64{1, at(buffer), 1, 0, at(peerAddr), at(peerLen)}},
		{"socket tcp", unix.SYS_SOCKET, [6]uint64{unix.AF_INET, unix.SOCK_STREAM}}, // 2
		{"bind tcp", unix.SYS_BIND, [6]uint64{2, at(tcpAddr), sockaddr4}},
		{"listen", unix.SYS_LISTEN, [6]uint64{2, 1}},
		{"getsockname tcp", unix.SYS_GETSOCKNAME, [6]uint64{2, at(tcpAddr), at(tcpLen)}},
		{"socket client", unix.SYS_SOCKET, [6]uint64{unix.AF_INET, unix.SOCK_STREAM}}, // 3
		{"connect", unix.SYS_CONNECT, [6]uint64{3, at(tcpAddr), sockaddr4}},
		{"accept", unix.SYS_ACCEPT4, [6]uint64{2}}, // 4
		{"sendto tcp", unix.SYS_SENDTO, [6]uint64{3, at(buffer), 1}},
		{"recvfrom tcp", unix.SYS_RECVFROM, [6]uint64{4, at(buffer), 1}},
		{"sendfile", unix.SYS_SENDFILE, [6]uint64{3, 0, at(offset), 1}},
		{"recvfrom sendfile", unix.SYS_RECVFROM, [6]uint64{4, at(buffer), 1}},
		{"close udp", unix.SYS_CLOSE, [6]uint64{1}},
		{"close client", unix.SYS_CLOSE, [6]uint64{3}},
		{"close server", unix.SYS_CLOSE, [6]uint64{4}},
		{"close listener", unix.SYS_CLOSE, [6]uint64{2}},
		{"exit", unix.SYS_EXIT_GROUP, [6]uint64{0}},
	}
}

// packets sends a frame to the loopback and receives it.
func packets() script {
	at := func(off uint64) uint64 { return dataBase + headers + off }
	const everything = 0x0300 // ETH_P_ALL in network order
	return script{
		{"socket packet", unix.SYS_SOCKET, [6]uint64{unix.AF_PACKET, unix.SOCK_DGRAM, everything}}, // 1
		{"sendto packet", unix.SYS_SENDTO, [6]uint64{1, at(buffer), 1, 0, at(linkAddr), sockaddrL}},
		{"recvfrom packet", unix.SYS_RECVFROM, [6]uint64{1, at(buffer), 1}},
		{"exit", unix.SYS_EXIT_GROUP, [6]uint64{0}},
	}
}

// quiet only ends.
func quiet() script { return script{{"exit", unix.SYS_EXIT_GROUP, [6]uint64{0}}} }

// failed names the call that an exit status stands for.
func (s script) failed(status int) string {
	if status > 0 && status <= len(s) {
		return s[status-1].name
	}
	return "the script"
}

// image assembles the script into a static executable.
func (s script) image() []byte {
	scratch := make([]byte, dataSize)
	loopback := []byte{unix.AF_INET, 0, 0, 0, 127, 0, 0, 1} // sin_family is little endian on both machines
	for _, at := range []int{udpAddr, tcpAddr, peerAddr} {
		copy(scratch[at:], loopback)
	}
	// family, protocol 0x88b5 (for experiments), interface 1, Ethernet address 0
	copy(scratch[linkAddr:], []byte{unix.AF_PACKET, 0, 0x88, 0xb5, 1, 0, 0, 0, 0, 0, 0, 6})
	for _, at := range []int{udpLen, tcpLen, peerLen} {
		scratch[at] = sockaddr4
	}
	var body bytes.Buffer
	body.Write(scratch)
	body.Write(machineCode)
	for _, c := range s {
		body.Write(binary.LittleEndian.AppendUint64(nil, c.nr))
		for _, arg := range c.args {
			body.Write(binary.LittleEndian.AppendUint64(nil, arg))
		}
	}
	return append(elfHeaders(uint64(body.Len())), body.Bytes()...)
}

// elfHeaders describes a file of that many bytes behind the headers.
func elfHeaders(body uint64) []byte {
	const (
		executable, current, load = 2, 1, 1
		x, w, r                   = 1, 2, 4
		align                     = 0x10000 // the largest page of arm64
	)
	le := binary.LittleEndian
	h := []byte{0x7f, 'E', 'L', 'F', 2, 1, current, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	h = le.AppendUint16(h, executable)
	h = le.AppendUint16(h, elfMachine)
	h = le.AppendUint32(h, current)
	h = le.AppendUint64(h, codeBase+headers+dataSize) // entry
	h = le.AppendUint64(h, 64)                        // program headers
	h = le.AppendUint64(h, 0)                         // no sections
	h = le.AppendUint32(h, 0)
	for _, v := range []uint16{64, 56, 2, 0, 0, 0} {
		h = le.AppendUint16(h, v)
	}
	for _, segment := range []struct{ base, flags uint64 }{{codeBase, r | x}, {dataBase, r | w}} {
		h = le.AppendUint32(h, load)
		h = le.AppendUint32(h, uint32(segment.flags))
		size := headers + body
		for _, v := range []uint64{0, segment.base, segment.base, size, size, align} {
			h = le.AppendUint64(h, v)
		}
	}
	return h
}
