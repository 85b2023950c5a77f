package dns

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
)

const (
	quicV1       = 1          // RFC 9000
	quicV2       = 0x6b3343cf // RFC 9369
	maxConnID    = 20
	sampleOffset = 4 // the header protection sample begins here behind the packet number's start
	sampleLen    = 16
	keyLen       = 16
	ivLen        = 12
)

var (
	errNotInitial = errors.New("no Initial packet")
	errNotQUIC    = errors.New("no QUIC long header")
)

// quicVersion is what differs between the versions.
type quicVersion struct {
	salt        []byte
	key, iv, hp string // labels of RFC 9001 §5.1 and RFC 9369 §3.3.2
	initial     byte   // long packet type of an Initial
}

func versionOf(v uint32) (quicVersion, bool) {
	switch v {
	case quicV1:
		return quicVersion{
			salt: []byte("\x38\x76\x2c\xf7\xf5\x59\x34\xb3\x4d\x17\x9a\xe6\xa4\xc8\x0c\xad\xcc\xbb\x7f\x0a"),
			key:  "quic key", iv: "quic iv", hp: "quic hp", initial: 0,
		}, true
	case quicV2:
		return quicVersion{
			salt: []byte("\x0d\xed\xe3\xde\xf7\x00\xa6\xdb\x81\x93\x81\xbe\x6e\x26\x9d\xcb\xf9\xbd\x2e\xd9"),
			key:  "quicv2 key", iv: "quicv2 iv", hp: "quicv2 hp", initial: 1,
		}, true
	}
	return quicVersion{}, false
}

// initialKeys opens the Initial packets of a client. They protect against
// nothing but accidents: they follow from the connection id in the packet.
type initialKeys struct {
	aead cipher.AEAD
	hp   cipher.Block
	iv   [ivLen]byte
}

func newInitialKeys(version uint32, dcid []byte) (*initialKeys, error) {
	v, ok := versionOf(version)
	if !ok {
		return nil, errNotInitial
	}
	initial, err := hkdf.Extract(sha256.New, dcid, v.salt)
	if err != nil {
		return nil, fmt.Errorf("extract initial secret: %w", err)
	}
	client, err := expandLabel(initial, "client in", sha256.Size)
	if err != nil {
		return nil, err
	}
	key, err1 := expandLabel(client, v.key, keyLen)
	iv, err2 := expandLabel(client, v.iv, ivLen)
	hp, err3 := expandLabel(client, v.hp, keyLen)
	if err := errors.Join(err1, err2, err3); err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("make packet cipher: %w", err)
	}
	k := &initialKeys{iv: [ivLen]byte(iv)}
	if k.aead, err = cipher.NewGCM(block); err != nil {
		return nil, fmt.Errorf("make packet cipher: %w", err)
	}
	if k.hp, err = aes.NewCipher(hp); err != nil {
		return nil, fmt.Errorf("make header cipher: %w", err)
	}
	return k, nil
}

// expandLabel is HKDF-Expand-Label of TLS 1.3 (RFC 8446 §7.1) without context.
func expandLabel(secret []byte, label string, n int) ([]byte, error) {
	label = "tls13 " + label
	info := binary.BigEndian.AppendUint16(nil, uint16(n))
	info = append(info, byte(len(label)))
	info = append(info, label...)
	info = append(info, 0)
	out, err := hkdf.Expand(sha256.New, secret, string(info), n)
	if err != nil {
		return nil, fmt.Errorf("expand %q: %w", label, err)
	}
	return out, nil
}

// initialPacket is one Initial, still protected.
type initialPacket struct {
	version uint32
	dcid    []byte
	raw     []byte // from the first byte of the header to the end of the payload
	number  int    // offset of the packet number in raw
}

// nextPacket splits the first packet off a datagram. An error errNotInitial
// leaves the rest readable: other long header packets are stepped over.
func nextPacket(b []byte) (p initialPacket, rest []byte, err error) {
	r := reader(b)
	first := r.bytes(1)
	p.version = uint32(r.uint(4))
	v, known := versionOf(p.version)
	if len(first) == 0 || first[0]&0x80 == 0 || !known {
		return p, nil, errNotQUIC
	}
	p.dcid = r.bytes(int(r.uint(1)))
	scid := r.bytes(int(r.uint(1)))
	typ := first[0] >> 4 & 3
	if r == nil || len(p.dcid) > maxConnID || len(scid) > maxConnID {
		return p, nil, errNotQUIC
	}
	if typ == v.initial {
		r.bytes(r.length()) // token
	}
	n := r.length()
	p.number = len(b) - len(r)
	r.bytes(n)
	if r == nil {
		return p, nil, errNotQUIC
	}
	p.raw = b[: p.number+n : p.number+n]
	if typ != v.initial {
		return p, r, errNotInitial
	}
	return p, r, nil
}

// open removes the protection (RFC 9001 §5.3, §5.4) and returns the frames. It
// works in buf, which must hold the packet; the packet itself stays as it is.
func (k *initialKeys) open(p initialPacket, buf []byte) ([]byte, bool) {
	if len(p.raw) < p.number+sampleOffset+sampleLen || len(buf) < len(p.raw) {
		return nil, false
	}
	buf = buf[:copy(buf, p.raw)]
	var mask [sampleLen]byte
	k.hp.Encrypt(mask[:], buf[p.number+sampleOffset:][:sampleLen])
	buf[0] ^= mask[0] & 0x0f
	n := int(buf[0]&3) + 1
	nonce := k.iv
	for i := range n {
		buf[p.number+i] ^= mask[1+i]
		nonce[ivLen-n+i] ^= buf[p.number+i]
	}
	body := buf[p.number+n:]
	out, err := k.aead.Open(body[:0], nonce[:], body, buf[:p.number+n])
	return out, err == nil
}

// reader takes fields off the front of a packet; it becomes nil when it runs out.
type reader []byte

func (r *reader) bytes(n int) []byte {
	if n < 0 || n > len(*r) || *r == nil {
		*r = nil
		return nil
	}
	b := (*r)[:n]
	*r = (*r)[n:]
	return b
}

func (r *reader) uint(n int) uint64 {
	var v uint64
	for _, c := range r.bytes(n) {
		v = v<<8 | uint64(c)
	}
	return v
}

// varint reads a variable-length integer (RFC 9000 §16).
func (r *reader) varint() uint64 {
	if len(*r) == 0 {
		*r = nil
		return 0
	}
	n := 1 << ((*r)[0] >> 6)
	return r.uint(n) &^ (3 << (8*n - 2))
}

// length reads a varint that counts bytes of the same packet.
func (r *reader) length() int {
	v := r.varint()
	if v > uint64(len(*r)) {
		*r = nil
		return 0
	}
	return int(v)
}
