package rule

import (
	"errors"
	"fmt"
	"strings"

	"gopkg.in/yaml.v3"
)

const endForms = "want proto://name[address]:port, proto://address:port, proto://[v6]:port or proto://name:port"

// parseEnd reads an end of a connection in one text.
func parseEnd(s string) (endYAML, error) {
	var e endYAML
	proto, rest, ok := strings.Cut(s, "://")
	if !ok {
		return e, fmt.Errorf("%q says no protocol: %s", clip(s), endForms)
	}
	var err error
	if e.proto, err = parseProto(proto); err != nil {
		return e, err
	}
	host, port, err := splitEnd(rest)
	if err != nil {
		return e, fmt.Errorf("%q: %w; %s", clip(s), err, endForms)
	}
	if port != "" {
		if e.port, err = parseFactPort(port); err != nil {
			return e, err
		}
	}
	if err := e.setHost(host); err != nil {
		return e, err
	}
	e.finish()
	return e, nil
}

// splitEnd parts "host", "host:port", "name[address]:port" and "[v6]:port".
func splitEnd(s string) (host, port string, err error) {
	if i := strings.IndexByte(s, ']'); i >= 0 {
		host, rest := s[:i+1], s[i+1:]
		port, colon := strings.CutPrefix(rest, ":")
		if rest != "" && (!colon || port == "") {
			return "", "", errors.New("want a colon and a port behind the bracket")
		}
		return host, port, nil
	}
	switch strings.Count(s, ":") {
	case 0:
		return s, "", nil
	case 1:
		host, port, _ = strings.Cut(s, ":")
		if port == "" {
			return "", "", errors.New("the port is missing")
		}
		return host, port, nil
	}
	return "", "", errors.New("an IPv6 address needs brackets")
}

func (e *endYAML) setHost(s string) (err error) {
	name, addr := s, ""
	if open := strings.IndexByte(s, '['); open >= 0 {
		name, addr = s[:open], strings.TrimSuffix(s[open+1:], "]")
	} else if looksLikeAddress(s) {
		name, addr = "", s
	}
	if name == "" && addr == "" {
		return fmt.Errorf("no name and no address: %s", endForms)
	}
	if addr != "" || strings.Contains(s, "[") {
		if e.Addr, err = parseAddr(addr); err != nil {
			return err
		}
	}
	if name == "" {
		return nil
	}
	if strings.Contains(name, "*") {
		return fmt.Errorf("%q: a case has facts, not patterns; write one name", clip(name))
	}
	domain, err := NormalizeName(name)
	e.domains = []string{domain}
	return err
}

func parseBool(s string) (string, error) {
	if s != "true" && s != "false" {
		return "", fmt.Errorf("%q: want true or false", clip(s))
	}
	return s, nil
}

// readBool reads true or false.
func readBool(r *reader, n *yaml.Node) (string, bool) {
	if !r.plain(n) {
		return "", false
	}
	if n.Kind != yaml.ScalarNode || n.Tag != "!!bool" {
		r.fail(n, "want true or false, not %s", kindName(n))
		return "", false
	}
	return strings.ToLower(n.Value), true
}

func boolOrNone(s string) *yaml.Node {
	if s == "" {
		return nil
	}
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!bool", Value: s}
}
