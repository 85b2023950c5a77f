package main

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Every byte that travels is a function of its place in its stream, so that
// the receiver finds a byte that was lost, doubled or moved.
const (
	fromClient = 0x17
	fromServer = 0x8c
)

func patternAt(seed byte, offset uint64) byte {
	return byte(offset*131+(offset>>8)*17+(offset>>16)*29) ^ seed
}

func fill(p []byte, seed byte, offset uint64) {
	for i := range p {
		p[i] = patternAt(seed, offset+uint64(i))
	}
}

func check(p []byte, seed byte, offset uint64) error {
	for i, b := range p {
		if want := patternAt(seed, offset+uint64(i)); b != want {
			return fmt.Errorf("byte %d of the stream is %#02x, want %#02x", offset+uint64(i), b, want)
		}
	}
	return nil
}

// order is the head of a client's stream: how much follows and what the server
// shall send back. Its bytes count like all others.
type order struct {
	total    uint64 // bytes of the client, the order included
	reply    uint64 // bytes that the server sends
	untilEOF bool   // answer only after the client's end of file
	stop     bool   // the server does not read on: it leaves what follows
}

const (
	orderLen   = 24
	orderMagic = 0x536e6974
)

func (o order) put(p []byte) {
	binary.BigEndian.PutUint32(p, orderMagic)
	var bits uint32
	if o.untilEOF {
		bits |= 1
	}
	if o.stop {
		bits |= 2
	}
	binary.BigEndian.PutUint32(p[4:], bits)
	binary.BigEndian.PutUint64(p[8:], o.total)
	binary.BigEndian.PutUint64(p[16:], o.reply)
}

func readOrder(p []byte) (order, error) {
	if len(p) < orderLen || binary.BigEndian.Uint32(p) != orderMagic {
		return order{}, errors.New("the stream does not begin with an order")
	}
	bits := binary.BigEndian.Uint32(p[4:])
	return order{total: binary.BigEndian.Uint64(p[8:]), reply: binary.BigEndian.Uint64(p[16:]),
		untilEOF: bits&1 != 0, stop: bits&2 != 0}, nil
}
