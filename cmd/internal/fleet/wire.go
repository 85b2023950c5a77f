package fleet

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"

	"snitch/policy/bundle"
)

// What a helper is asked for.
const (
	askBundle = "bundle" // GET of an HTTPS address
	askGit    = "git"    // objects of a branch
	askPGP    = "pgp"    // does this signature fit one of these keys?
)

// Request is what the core asks of a helper: one, as a line of JSON.
type Request struct {
	Ask   string `json:"ask"`
	URL   string `json:"url,omitempty"`
	Token string `json:"token,omitempty"` // "user:password", else a bearer token
	CA    string `json:"ca,omitempty"`    // PEM; "" is the system's
	ETag  string `json:"etag,omitempty"`  // of what was judged already: the server's, or a commit

	Dir        string `json:"dir,omitempty"` // the helper's own
	Branch     string `json:"branch,omitempty"`
	Path       string `json:"path,omitempty"`
	Have       string `json:"have,omitempty"`    // commit from which the way is shown
	SSHKey     string `json:"ssh_key,omitempty"` // files that the helper may read
	KnownHosts string `json:"known_hosts,omitempty"`

	Keyring   []byte `json:"keyring,omitempty"`
	Payload   []byte `json:"payload,omitempty"`
	Signature []byte `json:"signature,omitempty"`
}

// Reply is what came back. The helper is not believed: nothing in it is true
// before it was verified.
type Reply struct {
	Unchanged bool   `json:"unchanged,omitempty"`
	ETag      string `json:"etag,omitempty"`
	Tip       string `json:"tip,omitempty"`
	Error     string `json:"error,omitempty"` // for people
	Data      []byte `json:"-"`
}

// Bounds of the conversation.
const (
	maxRequest = 8 << 20
	maxData    = bundle.MaxPacked
	maxReply   = 64 << 10
	maxChunk   = 1 << 16
	maxText    = 2000 // bytes of a helper's own words
)

// Ask sends a request to a helper and reads its answer. It closes conn when ctx
// ends.
func Ask(ctx context.Context, conn net.Conn, req Request) (Reply, error) {
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	reply, err := ask(conn, req)
	if ctx.Err() != nil {
		return Reply{}, fmt.Errorf("%s: %w", req.Ask, context.Cause(ctx))
	}
	return reply, err
}

func ask(conn io.ReadWriter, req Request) (Reply, error) {
	line, err := json.Marshal(req)
	if err != nil {
		return Reply{}, fmt.Errorf("ask helper: %w", err)
	}
	if _, err := conn.Write(append(line, '\n')); err != nil {
		return Reply{}, fmt.Errorf("ask helper: %w", err)
	}
	var r Reply
	in := bufio.NewReader(conn)
	for {
		n, err := frame(in, maxChunk)
		if err != nil {
			return Reply{}, err
		}
		if n == nil {
			break
		}
		if len(r.Data)+len(n) > maxData {
			return Reply{}, fmt.Errorf("read from helper: more than %d bytes", maxData)
		}
		r.Data = append(r.Data, n...)
	}
	end, err := frame(in, maxReply)
	if err != nil {
		return Reply{}, err
	}
	if err := json.Unmarshal(end, &r); err != nil {
		return Reply{}, fmt.Errorf("read from helper: %w", err)
	}
	if r.Error != "" {
		return Reply{}, fmt.Errorf("%.*q", maxText, r.Error)
	}
	return r, nil
}

// frame reads a length and that many bytes; nil for an empty one.
func frame(in io.Reader, most uint32) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(in, head[:]); err != nil {
		return nil, fmt.Errorf("read from helper: it ended: %w", err)
	}
	n := binary.BigEndian.Uint32(head[:])
	if n > most {
		return nil, errors.New("read from helper: a frame is too long")
	}
	if n == 0 {
		return nil, nil
	}
	data := make([]byte, n)
	if _, err := io.ReadFull(in, data); err != nil {
		return nil, fmt.Errorf("read from helper: it ended: %w", err)
	}
	return data, nil
}

// frames writes data as frames, up to its bound.
type frames struct {
	out  io.Writer
	left int
}

func (f *frames) Write(data []byte) (int, error) {
	if f.left -= len(data); f.left < 0 {
		return 0, fmt.Errorf("more than %d bytes", maxData)
	}
	written := 0
	for len(data) > 0 {
		n := min(len(data), maxChunk)
		if err := put(f.out, data[:n]); err != nil {
			return written, err
		}
		data, written = data[n:], written+n
	}
	return written, nil
}

func put(out io.Writer, data []byte) error {
	_, err := out.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(data))), data...))
	return err
}

// Work is a helper's work: it answers one request and ends.
func Work(ctx context.Context, in io.Reader, out io.Writer) error {
	line, err := bufio.NewReader(io.LimitReader(in, maxRequest)).ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("read request: %w", err)
	}
	var req Request
	if err := json.Unmarshal(line, &req); err != nil {
		return fmt.Errorf("read request: %w", err)
	}
	to := &frames{out: out, left: maxData}
	var reply Reply
	switch req.Ask {
	case askBundle:
		reply, err = fetchBundle(ctx, req, to)
	case askGit:
		reply, err = fetchGit(ctx, req, to)
	case askPGP:
		err = verifyPGP(ctx, req)
	default:
		err = fmt.Errorf("no such request %.20q", req.Ask)
	}
	if err != nil {
		reply = Reply{Error: fmt.Sprintf("%.*s", maxText, err.Error())}
	}
	end, err := json.Marshal(reply)
	if err != nil {
		return fmt.Errorf("answer: %w", err)
	}
	return errors.Join(put(out, nil), put(out, end))
}
