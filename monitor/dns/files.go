package dns

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// stamp tells one state of a file from another without reading it.
type stamp struct {
	dev, ino     uint64
	size         int64
	mtime, ctime unix.Timespec
}

// stampOf is zero when the file cannot be seen; reading it then tells why.
func stampOf(path string) stamp {
	var st unix.Stat_t
	if unix.Stat(path, &st) != nil {
		return stamp{}
	}
	return stamp{uint64(st.Dev), st.Ino, st.Size, st.Mtim, st.Ctim}
}

// readBounded reads a regular file of at most limit bytes.
func readBounded(path string, limit int64) ([]byte, error) {
	// O_NONBLOCK: a FIFO that took the file's place must not hang the daemon.
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, fmt.Errorf("read %s: not a regular file", path)
	}
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("read %s: larger than %d bytes", path, limit)
	}
	return data, nil
}

// pollFiles reads the files again when they changed: once in a few seconds is
// enough, and works on every file system and through renames and symlinks.
func (n *Names) pollFiles(ctx context.Context) {
	tick := time.NewTicker(n.cfg.Poll)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			n.readFiles()
		}
	}
}

// readFiles is called by New and then by the polling goroutine only.
func (n *Names) readFiles() {
	seen := [3]stamp{stampOf(n.cfg.HostsFile), stampOf(n.cfg.ResolvConf), stampOf(n.cfg.ResolvedConf)}
	old := n.seen
	n.seen = &seen
	if old == nil || seen[0] != old[0] {
		n.readHosts()
	}
	if old == nil || seen[1] != old[1] || seen[2] != old[2] {
		n.readResolvConf()
	}
}

func (n *Names) readHosts() {
	data, err := readBounded(n.cfg.HostsFile, maxHostsFile)
	h := parseHosts(data)
	h.read = n.now()
	n.mu.Lock()
	defer n.mu.Unlock()
	n.stats.Hosts = ""
	if err != nil {
		n.stats.Hosts = err.Error()
		if !errors.Is(err, fs.ErrNotExist) {
			return // the names that were read before still stand
		}
	}
	n.hosts = h
	for i := n.watches.root.next; i != &n.watches.root; i = i.next {
		n.notify(i.key)
	}
}

// readResolvConf takes the servers that programs ask and those that resolved
// asks for them. Where resolved runs, its stub counts whether or not resolv.conf
// names it.
func (n *Names) readResolvConf() {
	var r resolvers
	data, err := readBounded(n.cfg.ResolvConf, maxResolvConf)
	r.add(data)
	if len(r.addrs) == 0 {
		r.addAddr(netip.IPv4Unspecified()) // the C library's default is this host
	}
	upstream, err2 := readBounded(n.cfg.ResolvedConf, maxResolvConf)
	if err2 == nil {
		r.add(upstream)
		r.addAddr(netip.AddrFrom4([4]byte{127, 0, 0, 53}))
		r.addAddr(netip.AddrFrom4([4]byte{127, 0, 0, 54}))
	}
	if errors.Is(err2, fs.ErrNotExist) {
		err2 = nil
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.resolvers = r
	n.stats.ResolvConf = ""
	if err := errors.Join(err, err2); err != nil {
		n.stats.ResolvConf = err.Error()
	}
}
