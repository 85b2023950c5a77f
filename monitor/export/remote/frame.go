package remote

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
)

// Kinds of messages between the core and its helper.
const (
	frameAccess = 'a' // JSON of an Access; answered
	frameParcel = 'p' // key and packed rows; answered
	frameAnswer = 'r' // JSON of an answer
)

// maxFrame bounds one message.
const maxFrame = maxPacked + keyBytes

const keyBytes = 16

// answer is what the helper says to a message.
type answer struct {
	Error string `json:"error,omitempty"` // it may have arrived or not
	Fresh bool   `json:"fresh,omitempty"` // it had not arrived before
	// Unreadable says that the parcel is damaged: no attempt will help.
	Unreadable bool `json:"unreadable,omitempty"`
}

func writeFrame(w io.Writer, kind byte, payload ...[]byte) error {
	n := 0
	for _, p := range payload {
		n += len(p)
	}
	if n > maxFrame {
		return fmt.Errorf("write message: %d bytes are more than %d", n, maxFrame)
	}
	b := make([]byte, 5, 5+n)
	b[0] = kind
	binary.BigEndian.PutUint32(b[1:], uint32(n))
	for _, p := range payload {
		b = append(b, p...)
	}
	if _, err := w.Write(b); err != nil {
		return fmt.Errorf("write message: %w", err)
	}
	return nil
}

// readFrame returns io.EOF, and nothing else, when the other side ended between
// two messages.
func readFrame(r io.Reader) (kind byte, payload []byte, err error) {
	var head [5]byte
	if _, err := io.ReadFull(r, head[:1]); err != nil {
		return 0, nil, err
	}
	if _, err := io.ReadFull(r, head[1:]); err != nil {
		return 0, nil, fmt.Errorf("read message: %w", err)
	}
	n := binary.BigEndian.Uint32(head[1:])
	if n > maxFrame {
		return 0, nil, fmt.Errorf("read message: %d bytes are more than %d", n, maxFrame)
	}
	payload = make([]byte, n)
	if _, err := io.ReadFull(r, payload); err != nil {
		return 0, nil, fmt.Errorf("read message: %w", err)
	}
	return head[0], payload, nil
}

func writeJSON(w io.Writer, kind byte, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("write message: %w", err)
	}
	return writeFrame(w, kind, b)
}
