package notify

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// maxMessage bounds a line of the conversation between core and helper.
const maxMessage = 16 << 10

// said is one line of the helper.
type said struct {
	Event  string `json:"event"`
	Key    uint64 `json:"key,omitempty"`
	Action string `json:"action,omitempty"`
}

// The values of said.Event.
const (
	saidShown     = "shown"     // the server took the toast of Key
	saidWaiting   = "waiting"   // there is no server now; the toast is kept for the next
	saidAction    = "action"    // a click
	saidDismissed = "dismissed" // the person put it away
)

// writeLine writes v as one line, whole.
func writeLine(w io.Writer, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode message: %w", err)
	}
	if len(b) >= maxMessage {
		return errors.New("encode message: it is longer than its bound")
	}
	if _, err := w.Write(append(b, '\n')); err != nil {
		return fmt.Errorf("write message: %w", err)
	}
	return nil
}

// lineReader reads what writeLine wrote.
type lineReader struct {
	lines *bufio.Scanner
}

func newLineReader(r io.Reader) *lineReader {
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, 1024), maxMessage)
	return &lineReader{lines}
}

// read returns io.EOF at the end. Unknown fields are refused.
func (r *lineReader) read(v any) error {
	if !r.lines.Scan() {
		if err := r.lines.Err(); err != nil {
			return fmt.Errorf("read message: %w", err)
		}
		return io.EOF
	}
	return decodeLine(r.lines.Bytes(), v)
}

func decodeLine(line []byte, v any) error {
	dec := json.NewDecoder(bytes.NewReader(line))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return fmt.Errorf("decode message: %w", err)
	}
	if dec.InputOffset() != int64(len(line)) {
		return errors.New("decode message: something follows it")
	}
	return nil
}
