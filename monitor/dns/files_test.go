package dns

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"snitch/monitor/event"
)

func TestParseHosts(t *testing.T) {
	h := parseHosts([]byte("# comment\n" +
		"127.0.0.1\tlocalhost Local.Alias # more\r\n" +
		"  10.0.0.5   DB.Internal.   db\n" +
		"10.0.0.5 second.internal\n" +
		"::1 ip6-localhost\n" +
		"fe80::1%eth0 router\n" +
		"::ffff:10.0.0.6 mapped\n" +
		"0.0.0.0 ads.example\n:: ads.example\n" +
		"nonsense\n10.0.0.7\n10.0.0.8 192.0.2.1 b\x1bd g\xc3\xbct\n" +
		"10.0.0.9 last"))
	for addr, want := range map[string][]string{
		"127.0.0.1": {"localhost", "local.alias"}, "10.0.0.5": {"db.internal", "db", "second.internal"},
		"::1": {"ip6-localhost"}, "fe80::1": {"router"}, "10.0.0.6": {"mapped"}, "10.0.0.9": {"last"},
		"0.0.0.0": nil, "::": nil, "10.0.0.7": nil, "10.0.0.8": nil,
	} {
		if got := h.byAddr[netip.MustParseAddr(addr)]; !slices.Equal(got, want) {
			t.Errorf("%s: got %v, want %v", addr, got, want)
		}
	}
	if h.names != 9 {
		t.Errorf("names: got %d, want 9", h.names)
	}
}

func TestHostsAreBounded(t *testing.T) {
	var s strings.Builder
	for i := range 3 * maxHostsAddrs {
		s.WriteString(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}).String())
		s.WriteString(strings.Repeat(" name.example", 20) + "\n")
	}
	h := parseHosts([]byte(s.String()))
	if len(h.byAddr) != maxHostsAddrs || h.names != maxHostsAddrs*maxHostsNames {
		t.Errorf("got %d addresses, %d names, want %d, %d", len(h.byAddr), h.names, maxHostsAddrs, maxHostsAddrs*maxHostsNames)
	}
}

func TestResolvConf(t *testing.T) {
	var r resolvers
	r.add([]byte("# x\nnameserver 192.0.2.1\nnameserver\t2001:db8::1%eth0 \nsearch example.com\n nameserver 0.0.0.0\n" +
		"nameserver bad\nnameserver\n#nameserver 9.9.9.9\nnameserver 192.0.2.1\noptions edns0"))
	want := []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("127.0.0.1")}
	if !slices.Equal(r.addrs, want) {
		t.Errorf("got %v, want %v", r.addrs, want)
	}
}

// filesBook polls its files fast.
func filesBook(t *testing.T) (*book, Config) {
	dir := t.TempDir()
	cfg := Config{HostsFile: filepath.Join(dir, "hosts"), ResolvConf: filepath.Join(dir, "resolv.conf"),
		ResolvedConf: filepath.Join(dir, "upstream"), ResolvedSocket: filepath.Join(dir, "socket"), Poll: 5 * time.Millisecond}
	return newBookWith(t, cfg), cfg
}

func TestFilesAreReadAgain(t *testing.T) {
	b, cfg := filesBook(t)
	if s := b.Stats(); !strings.Contains(s.Hosts, "no such file") || !strings.Contains(s.ResolvConf, "no such file") ||
		!slices.Equal(s.Resolvers, []netip.Addr{netip.MustParseAddr("127.0.0.1")}) {
		t.Errorf("without files: got %+v, want that said, and the C library's default server", s)
	}
	b.want(alice, web, "", event.NameNone)
	defer b.run()()

	write(t, cfg.HostsFile, web.String()+" one.internal\n")
	eventually(t, "the new file", func() bool { return b.lookup(alice, 1, web).Domain == "one.internal" })
	if got := b.Changed(); !slices.Equal(got, []uint64{1}) {
		t.Errorf("changed: got %v, want [1]", got)
	}
	next := cfg.HostsFile + ".new"
	write(t, next, web.String()+" two.internal\n") // same size: the inode tells
	if err := os.Rename(next, cfg.HostsFile); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the file put in its place", func() bool { return b.lookup(alice, 1, web).Domain == "two.internal" })
	if err := os.Remove(cfg.HostsFile); err != nil {
		t.Fatal(err)
	}
	eventually(t, "its end", func() bool { return b.lookup(alice, 1, web).Domain == "" })

	write(t, cfg.ResolvConf, "nameserver 127.0.0.53\n")
	eventually(t, "the resolver", func() bool { return len(b.Stats().Resolvers) == 1 && b.Stats().ResolvConf == "" })
	write(t, cfg.ResolvedConf, "nameserver 192.0.2.99\n")
	want := []netip.Addr{netip.MustParseAddr("127.0.0.53"), netip.MustParseAddr("192.0.2.99"), netip.MustParseAddr("127.0.0.54")}
	eventually(t, "resolved's servers and both stubs", func() bool { return slices.Equal(b.Stats().Resolvers, want) })
}

func TestStrangeFilesAreRefused(t *testing.T) {
	for name, create := range map[string]func(path string) error{
		"FIFO":      func(path string) error { return unix.Mkfifo(path, 0o600) },
		"directory": func(path string) error { return os.Mkdir(path, 0o700) },
		"too large": func(path string) error {
			f, err := os.Create(path)
			if err != nil {
				return err
			}
			defer f.Close()
			return f.Truncate(maxHostsFile + 1)
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "hosts")
			if err := create(path); err != nil {
				t.Fatal(err)
			}
			if data, err := readBounded(path, maxHostsFile); err == nil {
				t.Errorf("got %d bytes, want an error", len(data))
			}
		})
	}
}

func TestConfigIsChecked(t *testing.T) {
	if _, err := New(Config{Poll: -1}, Deps{}); err == nil {
		t.Error("negative poll interval: got nil, want an error")
	}
	n, err := New(Config{}, Deps{})
	if err != nil {
		t.Fatal(err)
	}
	var st unix.Stat_t
	if err := unix.Stat("/proc/self/ns/net", &st); err != nil {
		t.Fatal(err)
	}
	if n.netns != uint32(st.Ino) || n.netns == 0 {
		t.Errorf("network namespace: got %d, want %d", n.netns, st.Ino)
	}
}
