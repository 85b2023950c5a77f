package enforce

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Bounds of looking for sessions: /proc is filled by whoever runs programs.
const (
	maxLineage     = 64
	maxDescriptors = 4096
	maxEnviron     = 256 << 10
	maxSockets     = 1 << 17 // lines of one table
)

// tcpEstablished is the state as /proc/net/tcp writes it.
const tcpEstablished = "01"

// FindSessions returns the SSH sessions that process pid was started from, as
// rules see them: of the servers above it, and of the environment where the
// servers are not above it any more (a terminal multiplexer). Only connections
// that a server of root holds now count. proc is where procfs is mounted.
func FindSessions(proc string, pid int) []Session {
	var out []Session
	add := func(s Session) {
		if s.valid() && !slices.Contains(out, s) && len(out) < maxSessions {
			out = append(out, s)
		}
	}
	for range maxLineage {
		dir := filepath.Join(proc, strconv.Itoa(pid))
		p, err := readStatus(dir)
		if err != nil || pid <= 1 {
			break
		}
		table := func() []socket { return append(readSockets(dir, "tcp"), readSockets(dir, "tcp6")...) }
		if p.uid == 0 && isServer(p.name) {
			held := readDescriptors(dir)
			for _, s := range table() {
				if slices.Contains(held, s.inode) {
					add(s.session())
				}
			}
		}
		if local, peer, ok := readConnection(dir); ok {
			for _, s := range table() {
				if s.uid == 0 && s.local == local && s.peer == peer {
					add(s.session())
				}
			}
		}
		pid = p.parent
	}
	return out
}

// isServer knows the names of SSH servers, whose sessions have names of their
// own (sshd-session since OpenSSH 9.8).
func isServer(name string) bool {
	return name == "sshd" || strings.HasPrefix(name, "sshd-") || name == "dropbear"
}

type procStatus struct {
	name   string
	parent int
	uid    uint32 // effective
}

func readStatus(dir string) (s procStatus, err error) {
	data, err := readBounded(filepath.Join(dir, "status"), 64<<10)
	if err != nil {
		return s, err
	}
	s.uid = ^uint32(0)
	for line := range strings.Lines(string(data)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ":\t")
		switch key {
		case "Name":
			s.name = value
		case "PPid":
			s.parent, err = strconv.Atoi(value)
		case "Uid":
			if ids := strings.Fields(value); len(ids) == 4 {
				var uid uint64
				uid, err = strconv.ParseUint(ids[1], 10, 32)
				s.uid = uint32(uid)
			}
		}
		if err != nil {
			return s, fmt.Errorf("read %s: %w", dir, err)
		}
	}
	return s, nil
}

func readBounded(name string, most int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, most))
}

// readDescriptors are the inodes of the sockets that a process holds.
func readDescriptors(dir string) (inodes []uint64) {
	f, err := os.Open(filepath.Join(dir, "fd"))
	if err != nil {
		return nil
	}
	defer f.Close()
	names, _ := f.Readdirnames(maxDescriptors) // what there is
	for _, name := range names {
		link, err := os.Readlink(filepath.Join(dir, "fd", name))
		if err != nil {
			continue
		}
		number, isSocket := strings.CutPrefix(link, "socket:[")
		inode, err := strconv.ParseUint(strings.TrimSuffix(number, "]"), 10, 64)
		if isSocket && err == nil {
			inodes = append(inodes, inode)
		}
	}
	return inodes
}

// socket is one established connection.
type socket struct {
	local, peer netip.AddrPort
	uid         uint32
	inode       uint64
}

func (s socket) session() Session { return Session{Peer: s.peer.Addr(), Local: s.local} }

// readSockets reads the established connections of a process's network
// namespace.
func readSockets(dir, table string) (out []socket) {
	f, err := os.Open(filepath.Join(dir, "net", table))
	if err != nil {
		return nil
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for n := 0; lines.Scan() && n < maxSockets; n++ {
		if s, ok := parseSocket(lines.Text()); ok {
			out = append(out, s)
		}
	}
	return out
}

// parseSocket reads a line of /proc/net/tcp or tcp6 that is an established
// connection.
func parseSocket(line string) (s socket, ok bool) {
	f := strings.Fields(line)
	if len(f) < 10 || f[3] != tcpEstablished {
		return s, false
	}
	uid, err := strconv.ParseUint(f[7], 10, 32)
	if err != nil {
		return s, false
	}
	if s.inode, err = strconv.ParseUint(f[9], 10, 64); err != nil {
		return s, false
	}
	var local, peer bool
	s.local, local = parseEnd(f[1])
	s.peer, peer = parseEnd(f[2])
	s.uid = uint32(uid)
	return s, local && peer && s.inode != 0
}

// parseEnd reads ADDRESS:PORT, the address as words of the host's byte order.
func parseEnd(text string) (netip.AddrPort, bool) {
	host, port, _ := strings.Cut(text, ":")
	words, err := hex.DecodeString(host)
	if err != nil || len(words)%4 != 0 {
		return netip.AddrPort{}, false
	}
	for at := 0; at < len(words); at += 4 {
		binary.NativeEndian.PutUint32(words[at:], binary.BigEndian.Uint32(words[at:]))
	}
	addr, ok := netip.AddrFromSlice(words)
	number, err := strconv.ParseUint(port, 16, 16)
	return netip.AddrPortFrom(plain(addr), uint16(number)), ok && err == nil
}

// readConnection reads SSH_CONNECTION of a process: what a login says of itself.
func readConnection(dir string) (local, peer netip.AddrPort, ok bool) {
	data, err := readBounded(filepath.Join(dir, "environ"), maxEnviron)
	if err != nil {
		return local, peer, false
	}
	for variable := range bytes.SplitSeq(data, []byte{0}) {
		if value, is := bytes.CutPrefix(variable, []byte("SSH_CONNECTION=")); is {
			return parseConnection(string(value))
		}
	}
	return local, peer, false
}

// parseConnection reads "PEER PORT LOCAL PORT".
func parseConnection(value string) (local, peer netip.AddrPort, ok bool) {
	f := strings.Fields(value)
	if len(f) != 4 {
		return local, peer, false
	}
	end := func(host, port string) (netip.AddrPort, bool) {
		addr, err := netip.ParseAddr(host)
		number, bad := strconv.ParseUint(port, 10, 16)
		return netip.AddrPortFrom(plain(addr), uint16(number)), err == nil && bad == nil
	}
	var first, second bool
	peer, first = end(f[0], f[1])
	local, second = end(f[2], f[3])
	return local, peer, first && second
}
