package web

import (
	"net"
	"sync"
)

// limited bounds the number of connections: further ones wait in the kernel.
type limited struct {
	net.Listener
	slots chan struct{}
	ended chan struct{}
	end   func()
}

func newLimited(l net.Listener, most int) *limited {
	ended := make(chan struct{})
	return &limited{Listener: l, slots: make(chan struct{}, most), ended: ended, end: sync.OnceFunc(func() { close(ended) })}
}

// Close ends an Accept that waits for a slot too.
func (l *limited) Close() error {
	l.end()
	return l.Listener.Close()
}

// Accept implements net.Listener.
func (l *limited) Accept() (net.Conn, error) {
	select {
	case l.slots <- struct{}{}:
	case <-l.ended:
		return nil, net.ErrClosed
	}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.slots
		return nil, err
	}
	return &slotConn{Conn: c, free: sync.OnceFunc(func() { <-l.slots })}, nil
}

// slotConn gives its slot back when it is closed.
type slotConn struct {
	net.Conn
	free func()
}

// NetConn is the connection itself, of which the peer can be asked.
func (c *slotConn) NetConn() net.Conn { return c.Conn }

// Close implements net.Conn.
func (c *slotConn) Close() error {
	defer c.free()
	return c.Conn.Close()
}
