package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
)

// sender moves bytes out of the process in one way; it may take fewer than
// it was given. Not safe for concurrent use.
type sender interface {
	send(fd int, p []byte) (int, error)
	io.Closer
}

// receiver moves bytes into the process in one way; 0 without an error is the
// end of the stream.
type receiver interface {
	recv(fd int, p []byte) (int, error)
	io.Closer
}

// plain is a way without state, in either direction.
type plain func(fd int, p []byte) (int, error)

func (f plain) send(fd int, p []byte) (int, error) { return f(fd, p) }
func (f plain) recv(fd int, p []byte) (int, error) { return f(fd, p) }
func (f plain) Close() error                       { return nil }

func newSender(way string) (sender, error) {
	open, ok := senders()[way]
	if !ok {
		return nil, fmt.Errorf("no way to send is called %q; there are %q", way, slices.Sorted(maps.Keys(senders())))
	}
	s, err := open()
	if err != nil {
		return nil, fmt.Errorf("prepare to send by %s: %w", way, err)
	}
	return s, nil
}

func newReceiver(way string) (receiver, error) {
	open, ok := receivers()[way]
	if !ok {
		return nil, fmt.Errorf("no way to receive is called %q; there are %q", way, slices.Sorted(maps.Keys(receivers())))
	}
	r, err := open()
	if err != nil {
		return nil, fmt.Errorf("prepare to receive by %s: %w", way, err)
	}
	return r, nil
}

// sendAll calls s until all of p is gone.
func sendAll(s sender, fd int, p []byte) error {
	for len(p) > 0 {
		n, err := s.send(fd, p)
		if err != nil {
			return fmt.Errorf("send: %w", err)
		}
		if n <= 0 || n > len(p) {
			return fmt.Errorf("send: %d of %d bytes taken", n, len(p))
		}
		p = p[n:]
	}
	return nil
}
