package config

import (
	"fmt"
	"net/netip"
	"strings"

	"snitch/monitor/export/remote"
)

// Remote is an SQL server on another host, which gets the record too.
type Remote struct {
	URL          string // see remote.ParseAddress; "" is none
	PasswordFile string // "" is no password
	TLS          string // required or off; of a unix socket there is none
	CAFile       string // who signs the server's certificate; "": as the system has it
	CertFile     string // of this host, with KeyFile; "" is none
	KeyFile      string
	Host         string // name of this host there; "": its own
	Spool        int64  // bytes that wait on disk while the server is away
}

// Values of Remote.TLS.
const (
	TLSRequired = "required"
	TLSOff      = off
)

// Metrics is where Prometheus reads.
type Metrics struct {
	// Listen is "off", "socket" (in the state directory), or an address of
	// loopback with a port.
	Listen string
}

// MetricsSocket is the value of Metrics.Listen that means a unix socket.
const MetricsSocket = "socket"

var remoteSettings = []setting{
	{path: "remote.url", want: "`postgres://USER@HOST[:PORT]/DATABASE`, `mariadb://…`; `?socket=PATH` instead of a host", example: "postgres://snitch@db.example.net/snitch",
		help: "the server; without the line: none",
		set: func(c *Config, v string) error {
			if _, err := remote.ParseAddress(v); err != nil {
				return fmt.Errorf("%w", err)
			}
			c.Remote.URL = v
			return nil
		}, get: func(c *Config) string { return c.Remote.URL }},
	secret("remote.password_file", "/etc/snitch/remote-password", "holds the password", func(c *Config) *string { return &c.Remote.PasswordFile }),
	choice("remote.tls", []string{TLSRequired, TLSOff}, "off: everything can be read and changed on the way; a unix socket needs none", func(c *Config) *string { return &c.Remote.TLS }),
	path("remote.ca_file", "/etc/snitch/remote-ca.pem", "who signs the server's certificate; without the line: as the system has it", func(c *Config) *string { return &c.Remote.CAFile }),
	path("remote.cert_file", "/etc/snitch/remote-cert.pem", "certificate of this host, if the server asks for one", func(c *Config) *string { return &c.Remote.CertFile }),
	secret("remote.key_file", "/etc/snitch/remote-key.pem", "and its key", func(c *Config) *string { return &c.Remote.KeyFile }),
	{path: "remote.host", want: "letters, digits, `.`, `-`, `_`", example: "web-1", help: "name of this host there; without the line: its own",
		set: func(c *Config, v string) error { return setHost(&c.Remote.Host, v) }, get: func(c *Config) string { return c.Remote.Host }},
	size("remote.spool", 1_000_000, 1e12, "what waits on disk while the server is away; then the oldest goes, and is counted", func(c *Config) *int64 { return &c.Remote.Spool }),
	{path: "metrics.listen", want: "`off`, `socket` (metrics.sock in the state directory), or an address of loopback as `127.0.0.1:9465`", help: "where metrics are read",
		set: func(c *Config, v string) error { return setLoopback(&c.Metrics.Listen, v) }, get: func(c *Config) string { return c.Metrics.Listen }},
}

func setHost(to *string, v string) error {
	valid := func(c rune) bool {
		return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune(".-_", c)
	}
	if v == "" || len(v) > 255 || strings.ContainsFunc(v, func(c rune) bool { return !valid(c) }) {
		return fmt.Errorf("%q is no name of a host", v)
	}
	*to = v
	return nil
}

// setLoopback takes a word, or an address that no other host can reach.
func setLoopback(to *string, v string) error {
	if v == off || v == MetricsSocket {
		*to = v
		return nil
	}
	addr, err := netip.ParseAddrPort(v)
	if err != nil {
		return fmt.Errorf("%q is not off, socket, or an address as 127.0.0.1:9465", v)
	}
	if !addr.Addr().IsLoopback() || addr.Port() == 0 {
		return fmt.Errorf("%q is no port of loopback: metrics tell which rules there are", v)
	}
	*to = v
	return nil
}
