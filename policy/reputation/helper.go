package reputation

import (
	"bufio"
	"context"
	"errors"
	"io"
)

// Helper answers questions until in ends: see package and wire.
func Helper(ctx context.Context, in io.Reader, out io.Writer) error {
	r := bufio.NewReaderSize(in, maxFrame)
	var server Server
	if err := readJSON(r, maxServer, &server); err != nil {
		return err
	}
	c, err := newClient(server)
	if err != nil {
		return err
	}
	defer c.http.CloseIdleConnections()
	for {
		var req request
		err := readJSON(r, maxFrame, &req)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		var re reply
		switch req.Op {
		case opLook:
			re = c.look(ctx, req.SHA256)
		case opUpload:
			file := &chunks{r: r, left: req.Size}
			re = c.upload(ctx, req.SHA256, req.Size, file)
			// What the server did not want to read is in the way of the next question.
			if _, err := io.Copy(io.Discard, file); err != nil {
				return err
			}
		default:
			return errors.New("no such question")
		}
		if err := writeJSON(out, re); err != nil {
			return err
		}
	}
}
