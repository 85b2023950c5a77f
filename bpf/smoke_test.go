package bpf

import (
	"io"
	"net"
	"testing"
)

func TestSmoke(t *testing.T) {
	k := load(t, Config{})
	for _, at := range []string{"127.0.0.1:0", "[::1]:0"} {
		ln, err := net.Listen("tcp", at)
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan int64)
		go func() {
			c, _ := ln.Accept()
			n, _ := io.Copy(io.Discard, c)
			c.Write(make([]byte, 777))
			c.Close()
			done <- n
		}()
		c, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		for range 10 {
			c.Write(make([]byte, 100000))
		}
		c.(*net.TCPConn).CloseWrite()
		n, _ := io.Copy(io.Discard, c)
		t.Log(<-done, n)
		c.Close()
		ln.Close()
		s, err := net.ListenPacket("udp", at)
		if err != nil {
			t.Fatal(err)
		}
		u, _ := net.Dial("udp", s.LocalAddr().String())
		u.Write(make([]byte, 100))
		buf := make([]byte, 2000)
		_, from, _ := s.ReadFrom(buf)
		s.WriteTo(make([]byte, 50), from)
		u.Read(buf)
		u.Close()
		s.Close()
	}
	l := ledger{}
	drain(t, k, l)
	t.Logf("\n%s", l)
	noLosses(t, k)
}
