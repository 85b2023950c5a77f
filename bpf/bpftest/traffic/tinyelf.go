package main

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"net/netip"

	"golang.org/x/sys/unix"
)

const (
	elfHeader     = 64
	programHeader = 56
	loadAddress   = 0x400000
)

// tinyELF is a whole amd64 program of some 300 bytes: it connects to an IPv4
// address, writes an order and exits, 0 when all of it was taken. The trailer
// makes each file another one.
func tinyELF(to netip.AddrPort, o order, trailer []byte) []byte {
	const addrLen = unix.SizeofSockaddrInet4
	code := func(addr, order int32) []byte {
		b := []byte{
			0xb8, 41, 0, 0, 0, // mov eax, SYS_socket
			0xbf, 2, 0, 0, 0, // mov edi, AF_INET
			0xbe, 1, 0, 0, 0, // mov esi, SOCK_STREAM
			0x31, 0xd2, // xor edx, edx
			0x0f, 0x05, // syscall
			0x89, 0xc7, // mov edi, eax
		}
		b = append(b, lea(addr-int32(len(b)))...)
		b = append(b,
			0xba, addrLen, 0, 0, 0, // mov edx, addrLen
			0xb8, 42, 0, 0, 0, // mov eax, SYS_connect
			0x0f, 0x05)
		b = append(b, lea(order-int32(len(b)))...)
		return append(b,
			0xba, orderLen, 0, 0, 0, // mov edx, orderLen
			0xb8, 1, 0, 0, 0, // mov eax, SYS_write
			0x0f, 0x05,
			0x83, 0xe8, orderLen, // sub eax, orderLen
			0x89, 0xc7, // mov edi, eax
			0xb8, 231, 0, 0, 0, // mov eax, SYS_exit_group
			0x0f, 0x05)
	}
	size := int32(len(code(0, 0)))
	body := code(size, size+addrLen)
	body = append(body, rawSockaddr(unix.AF_INET, to)...)
	head := make([]byte, orderLen)
	o.put(head)
	body = append(append(body, head...), trailer...)
	return append(headers(uint64(len(body))), body...)
}

// exitELF is the smallest amd64 program: exit_group(0).
func exitELF() []byte {
	code := []byte{
		0x31, 0xff, // xor edi, edi
		0xb8, 231, 0, 0, 0, // mov eax, SYS_exit_group
		0x0f, 0x05, // syscall
	}
	return append(headers(uint64(len(code))), code...)
}

// lea is `lea rsi, [rip+offset]`, the offset counted from its own beginning.
func lea(offset int32) []byte {
	return binary.LittleEndian.AppendUint32([]byte{0x48, 0x8d, 0x35}, uint32(offset-7))
}

// headers are an ELF header and one readable, executable segment for body.
func headers(body uint64) []byte {
	le := binary.LittleEndian
	const start = elfHeader + programHeader
	b := append([]byte{0x7f, 'E', 'L', 'F', 2, 1, 1}, make([]byte, 9)...)
	b = le.AppendUint16(b, 2)  // ET_EXEC
	b = le.AppendUint16(b, 62) // EM_X86_64
	b = le.AppendUint32(b, 1)
	b = le.AppendUint64(b, loadAddress+start)
	b = le.AppendUint64(b, elfHeader)
	b = le.AppendUint64(b, 0)
	b = le.AppendUint32(b, 0)
	for _, v := range []uint16{elfHeader, programHeader, 1, 0, 0, 0} {
		b = le.AppendUint16(b, v)
	}
	b = le.AppendUint32(b, 1) // PT_LOAD
	b = le.AppendUint32(b, 5) // read, execute
	for _, v := range []uint64{0, loadAddress, loadAddress, start + body, start + body, 0x1000} {
		b = le.AppendUint64(b, v)
	}
	return b
}

func sum(image []byte) string {
	s := sha256.Sum256(image)
	return hex.EncodeToString(s[:])
}
