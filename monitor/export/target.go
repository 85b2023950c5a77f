package export

import (
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
)

// Target is where syslog goes.
type Target struct {
	Network string `json:"network"` // unix, udp, tcp or tls
	Address string `json:"address"` // a path, or host:port
}

// ParseTarget reads unix:///dev/log, udp://HOST[:PORT], tcp://HOST[:PORT] and
// tls://HOST[:PORT].
func ParseTarget(s string) (Target, error) {
	u, err := url.Parse(s)
	if err != nil || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Opaque != "" || strings.ContainsAny(s, " \t\r\n\x00") {
		return Target{}, fmt.Errorf("%q is no place like unix:///dev/log, udp://host, tcp://host:601 or tls://host:6514", s)
	}
	port := map[string]string{"udp": "514", "tcp": "601", "tls": "6514"}[u.Scheme]
	switch {
	case u.Scheme == "unix" && u.Host == "" && filepath.IsAbs(u.Path):
		return Target{"unix", filepath.Clean(u.Path)}, nil
	case port == "" || u.Hostname() == "" || u.Path != "" && u.Path != "/":
		return Target{}, fmt.Errorf("%q is no place like unix:///dev/log, udp://host, tcp://host:601 or tls://host:6514", s)
	}
	if u.Port() != "" {
		port = u.Port()
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return Target{}, fmt.Errorf("%q is no port", port)
	}
	return Target{u.Scheme, net.JoinHostPort(u.Hostname(), port)}, nil
}

// String is what ParseTarget reads.
func (t Target) String() string { return t.Network + "://" + t.Address }

// stream reports whether messages need frames.
func (t Target) stream() bool { return t.Network == "tcp" || t.Network == "tls" }

// limit bounds one message.
func (t Target) limit() int {
	if t.stream() {
		return maxMessage
	}
	return maxDatagram
}
