package dns

import (
	"encoding/binary"

	"golang.org/x/crypto/cryptobyte"
)

const (
	recordHandshake  = 22
	recordHeaderLen  = 5
	maxRecordLen     = 1<<14 + 256
	clientHello      = 1
	extServerName    = 0
	extECH           = 0xfe0d // RFC 9849; browsers also send it as grease
	hostName         = 0
	maxHandshakeLen  = 1 << 17 // no client says more in its first message
	handshakeHdrLen  = 4
	legacyVersionMSB = 3
)

// progress says how far the reading of a ClientHello came.
type progress uint8

const (
	progressInvalid progress = iota
	helloMore                // what is there is well formed, more may come
	helloDone                // read to its end
	helloBad                 // no ClientHello
)

// hello is what a ClientHello says about names.
type hello struct {
	name string // server_name as normalise spells it, "" if there is none so far
	ech  bool   // encrypted_client_hello is there: the name may be that of the front
}

// unwrapRecords takes the handshake bytes out of TLS records (RFC 8446 §5.1),
// as far as they have come; ok is false when buf holds other things. Only a
// hello that spans records is copied.
func unwrapRecords(buf []byte) (handshake []byte, ok bool) {
	for first := true; len(buf) > 0; first = false {
		if buf[0] != recordHandshake || len(buf) > 1 && buf[1] != legacyVersionMSB {
			return handshake, !first // what follows the hello is none of it
		}
		if len(buf) < recordHeaderLen {
			return handshake, true
		}
		n := int(binary.BigEndian.Uint16(buf[3:]))
		if n == 0 || n > maxRecordLen {
			return handshake, !first
		}
		part := buf[recordHeaderLen:min(len(buf), recordHeaderLen+n)]
		buf = buf[recordHeaderLen+len(part):]
		if first {
			handshake = part[:len(part):len(part)]
		} else {
			handshake = append(handshake, part...)
		}
	}
	return handshake, true
}

// parseHello reads a ClientHello (RFC 8446 §4.1.2) from its handshake header on.
// It takes what has come so far: a name is returned as soon as its extension is
// complete, since the end of a long hello may never be captured.
func parseHello(msg []byte) (hello, progress) {
	if len(msg) > 0 && msg[0] != clientHello {
		return hello{}, helloBad
	}
	if len(msg) < handshakeHdrLen {
		return hello{}, helloMore
	}
	n := int(msg[1])<<16 | int(msg[2])<<8 | int(msg[3])
	if n > maxHandshakeLen {
		return hello{}, helloBad
	}
	msg = msg[handshakeHdrLen:]
	short := helloMore // what it means that bytes are missing
	if len(msg) >= n {
		msg, short = msg[:n], helloBad
	}
	s := cryptobyte.String(msg)
	if len(s) > 0 && s[0] != legacyVersionMSB {
		return hello{}, helloBad
	}
	var session, suites, compression cryptobyte.String
	if !s.Skip(2+32) || !s.ReadUint8LengthPrefixed(&session) ||
		!s.ReadUint16LengthPrefixed(&suites) || !s.ReadUint8LengthPrefixed(&compression) {
		return hello{}, short
	}
	if short == helloBad && s.Empty() {
		return hello{}, helloDone // TLS 1.2 without extensions
	}
	var length uint16
	if !s.ReadUint16(&length) {
		return hello{}, short
	}
	if short == helloBad && int(length) != len(s) {
		return hello{}, helloBad
	}
	return parseExtensions(s, short)
}

func parseExtensions(s cryptobyte.String, short progress) (h hello, _ progress) {
	for !s.Empty() {
		var typ uint16
		var data cryptobyte.String
		if !s.ReadUint16(&typ) || !s.ReadUint16LengthPrefixed(&data) {
			return h, short
		}
		switch typ {
		case extECH:
			h.ech = true
		case extServerName:
			name, ok := serverName(data)
			if !ok {
				return hello{}, helloBad
			}
			h.name = name
		}
	}
	if short == helloMore {
		return h, helloMore
	}
	return h, helloDone
}

// serverName reads the extension (RFC 6066 §3); ok is false when it is malformed
// or its name is no host name, which an address is not either.
func serverName(data cryptobyte.String) (string, bool) {
	var list cryptobyte.String
	if !data.ReadUint16LengthPrefixed(&list) || !data.Empty() {
		return "", false
	}
	for !list.Empty() {
		var typ uint8
		var name cryptobyte.String
		if !list.ReadUint8(&typ) || !list.ReadUint16LengthPrefixed(&name) {
			return "", false
		}
		if typ == hostName {
			return normalise(string(name))
		}
	}
	return "", false
}
