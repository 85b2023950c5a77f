package export

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// Settings is the first thing that SyslogHelper reads: where to, and by which
// keys. The helper may read no files.
type Settings struct {
	Target      Target `json:"target"`
	CA          []byte `json:"ca,omitempty"`          // PEM; none: the system's
	Certificate []byte `json:"certificate,omitempty"` // PEM, of this host
	Key         []byte `json:"key,omitempty"`         // PEM
}

// Bounds of the conversation between the daemon and its helper.
const (
	maxSettings = 1 << 18
	dialWithin  = 10 * time.Second
	sendWithin  = 10 * time.Second
	maxAnswer   = 512
)

// SyslogHelper sends messages to a syslog server: the work of a process without
// privileges, for what a server answers in TLS is read there and not in the
// daemon. in has Settings as one frame and then a frame a message (four bytes of
// length, then the message); out gets a line a message, "ok" when it was handed
// to the network, else why not.
func SyslogHelper(ctx context.Context, in io.Reader, out io.Writer) error {
	frames := bufio.NewReader(in)
	b, err := readFrame(frames, maxSettings)
	if err != nil {
		return fmt.Errorf("read settings: %w", err)
	}
	var settings Settings
	if err := json.Unmarshal(b, &settings); err != nil {
		return fmt.Errorf("read settings: %w", err)
	}
	s := sender{settings: settings}
	defer s.close()
	for {
		message, err := readFrame(frames, maxMessage)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read message: %w", err)
		}
		answer := "ok"
		if err := s.send(ctx, message); err != nil {
			answer = plainText(err.Error(), maxAnswer-2)
		}
		if _, err := io.WriteString(out, answer+"\n"); err != nil {
			return fmt.Errorf("answer: %w", err)
		}
	}
}

// sender is a connection to a syslog server, made when it is needed.
type sender struct {
	settings Settings
	conn     net.Conn
	closed   chan struct{} // of a stream: the server ended it
}

// send hands a message to the network. Over a stream it is sent a second time on
// a new connection when the server closed the old one meanwhile.
func (s *sender) send(ctx context.Context, message []byte) error {
	if s.settings.Target.stream() {
		message = Frame(message)
	}
	if s.conn != nil && s.ended() {
		s.close()
	}
	fresh := s.conn == nil
	if err := s.ready(ctx); err != nil {
		return err
	}
	err := s.write(message)
	if err != nil && !fresh {
		s.close()
		if err = s.ready(ctx); err == nil {
			err = s.write(message)
		}
	}
	if err != nil {
		s.close()
		return fmt.Errorf("send to %s: %w", s.settings.Target, err)
	}
	return nil
}

func (s *sender) write(b []byte) error {
	if err := s.conn.SetWriteDeadline(time.Now().Add(sendWithin)); err != nil {
		return err
	}
	_, err := s.conn.Write(b)
	return err
}

func (s *sender) ready(ctx context.Context) error {
	if s.conn != nil {
		return nil
	}
	conn, err := s.dial(ctx)
	if err != nil {
		return fmt.Errorf("reach %s: %w", s.settings.Target, err)
	}
	s.conn = conn
	if s.settings.Target.stream() {
		s.watch()
	}
	return nil
}

// watch notices the end of a stream: servers of syslog say nothing else.
func (s *sender) watch() {
	s.closed = make(chan struct{})
	go func(conn net.Conn, closed chan struct{}) {
		defer close(closed)
		buf := make([]byte, 256)
		for {
			if _, err := conn.Read(buf); err != nil {
				return
			}
		}
	}(s.conn, s.closed)
}

func (s *sender) ended() bool {
	select {
	case <-s.closed:
		return true
	default:
		return false // also of datagrams, whose channel is nil
	}
}

func (s *sender) close() {
	if s.conn == nil {
		return
	}
	_ = s.conn.Close() // over
	if s.closed != nil {
		<-s.closed
	}
	s.conn, s.closed = nil, nil
}

func (s *sender) dial(ctx context.Context) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialWithin)
	defer cancel()
	var d net.Dialer
	t := s.settings.Target
	switch t.Network {
	case "unix":
		return d.DialContext(ctx, "unixgram", t.Address)
	case "udp", "tcp":
		return d.DialContext(ctx, t.Network, t.Address)
	}
	cfg := &tls.Config{MinVersion: tls.VersionTLS12}
	if len(s.settings.CA) > 0 {
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(s.settings.CA) {
			return nil, errors.New("no certificate in the file of ca")
		}
	}
	if len(s.settings.Certificate) > 0 {
		pair, err := tls.X509KeyPair(s.settings.Certificate, s.settings.Key)
		if err != nil {
			return nil, err
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	return (&tls.Dialer{NetDialer: &d, Config: cfg}).DialContext(ctx, "tcp", t.Address)
}

// readFrame reads one frame; io.EOF is an end between two.
func readFrame(r io.Reader, most int) ([]byte, error) {
	var length [4]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(length[:])
	if n == 0 || n > uint32(most) {
		return nil, fmt.Errorf("a frame of %d bytes, at most %d are read", n, most)
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, fmt.Errorf("a frame ends early: %w", io.ErrUnexpectedEOF)
	}
	return b, nil
}

func writeFrame(w io.Writer, b []byte) error {
	_, err := w.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...))
	return err
}
