package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
)

// maxProblem bounds the text of an error that the helper passes on: servers
// write it.
const maxProblem = 512

// Work is the helper: it enters the server that the core names and delivers
// parcels until in ends. It reads no files but those of the system's resolver
// and certificates.
func Work(ctx context.Context, in io.Reader, out io.Writer) (err error) {
	h := helper{}
	defer func() { err = errors.Join(err, h.close()) }()
	for {
		kind, payload, err := readFrame(in)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		a, err := h.serve(ctx, kind, payload)
		if err != nil {
			return err
		}
		if err := writeJSON(out, frameAnswer, a); err != nil {
			return err
		}
	}
}

type helper struct{ db *DB }

// serve fails when the core sends nonsense, and answers with what went wrong
// otherwise.
func (h *helper) serve(ctx context.Context, kind byte, payload []byte) (answer, error) {
	switch {
	case kind == frameAccess:
		if err := h.close(); err != nil {
			return problem(err), nil
		}
		var access Access
		if err := decodeStrict(payload, &access); err != nil {
			return answer{}, fmt.Errorf("read access: %w", err)
		}
		db, err := Open(&access)
		if err != nil {
			return problem(err), nil
		}
		h.db = db
		return answer{}, nil
	case kind != frameParcel || len(payload) < keyBytes || h.db == nil:
		return answer{}, fmt.Errorf("message %q of %d bytes is not expected", kind, len(payload))
	}
	p, err := unpack([keyBytes]byte(payload), payload[keyBytes:])
	if err != nil {
		return answer{Error: problem(err).Error, Unreadable: true}, nil
	}
	fresh, err := h.db.Deliver(ctx, p)
	if err != nil {
		return problem(err), nil
	}
	return answer{Fresh: fresh}, nil
}

func problem(err error) answer { return answer{Error: clean(err.Error(), maxProblem)} }

func (h *helper) close() error {
	if h.db == nil {
		return nil
	}
	db := h.db
	h.db = nil
	return db.Close()
}
