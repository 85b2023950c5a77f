package dns

import (
	"bytes"
	"net/netip"
	"time"
)

const (
	maxHostsFile  = 8 << 20 // block lists are long
	maxHostsAddrs = 4096
	maxHostsNames = 8 // of one address; the first is the canonical one
)

// hosts is the content of a hosts file the other way round.
type hosts struct {
	byAddr map[netip.Addr][]string
	names  int
	read   time.Time
}

// parseHosts reads hosts(5). Lines that make no sense are skipped, as the C
// library does, and so are 0.0.0.0 and ::, where block lists send names.
func parseHosts(data []byte) hosts {
	h := hosts{byAddr: make(map[netip.Addr][]string)}
	for line := range bytes.Lines(data) {
		line, _, _ = bytes.Cut(line, []byte("#"))
		first, rest := cutField(line)
		addr, err := netip.ParseAddr(string(first))
		if err != nil || addr.IsUnspecified() {
			continue
		}
		addr = addr.WithZone("").Unmap()
		names := h.byAddr[addr]
		if names == nil && len(h.byAddr) >= maxHostsAddrs {
			continue
		}
		for len(rest) > 0 && len(names) < maxHostsNames {
			first, rest = cutField(rest)
			if name, ok := normalise(string(first)); ok {
				names = append(names, name)
				h.names++
			}
		}
		if len(names) > 0 {
			h.byAddr[addr] = names
		}
	}
	return h
}

// cutField splits off the first word.
func cutField(line []byte) (word, rest []byte) {
	line = bytes.TrimLeft(line, " \t\r\n\v\f")
	if i := bytes.IndexAny(line, " \t\r\n\v\f"); i >= 0 {
		return line[:i], line[i:]
	}
	return line, nil
}
