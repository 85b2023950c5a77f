package custom

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"snitch/policy/rule"
)

// The worker's protocol: each message is a length of four bytes, most
// significant first, and so many bytes of JSON. The core asks, the worker
// answers with the same number; the first request loads the modules.
const (
	maxRequest  = 64 << 20 // modules and the lists that they read
	maxResponse = 32 << 20 // maxBatch answers of maxVotes each
	maxBatch    = 256      // inputs in one request
)

const (
	opLoad = "load"
	opEval = "eval"
)

type request struct {
	V   int    `json:"v"`
	Seq uint64 `json:"seq"`
	Op  string `json:"op"`
	// load
	Modules []wireModule `json:"modules,omitempty"`
	Lists   []wireList   `json:"lists,omitempty"`
	// eval
	Package  string            `json:"package,omitempty"`
	Inputs   []json.RawMessage `json:"inputs,omitempty"`
	Deadline int64             `json:"deadline_ns,omitempty"` // for each input
}

type wireModule struct {
	File   string `json:"file"`
	Source []byte `json:"source"`
}

type wireList struct {
	Name  string      `json:"name"`
	Hosts []rule.Host `json:"hosts"`
}

type response struct {
	V       int          `json:"v"`
	Seq     uint64       `json:"seq"`
	Error   string       `json:"error,omitempty"` // of the whole request
	Answers []wireAnswer `json:"answers,omitempty"`
}

type wireAnswer struct {
	Votes []wireVote `json:"votes,omitempty"`
	Error string     `json:"error,omitempty"`
	Late  bool       `json:"late,omitempty"` // the deadline passed
}

type wireVote struct {
	Set    string `json:"set"`
	ID     string `json:"id"`
	Reason string `json:"reason,omitempty"`
}

var (
	errFrame   = errors.New("message is longer than its bound")
	errVersion = fmt.Errorf("message is not of version %d", Version)
)

func writeFrame(w io.Writer, v any, most int) error {
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode message: %w", err)
	}
	if len(text) > most {
		return fmt.Errorf("encode message of %d bytes: %w", len(text), errFrame)
	}
	frame := make([]byte, 4, 4+len(text))
	binary.BigEndian.PutUint32(frame, uint32(len(text)))
	if _, err := w.Write(append(frame, text...)); err != nil {
		return fmt.Errorf("write message: %w", err)
	}
	return nil
}

// readFrame reads one message. io.EOF says that the other side ended between
// messages. Memory is taken as bytes arrive, not as they are announced.
func readFrame(r io.Reader, v any, most int) error {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		if errors.Is(err, io.EOF) {
			return io.EOF
		}
		return fmt.Errorf("read message: %w", err)
	}
	size := int64(binary.BigEndian.Uint32(head[:]))
	if size > int64(most) {
		return fmt.Errorf("read message of %d bytes: %w", size, errFrame)
	}
	var text bytes.Buffer
	if n, err := io.CopyN(&text, r, size); err != nil {
		return fmt.Errorf("read message: %d of %d bytes: %w", n, size, io.ErrUnexpectedEOF)
	}
	dec := json.NewDecoder(&text)
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return fmt.Errorf("decode message: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("decode message: something follows it")
	}
	return nil
}
