package export

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// waiting is the ceiling of everything that these tests wait for.
const waiting = time.Minute

// identity makes a key and a certificate of a CA, itself when ca is nil.
func identity(t *testing.T, ca *tls.Certificate) (tls.Certificate, []byte, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "test"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: ca == nil, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	parent, signer := tmpl, any(key)
	if ca != nil {
		parent, signer = ca.Leaf, ca.PrivateKey
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, &key.PublicKey, signer)
	must(t, err)
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	must(t, err)
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	must(t, err)
	if pair.Leaf == nil {
		pair.Leaf, err = x509.ParseCertificate(der)
		must(t, err)
	}
	return pair, certPEM, keyPEM
}

// receive reads framed messages of each connection of l into got.
func receive(l net.Listener, got chan<- string) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			r := bufio.NewReader(conn)
			for {
				length, err := r.ReadString(' ')
				if err != nil {
					return
				}
				n, err := strconv.Atoi(strings.TrimSpace(length))
				if err != nil {
					return
				}
				b := make([]byte, n)
				if _, err := io.ReadFull(r, b); err != nil {
					return
				}
				got <- string(b)
			}
		}()
	}
}

// datagrams reads messages of a socket of datagrams into got.
func datagrams(c net.PacketConn, got chan<- string) {
	buf := make([]byte, 65536)
	for {
		n, _, err := c.ReadFrom(buf)
		if err != nil {
			return
		}
		got <- string(buf[:n])
	}
}

// talk is the daemon's end of a helper that runs SyslogHelper.
func talk(t *testing.T) Speak {
	here, there := net.Pipe()
	ended := make(chan error, 1)
	go func() {
		err := SyslogHelper(context.Background(), there, there)
		_ = there.Close()
		ended <- err
	}()
	t.Cleanup(func() { here.Close(); <-ended })
	fresh := true
	return func(ctx context.Context, use func(io.ReadWriteCloser, bool) error) error {
		first := fresh
		fresh = false
		return use(here, first)
	}
}

func next(t *testing.T, got <-chan string) string {
	t.Helper()
	select {
	case s := <-got:
		return s
	case <-time.After(waiting):
		t.Fatal("no message came")
		return ""
	}
}

// TestSyslogArrives: over each transport, what the server gets is the message.
func TestSyslogArrives(t *testing.T) {
	ca, caPEM, _ := identity(t, nil)
	server, _, _ := identity(t, &ca)
	_, clientPEM, clientKey := identity(t, &ca)
	pool := x509.NewCertPool()
	pool.AddCert(ca.Leaf)
	for name, start := range map[string]func(t *testing.T, got chan<- string) Settings{
		"unix": func(t *testing.T, got chan<- string) Settings {
			path := filepath.Join(t.TempDir(), "log")
			c, err := net.ListenPacket("unixgram", path)
			must(t, err)
			t.Cleanup(func() { c.Close() })
			go datagrams(c, got)
			return Settings{Target: Target{"unix", path}}
		},
		"udp": func(t *testing.T, got chan<- string) Settings {
			c, err := net.ListenPacket("udp", "127.0.0.1:0")
			must(t, err)
			t.Cleanup(func() { c.Close() })
			go datagrams(c, got)
			return Settings{Target: Target{"udp", c.LocalAddr().String()}}
		},
		"tcp": func(t *testing.T, got chan<- string) Settings {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			must(t, err)
			t.Cleanup(func() { l.Close() })
			go receive(l, got)
			return Settings{Target: Target{"tcp", l.Addr().String()}}
		},
		"tls": func(t *testing.T, got chan<- string) Settings {
			l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{server}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert})
			must(t, err)
			t.Cleanup(func() { l.Close() })
			go receive(l, got)
			return Settings{Target: Target{"tls", l.Addr().String()}, CA: caPEM, Certificate: clientPEM, Key: clientKey}
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := make(chan string, 16)
			out := NewSyslog(start(t, got), origin, talk(t))
			for range 2 {
				if n, err := out.Write(t.Context(), []Item{*connectionItem(), {}}); n != 2 || err != nil {
					t.Fatal(n, err)
				}
				if p, err := parse5424([]byte(next(t, got))); err != nil || p.params["exe"] != "/usr/bin/curl" {
					t.Errorf("%+v %v", p, err)
				}
			}
		})
	}
}

// TestSyslogRefuses: a server that is not the one of our CA, and one that is not
// there, take nothing; the helper lives on.
func TestSyslogRefuses(t *testing.T) {
	_, caPEM, _ := identity(t, nil)
	impostor, _, _ := identity(t, nil)
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{impostor}})
	must(t, err)
	defer l.Close()
	got := make(chan string, 1)
	go receive(l, got)
	out := NewSyslog(Settings{Target: Target{"tls", l.Addr().String()}, CA: caPEM}, origin, talk(t))
	for range 2 {
		if n, err := out.Write(t.Context(), []Item{*connectionItem()}); n != 0 || !errors.Is(err, ErrLater) || !strings.Contains(err.Error(), "certificate") {
			t.Errorf("%d %v", n, err)
		}
	}
	if len(got) > 0 {
		t.Error("an impostor was told")
	}
	away := NewSyslog(Settings{Target: Target{"unix", filepath.Join(t.TempDir(), "none")}}, origin, talk(t))
	if n, err := away.Write(t.Context(), []Item{*connectionItem()}); n != 0 || !errors.Is(err, ErrLater) {
		t.Errorf("%d %v", n, err)
	}
}

// TestSyslogReconnects: a server that was restarted gets the next message.
func TestSyslogReconnects(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	conns := make(chan net.Conn, 2)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			conns <- c
		}
	}()
	defer l.Close()
	out := NewSyslog(Settings{Target: Target{"tcp", l.Addr().String()}}, origin, talk(t))
	write := func() {
		t.Helper()
		if _, err := out.Write(t.Context(), []Item{*connectionItem()}); err != nil {
			t.Fatal(err)
		}
	}
	write()
	first := <-conns
	buf := make([]byte, 16)
	if _, err := io.ReadFull(first, buf); err != nil {
		t.Fatal(err)
	}
	first.Close()
	deadline := time.Now().Add(waiting)
	for time.Now().Before(deadline) {
		write() // the first may go into a connection that is about to end
		select {
		case second := <-conns:
			defer second.Close()
			if _, err := io.ReadFull(second, buf); err != nil {
				t.Fatal(err)
			}
			return
		case <-time.After(10 * time.Millisecond):
		}
	}
	t.Fatal("no second connection")
}

// FuzzSyslogHelper: what comes instead of frames ends the helper and nothing else.
func FuzzSyslogHelper(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x02{}\x00\x00\x00\x01x"))
	f.Add([]byte("\xff\xff\xff\xff"))
	f.Add([]byte("\x00\x00\x00\x3b{\"target\":{\"network\":\"unix\",\"address\":\"/nonexistent/x\"}}\x00\x00\x00\x01x"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if strings.Contains(string(b), `"network"`) && !strings.Contains(string(b), "/nonexistent/") {
			return // it would speak to whoever the fuzzer names
		}
		_ = SyslogHelper(t.Context(), strings.NewReader(string(b)), io.Discard)
	})
}
