package queue

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// Messages and attributes of nfnetlink_queue.
const (
	subsystem  = 3 << 8 // NFNL_SUBSYS_QUEUE
	msgPacket  = subsystem
	msgVerdict = subsystem | 1
	msgConfig  = subsystem | 2

	attrHeader  = 1
	attrVerdict = 2
	attrMark    = 3
	attrPayload = 10
	attrCapLen  = 13
	attrUID     = 16

	cfgCommand = 1
	cfgParams  = 2
	cfgMaxLen  = 3
	cfgMask    = 4
	cfgFlags   = 5

	commandBind = 1
	copyPacket  = 2

	flagFailOpen = 1
	flagGSO      = 4
	flagUID      = 8

	verdictAccept = 1
	verdictRepeat = 4

	nlHeader = unix.SizeofNlMsghdr
	nfHeader = 4
)

// appendMessage writes the headers of a message; finish writes its length.
func appendMessage(to []byte, kind, flags, number uint16) []byte {
	to = append(to, 0, 0, 0, 0)
	to = binary.NativeEndian.AppendUint16(to, kind)
	to = binary.NativeEndian.AppendUint16(to, unix.NLM_F_REQUEST|flags)
	to = append(to, make([]byte, 8)...)
	to = append(to, unix.AF_UNSPEC, 0)
	return binary.BigEndian.AppendUint16(to, number)
}

func finish(message []byte) []byte {
	binary.NativeEndian.PutUint32(message, uint32(len(message)))
	return message
}

func appendAttr(to []byte, kind uint16, data ...byte) []byte {
	to = binary.NativeEndian.AppendUint16(to, uint16(4+len(data)))
	to = binary.NativeEndian.AppendUint16(to, kind)
	to = append(to, data...)
	return append(to, make([]byte, -len(data)&3)...)
}

func be32(v uint32) []byte { return binary.BigEndian.AppendUint32(nil, v) }

// eachAttr calls f with every attribute; kinds are without their flags.
func eachAttr(b []byte, f func(kind uint16, data []byte) error) error {
	for len(b) >= 4 {
		size := int(binary.NativeEndian.Uint16(b))
		if size < 4 || size > len(b) {
			return fmt.Errorf("an attribute of %d bytes in %d", size, len(b))
		}
		if err := f(binary.NativeEndian.Uint16(b[2:])&^(unix.NLA_F_NESTED|unix.NLA_F_NET_BYTEORDER), b[4:size]); err != nil {
			return err
		}
		b = b[min(len(b), (size+3)&^3):]
	}
	return nil
}

var errShort = errors.New("an attribute is too short")

// parse reads a message of the kernel about one packet, without its headers.
// What it keeps of b it copies.
func parse(b []byte) (*Packet, error) {
	p := &Packet{}
	known := false
	err := eachAttr(b, func(kind uint16, data []byte) error {
		switch {
		case kind == attrPayload:
			p.Data = append([]byte(nil), data...)
			return nil
		case kind == attrHeader && len(data) >= 7:
			p.id, p.Hook, known = binary.BigEndian.Uint32(data), data[6], true
			return nil
		case kind != attrHeader && kind != attrMark && kind != attrUID && kind != attrCapLen:
			return nil
		case len(data) < 4 || kind == attrHeader:
			return errShort
		}
		value := binary.BigEndian.Uint32(data)
		switch kind {
		case attrMark:
			p.Mark = value
		case attrUID:
			p.UID, p.HasUID = value, true
		case attrCapLen:
			p.Length = value
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if !known {
		return nil, errors.New("a packet without a number")
	}
	p.Length = max(p.Length, uint32(len(p.Data)))
	p.addresses()
	return p, nil
}
