package main

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"snitch/cmd/internal/config"
	"snitch/cmd/internal/fleet"
	"snitch/enforce"
	"snitch/monitor/export"
	"snitch/monitor/export/remote"
)

// needs are the places that snitch's own helpers talk to: while something is
// denied, visible rules let them, each to its place and no other.
func (d *daemon) needs() (out []enforce.Need) {
	for _, n := range configuredNeeds(&d.cfg) {
		err := n.Valid()
		if _, isName := netip.ParseAddr(n.Host); d.infers && isName != nil {
			err = fmt.Errorf("%s is a name, and packets have addresses", n.Host)
		}
		if err != nil {
			d.log.Warn("no rule lets snitch talk to a place of its configuration: while something is denied, one of yours must", "component", "enforce", "what", n.Name, "error", err)
			continue
		}
		out = append(out, n)
	}
	return out
}

func configuredNeeds(c *config.Config) (out []enforce.Need) {
	if a, err := remote.ParseAddress(c.Remote.URL); c.Remote.URL != "" && err == nil && a.Socket == "" {
		out = append(out, enforce.Need{Name: "remote-sql", Why: "snitch sends the record to remote.url", Host: a.Host, Port: a.Port, Proto: "tcp"})
	}
	if to, err := export.ParseTarget(c.Records.Syslog.To); c.Records.Syslog.To != "" && err == nil && to.Network != "unix" {
		proto := "tcp"
		if to.Network == "udp" {
			proto = "udp"
		}
		if host, port, ok := splitPlace(to.Address, ""); ok {
			out = append(out, enforce.Need{Name: "syslog", Why: "snitch sends messages to records.syslog.to", Host: host, Port: port, Proto: proto})
		}
	}
	if c.VirusTotal.Key != "" {
		out = appendURL(out, enforce.Need{Name: "virustotal", Why: "snitch asks virustotal.url about programs"}, c.VirusTotal.URL)
	}
	if c.Fleet.URL != "" && c.Fleet.Source != config.FleetSources()[0] {
		out = appendURL(out, enforce.Need{Name: "fleet", Why: "snitch fetches rules from fleet.url", Below: c.Fleet.Source == fleet.KindGit}, c.Fleet.URL)
	}
	return out
}

// schemePorts are the ports of the addresses that helpers take; those that are
// not here are no network's.
var schemePorts = map[string]string{"https": "443", "http": "80", "ssh": "22", "git": "9418"}

// appendURL adds n for the host and port of an address; also of HOST:PATH, as
// git writes ssh.
func appendURL(list []enforce.Need, n enforce.Need, address string) []enforce.Need {
	if where, path, ok := strings.Cut(address, ":"); ok && n.Below && !strings.HasPrefix(path, "//") && !strings.Contains(where, "/") {
		address = "ssh://" + where + "/" + path
	}
	u, err := url.Parse(address)
	if err != nil {
		return list
	}
	host, port, ok := splitPlace(u.Host, schemePorts[u.Scheme])
	if !ok {
		return list
	}
	n.Host, n.Port, n.Proto = host, port, "tcp"
	return append(list, n)
}

// splitPlace reads HOST, HOST:PORT or [ADDRESS]:PORT.
func splitPlace(s, port string) (host string, number uint16, ok bool) {
	host = strings.Trim(s, "[]")
	if h, p, err := net.SplitHostPort(s); err == nil {
		host, port = h, p
	}
	n, err := strconv.ParseUint(port, 10, 16)
	return host, uint16(n), err == nil && n > 0 && host != ""
}
