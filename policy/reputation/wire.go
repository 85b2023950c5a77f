package reputation

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"snitch/monitor/event"
)

// Server is the first thing that Helper reads.
type Server struct {
	URL string `json:"url"` // https://host
	Key string `json:"key"`
	CA  []byte `json:"ca,omitempty"` // PEM; none: the system's
}

// request is a question. An upload is followed by Size bytes in frames.
type request struct {
	Op     string       `json:"op"` // look or upload
	SHA256 event.Digest `json:"sha256"`
	Size   int64        `json:"size,omitempty"`
}

const (
	opLook   = "look"
	opUpload = "upload"
)

// reply is the answer to a request.
type reply struct {
	Answer Answer `json:"answer"`
	// Error says why there is no answer, and Kind what follows from that.
	Error string `json:"error,omitempty"`
	Kind  string `json:"kind,omitempty"`
	After int64  `json:"after,omitempty"` // seconds that the server wants to rest
}

// Kinds of errors.
const (
	kindQuota  = "quota"  // too many questions
	kindKey    = "key"    // the key is not taken: no question helps
	kindAway   = "away"   // the server does not answer, or nonsense
	kindUpload = "upload" // the file was not taken; others may be
)

// Bounds of frames.
const (
	maxServer = 1 << 18
	maxFrame  = 64 << 10
)

// readFrame reads four bytes of length and what follows; io.EOF is an end
// between two.
func readFrame(r io.Reader, most int) ([]byte, error) {
	var length [4]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, io.EOF
		}
		return nil, fmt.Errorf("read frame: %w", err)
	}
	n := binary.BigEndian.Uint32(length[:])
	if n == 0 || n > uint32(most) {
		return nil, fmt.Errorf("read frame: %d bytes, at most %d are read", n, most)
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, fmt.Errorf("read frame: %w", io.ErrUnexpectedEOF)
	}
	return b, nil
}

func writeFrame(w io.Writer, b []byte) error {
	if _, err := w.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...)); err != nil {
		return fmt.Errorf("write frame: %w", err)
	}
	return nil
}

func writeJSON(w io.Writer, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode frame: %w", err)
	}
	return writeFrame(w, b)
}

func readJSON(r io.Reader, most int, v any) error {
	b, err := readFrame(r, most)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("decode frame: %w", err)
	}
	return nil
}

// chunks reads the bytes of a file that come in frames.
type chunks struct {
	r    io.Reader
	left int64
	rest []byte
}

func (c *chunks) Read(p []byte) (int, error) {
	if len(c.rest) == 0 {
		if c.left == 0 {
			return 0, io.EOF
		}
		b, err := readFrame(c.r, int(min(maxFrame, c.left)))
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return 0, err
		}
		c.rest, c.left = b, c.left-int64(len(b))
	}
	n := copy(p, c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

// writeChunks sends size bytes of r.
func writeChunks(w io.Writer, r io.Reader, size int64) error {
	buf := make([]byte, maxFrame)
	for size > 0 {
		n, err := io.ReadFull(r, buf[:min(maxFrame, size)])
		if err != nil {
			return fmt.Errorf("read file: %w", err)
		}
		if err := writeFrame(w, buf[:n]); err != nil {
			return err
		}
		size -= int64(n)
	}
	return nil
}
