package export

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
)

// Form writes one item as a line, with its end; nil for items that it has no
// line for.
type Form func(i *Item) ([]byte, error)

// JSONLines writes each item as one JSON object a line. What is no UTF-8 is
// replaced, and nothing in a line can end it.
func JSONLines(i *Item) ([]byte, error) {
	var v any
	switch {
	case i.Connection != nil:
		v = i.Connection
	case i.Program != nil:
		v = i.Program
	case i.Alert != nil:
		v = i.Alert
	default:
		return nil, nil
	}
	line, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode line: %w", err)
	}
	return append(line, '\n'), nil
}

// textLog is an Output that writes lines to a File.
type textLog struct {
	file *File
	form Form
}

// NewTextLog writes items to file in the given form.
func NewTextLog(file *File, form Form) Output { return &textLog{file, form} }

// pieceBytes is how much is written at once, so that a rotation is not late.
const pieceBytes = 64 << 10

func (t *textLog) Write(_ context.Context, items []Item) (taken int, err error) {
	lost := 0
	var piece bytes.Buffer
	in := 0
	flush := func() {
		if in == 0 {
			return
		}
		if _, writeErr := t.file.Write(piece.Bytes()); writeErr != nil {
			lost, err = lost+in, writeErr
		}
		piece.Reset()
		in = 0
	}
	for i := range items {
		line, formErr := t.form(&items[i])
		if formErr != nil {
			lost, err = lost+1, formErr
			continue
		}
		if len(line) == 0 {
			continue
		}
		if piece.Len()+len(line) > pieceBytes {
			flush()
		}
		piece.Write(line)
		in++
	}
	flush()
	return len(items) - lost, err
}

func (t *textLog) Close() error { return t.file.Close() }
