package ui

import (
	"net"
	"path"
	"strconv"

	"snitch/monitor/event"
)

// Program is the name of what runs.
func Program(r *event.Record) string {
	name := Short(r.Exe, r.Name)
	if r.Exe != "" && (r.ExeKind == "deleted" || r.ExeKind == "memfd") {
		name += " (" + r.ExeKind + ")"
	}
	if r.Script != "" {
		name += " " + path.Base(r.Script)
	}
	return name
}

// Short is the name of a program whose path may not be known.
func Short(exe, name string) string {
	switch {
	case exe != "":
		return path.Base(exe)
	case name != "":
		return "[" + name + "]"
	}
	return "?"
}

// User is who runs it.
func User(r *event.Record) string {
	if r.User != "" {
		return r.User
	}
	return strconv.FormatUint(uint64(r.UID), 10)
}

// Peer is the other end: its name if one is known, and the port; of a listener
// its own address. A name that is only a label begins with "~".
func Peer(r *event.Record) string {
	host, port := r.RAddr, r.RPort
	if r.Direction == "listen" {
		host, port = r.LAddr, r.LPort
	} else if r.Domain != "" {
		host = r.Domain
		if r.DomainSource == "reverse" {
			host = "~" + host
		}
	}
	if host == "" {
		host = r.Family
	}
	return HostPort(host, port)
}

// HostPort is host:port, without a port the host alone.
func HostPort(host string, port uint16) string {
	if port == 0 {
		return host
	}
	return net.JoinHostPort(host, strconv.Itoa(int(port)))
}

// Arrow is who began.
func Arrow(direction string) string {
	switch direction {
	case "out":
		return "→"
	case "in":
		return "←"
	case "listen":
		return "●"
	}
	return "?"
}
