package control

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// Errors that a client acts on.
var (
	ErrNotRunning = errors.New("the daemon is not running")
	ErrForbidden  = errors.New("the daemon refused: not root, and not in its group")
)

// maxLine bounds one message of the daemon.
const maxLine = 1 << 20

// Client asks the daemon of one state directory.
type Client struct {
	http *http.Client
}

// NewClient makes a client. It connects with the first question.
func NewClient(dir string) *Client {
	path := filepath.Join(dir, SocketName)
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "unix", path)
		},
		ResponseHeaderTimeout: answerWithin, DisableCompression: true, MaxResponseHeaderBytes: 16 << 10,
	}
	return &Client{http: &http.Client{Transport: transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

// Status asks how the daemon does.
func (c *Client) Status(ctx context.Context) (Status, error) {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	body, err := c.ask(ctx, http.MethodGet, "/v1/status")
	if err != nil {
		return Status{}, err
	}
	defer body.Close()
	var st Status
	if err := json.NewDecoder(io.LimitReader(body, maxLine)).Decode(&st); err != nil {
		return Status{}, fmt.Errorf("read status: %w", err)
	}
	return st, nil
}

// Flush asks that what was seen so far be brought into the database, and waits
// for it.
func (c *Client) Flush(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	body, err := c.ask(ctx, http.MethodPost, "/v1/flush")
	if err != nil {
		return err
	}
	return body.Close()
}

// Feed is an open /v1/live. One goroutine reads it; Close, from any, ends it.
type Feed struct {
	body  io.ReadCloser
	lines *bufio.Reader
}

// Live opens the feed: everything published from then on comes through it.
func (c *Client) Live(ctx context.Context) (*Feed, error) {
	body, err := c.ask(ctx, http.MethodGet, "/v1/live")
	if err != nil {
		return nil, err
	}
	f := &Feed{body: body, lines: bufio.NewReader(body)}
	hello, err := f.Next()
	if err == nil && hello.Type != TypeHello {
		err = fmt.Errorf("open feed: begins with %q", hello.Type)
	}
	if err != nil {
		return nil, errors.Join(err, body.Close())
	}
	return f, nil
}

// Next waits for the next message. io.EOF is the end of the daemon.
func (f *Feed) Next() (Message, error) {
	line, err := readLine(f.lines)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return Message{}, io.EOF
	}
	if err != nil {
		return Message{}, fmt.Errorf("read feed: %w", err)
	}
	var m Message
	if err := json.Unmarshal(line, &m); err != nil {
		return Message{}, fmt.Errorf("read feed: %w", err)
	}
	return m, nil
}

// Close ends the feed.
func (f *Feed) Close() error { return f.body.Close() }

func readLine(r *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case err == nil:
			return line, nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return nil, err
		case len(line) > maxLine:
			return nil, errors.New("message is longer than its bound")
		}
	}
}

func (c *Client) ask(ctx context.Context, method, path string) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://snitch"+path, nil)
	if err != nil {
		return nil, fmt.Errorf("ask daemon: %w", err)
	}
	resp, err := c.http.Do(req)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ECONNREFUSED), errors.Is(err, unix.ENOTDIR):
		return nil, ErrNotRunning
	case errors.Is(err, fs.ErrPermission):
		return nil, ErrForbidden
	case err != nil:
		return nil, fmt.Errorf("ask daemon: %w", err)
	case resp.StatusCode == http.StatusOK, resp.StatusCode == http.StatusNoContent:
		return resp.Body, nil
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusForbidden {
		return nil, ErrForbidden
	}
	var why refusal
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxLine)).Decode(&why); err != nil || why.Error == "" {
		why.Error = resp.Status
	}
	if err := enforceError(resp.StatusCode, why.Error); err != nil {
		return nil, err
	}
	return nil, fmt.Errorf("ask daemon: %s", why.Error)
}
