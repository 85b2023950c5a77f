package bpf

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"testing"

	"golang.org/x/sys/unix"
)

// payloads polls until want bytes of a kind have come.
func payloads(t *testing.T, k *Kernel, kind uint8, want int) (recs []PayloadRecord, data []byte) {
	t.Helper()
	pollUntil(t, k, func(raw []byte) bool {
		if binary.NativeEndian.Uint16(raw) != RecordPayload {
			return false
		}
		r, rest := decode[PayloadRecord](t, raw)
		if r.Kind == kind {
			recs = append(recs, r)
			data = append(data, rest[:r.DataLen]...)
		}
		return len(data) >= want
	})
	return recs, data
}

// bindPort binds to a port of an address that nobody else uses.
func bindPort(t *testing.T, fd, port int) *unix.SockaddrInet4 {
	t.Helper()
	at := &unix.SockaddrInet4{Addr: [4]byte{127, 0, 53, 1}, Port: port}
	must(t, unix.Bind(fd, at))
	return at
}

func TestDNSPayloads(t *testing.T) {
	query, answer := bytes.Repeat([]byte("q"), 300), bytes.Repeat([]byte("a"), 5000)
	t.Run("udp", func(t *testing.T) {
		k := load(t, Config{})
		server := newSocket(t, unix.SOCK_DGRAM, 0)
		at := bindPort(t, server, 53)
		c := newSocket(t, unix.SOCK_DGRAM, 0)
		must(t, unix.Connect(c, at))
		_, err := unix.Write(c, query)
		must(t, err)
		_, from, err := unix.Recvfrom(server, make([]byte, 600), 0)
		must(t, err)
		must(t, unix.Sendto(server, answer, 0, from))
		_, err = unix.Read(c, make([]byte, 6000))
		must(t, err)
		recs, got := payloads(t, k, PayloadDNSQuery, len(query))
		if !bytes.Equal(got, query) || int(recs[0].Rport) != 53 || int(recs[0].Lport) != localOf(t, c).Port {
			t.Errorf("query %.20q %+v", got, recs)
		}
		// the first answer's record may have come with the query's
		must(t, unix.Sendto(server, answer, 0, from))
		recs, got = payloads(t, k, PayloadDNSAnswer, 4096)
		if !bytes.Equal(got[:4096], answer[:4096]) || recs[0].WireLen != uint32(len(answer)) {
			t.Errorf("answer of %d bytes %+v, want the first 4096 of %d", len(got), recs[0], len(answer))
		}
	})
	t.Run("tcp", func(t *testing.T) {
		k := load(t, Config{})
		ln := newSocket(t, unix.SOCK_STREAM, 0)
		must(t, unix.SetsockoptInt(ln, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1))
		at := bindPort(t, ln, 53)
		must(t, unix.Listen(ln, 1))
		c := newSocket(t, unix.SOCK_STREAM, 0)
		must(t, unix.Connect(c, at))
		s, _, err := unix.Accept4(ln, unix.SOCK_CLOEXEC)
		must(t, err)
		defer unix.Close(s)
		_, err = unix.Write(c, query)
		must(t, err)
		recs, got := payloads(t, k, PayloadDNSQuery, len(query))
		if !bytes.Equal(got, query) || recs[0].Proto != 6 {
			t.Errorf("query %.20q %+v", got, recs)
		}
		_, err = unix.Write(s, answer[:2000])
		must(t, err)
		_, got = payloads(t, k, PayloadDNSAnswer, 2000)
		if !bytes.Equal(got, answer[:2000]) {
			t.Errorf("answer %.20q", got)
		}
	})
}

// memConn lets crypto/tls write its hello where the test can take it; only
// Read and Write are called.
type memConn struct {
	net.Conn
	wrote bytes.Buffer
}

func (c *memConn) Read([]byte) (int, error)    { return 0, io.EOF }
func (c *memConn) Write(p []byte) (int, error) { return c.wrote.Write(p) }
func (c *memConn) Close() error                { return nil }

// hello is a ClientHello for a name, as crypto/tls makes it.
func hello(t *testing.T, name string) []byte {
	t.Helper()
	conn := &memConn{}
	_ = tls.Client(conn, &tls.Config{ServerName: name}).Handshake() // fails for want of an answer
	return conn.wrote.Bytes()
}

// A ClientHello is captured whole, also when it leaves in pieces; what follows
// it is not, nor is anything that is no hello.
func TestTLSPayload(t *testing.T) {
	for _, cuts := range [][]int{nil, {1}, {5, 40, 700}} {
		k := load(t, Config{})
		client, server := tcpPair(t)
		must(t, unix.SetsockoptInt(client, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1))
		data := hello(t, "snitch.example")
		if len(data) < 1000 {
			t.Fatalf("hello of %d bytes, want a post-quantum one", len(data))
		}
		at := 0
		for _, cut := range append(cuts, len(data)) {
			_, err := unix.Write(client, data[at:cut])
			must(t, err)
			recvAll(t, server, cut-at)
			at = cut
		}
		recs, got := payloads(t, k, PayloadTLS, len(data))
		if !bytes.Equal(got, data) {
			t.Errorf("cuts %v: %d bytes in %d records, want %d", cuts, len(got), len(recs), len(data))
		}
		for i := 1; i < len(recs); i++ {
			if recs[i].Seq != recs[i-1].Seq+recs[i-1].DataLen {
				t.Errorf("sequence %d after %d+%d", recs[i].Seq, recs[i-1].Seq, recs[i-1].DataLen)
			}
		}
	}
}

func TestQUICPayload(t *testing.T) {
	k := load(t, Config{})
	server := newSocket(t, unix.SOCK_DGRAM, 0)
	bind(t, server)
	initial := make([]byte, 1200)
	copy(initial, []byte{0xc3, 0, 0, 0, 1, 8})
	c := newSocket(t, unix.SOCK_DGRAM, 0)
	must(t, unix.Sendto(c, []byte("no"), 0, localOf(t, server)))
	must(t, unix.Sendto(c, make([]byte, 1200), 0, localOf(t, server)))
	must(t, unix.Sendto(c, initial, 0, localOf(t, server)))
	recs, got := payloads(t, k, PayloadQUIC, 1200)
	if len(recs) != 1 || !bytes.Equal(got, initial) {
		t.Errorf("%d records, %d bytes", len(recs), len(got))
	}
}
