package dns

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"snitch/monitor/event"
)

const (
	pendingLife = 30 * time.Second // resolvers give up earlier
	streamLife  = 30 * time.Second
	watchLife   = 30 * time.Second // how long after its begin a connection may get a better name
	exitGrace   = time.Minute      // longer than the drain of the last flows of a process
	factGrace   = 24 * time.Hour   // programs use addresses long after their time to live
	claimLife   = 24 * time.Hour   // since the last Lookup
	maxDelay    = time.Minute      // between the kernel and Payload
	slack       = 2 * time.Second  // the ways of a name and of its connection differ in length
)

// Config says where names are read. The zero value is what a normal host has.
type Config struct {
	HostsFile      string        // "": /etc/hosts
	ResolvConf     string        // "": /etc/resolv.conf
	ResolvedConf   string        // the servers that systemd-resolved asks; "": /run/systemd/resolve/resolv.conf
	ResolvedSocket string        // "": /run/systemd/resolve/io.systemd.Resolve.Monitor
	NetNS          uint32        // inode of the host's network namespace; 0: that of this process
	Poll           time.Duration // how often the files are looked at; 0: 5 s
}

// Deps are what Names needs from its surroundings.
type Deps struct {
	Log *slog.Logger // nil: silent
	// Loss is told of facts that bounded tables dropped. It is called with the
	// lock held and must not call back. nil: only Stats counts them.
	Loss func(cause event.LossCause, count uint64)
	Now  func() time.Time // nil: time.Now
	// Wall converts the Boot time of a payload; nil: Now less the time that
	// CLOCK_BOOTTIME says has passed since.
	Wall func(boot uint64) time.Time
	// Reverser asks for the names of addresses that have no other. nil: never.
	Reverser Reverser
}

// limits bound the tables; tests use small ones.
type limits struct {
	names        int // of one address in one scope
	processAddrs int // of one process
	hostAddrs    int // of one host-wide source
	addrs        int // in all
	scopes       int
	nodes        int
	pending      int
	processPending,
	streams,
	quics,
	claims,
	watched, // addresses
	watchers, // of one address
	changed,
	reverse int
}

var defaultLimits = limits{names: 8, processAddrs: 2048, hostAddrs: 4096, addrs: 16384, scopes: 4096, nodes: 8192,
	pending: 8192, processPending: 2048, streams: 512, quics: 256, claims: 8192, watched: 2048, watchers: 64,
	changed: 8192, reverse: 4096}

// Names is the book of names. All methods are safe for concurrent use; Payload,
// Fork, Exec and Exit must come in the order of the kernel's records, that is
// from one goroutine. No method waits for anything but the one lock, which is
// held for microseconds.
type Names struct {
	cfg      Config
	log      *slog.Logger
	loss     func(event.LossCause, uint64)
	now      func() time.Time
	wallOf   func(uint64) time.Time
	reverser Reverser
	limits   limits
	netns    uint32
	asks     chan netip.Addr // to the reverse worker
	seen     *[3]stamp       // of the files as last read; used by New, then by the goroutine that polls

	mu        sync.Mutex // guards what follows
	seq       uint64     // counts payloads: the order of facts and forks
	table     *table
	nodes     map[event.ProcessID]*node
	pending   *pending
	streams   *cache[streamKey, *assembler]
	quics     *cache[quicKey, []*quicConn]
	claims    *cache[claimKey, claim]
	watches   *cache[netip.Addr, []*watcher]
	changed   map[uint64]struct{}
	hosts     hosts
	resolvers resolvers
	reversed  *cache[netip.Addr, reversed]
	stats     Stats
	scratch   [maxPayload]byte
}

// maxPayload is what the kernel captures of one packet (bpf/headers/wire.h).
const maxPayload = 4096

// New reads the hosts file and the resolver configuration once; what cannot be
// read is said in Stats and tried again by Run. The error is about cfg.
func New(cfg Config, deps Deps) (*Names, error) { return newNames(cfg, deps, defaultLimits) }

func newNames(cfg Config, deps Deps, l limits) (*Names, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	n := &Names{cfg: cfg, log: deps.Log, loss: deps.Loss, now: deps.Now, wallOf: deps.Wall, reverser: deps.Reverser,
		limits: l, netns: cfg.NetNS, asks: make(chan netip.Addr, 256),
		table: newTable(l), nodes: make(map[event.ProcessID]*node), pending: newPending(l),
		streams: newCache[streamKey, *assembler](l.streams), quics: newCache[quicKey, []*quicConn](l.quics),
		claims: newCache[claimKey, claim](l.claims), watches: newCache[netip.Addr, []*watcher](l.watched),
		changed: make(map[uint64]struct{}), reversed: newCache[netip.Addr, reversed](l.reverse)}
	if n.log == nil {
		n.log = slog.New(slog.DiscardHandler)
	}
	if n.now == nil {
		n.now = time.Now
	}
	n.stats.Resolved = "not connected yet"
	n.readFiles()
	return n, nil
}

func (c *Config) complete() error {
	c.HostsFile = cmp.Or(c.HostsFile, "/etc/hosts")
	c.ResolvConf = cmp.Or(c.ResolvConf, "/etc/resolv.conf")
	c.ResolvedConf = cmp.Or(c.ResolvedConf, "/run/systemd/resolve/resolv.conf")
	c.ResolvedSocket = cmp.Or(c.ResolvedSocket, "/run/systemd/resolve/io.systemd.Resolve.Monitor")
	c.Poll = cmp.Or(c.Poll, 5*time.Second)
	if c.Poll < 0 {
		return errors.New("poll interval of the hosts file is negative; give a positive duration")
	}
	if c.NetNS != 0 {
		return nil
	}
	var st unix.Stat_t
	if err := unix.Stat("/proc/self/ns/net", &st); err != nil {
		return fmt.Errorf("read network namespace: %w", os.NewSyscallError("stat", err))
	}
	c.NetNS = uint32(st.Ino)
	return nil
}

// Run follows the hosts file, the resolver configuration and systemd-resolved
// and asks for reverse names, until ctx ends; then it returns nil. Call it once.
func (n *Names) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	wg.Go(func() { n.pollFiles(ctx) })
	wg.Go(func() { n.followResolved(ctx) })
	if n.reverser != nil {
		wg.Go(func() { n.answerReverse(ctx) })
	}
	wg.Wait()
	return nil
}

// Payload takes what the kernel captured. It keeps nothing of p.Data.
func (n *Names) Payload(p event.Payload) {
	p.Remote = netip.AddrPortFrom(p.Remote.Addr().Unmap(), p.Remote.Port())
	n.mu.Lock()
	defer n.mu.Unlock()
	n.seq++
	switch p.Kind {
	case event.PayloadDNSQuery:
		n.dns(p, n.query)
	case event.PayloadDNSAnswer:
		n.dns(p, n.answer)
	case event.PayloadTLS:
		n.tls(p)
	case event.PayloadQUIC:
		n.quic(p)
	default:
		n.stats.Ignored++
	}
}

func (n *Names) dns(p event.Payload, handle func(event.Payload, []byte, bool) bool) {
	switch {
	case isMulticastDNS(&p):
		n.stats.Ignored++
	case p.Proto == event.ProtoTCP:
		n.tcp(p, handle)
	default:
		handle(p, p.Data, int(p.Length) > len(p.Data))
	}
}

// Closed says that a socket is gone: what it claimed is forgotten. Optional, it
// only frees memory early.
func (n *Names) Closed(cookie uint64, proto uint16, remote netip.Addr) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.claims.remove(claimKey{cookie, remote.Unmap(), proto == event.ProtoTCP})
	delete(n.changed, cookie)
}

// Expire forgets what is too old at now. Call it every few seconds.
func (n *Names) Expire(now time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.pending.expire(now.Add(-pendingLife), n.pending.release)
	n.streams.expire(now.Add(-streamLife), nil)
	n.quics.expire(now.Add(-streamLife), nil)
	n.claims.expire(now.Add(-claimLife), nil)
	n.watches.expire(now.Add(-watchLife), nil)
	n.reversed.expire(now.Add(-reverseLife), nil)
	n.table.expire(now.Add(-factGrace))
	n.bury(now.Add(-exitGrace))
}

func (n *Names) lost(count uint64) {
	n.stats.Dropped += count
	if n.loss != nil {
		n.loss(event.LossNameTable, count)
	}
}

// refuse counts a DNS message that was not read.
func (n *Names) refuse(err error) {
	switch {
	case errors.Is(err, errBadName):
		n.stats.BadNames++
	case errors.Is(err, errNotQuestion):
		n.stats.Ignored++
	default:
		n.stats.Malformed++
	}
}

// wall is when the kernel saw a payload, which is earlier than it was handed over.
func (n *Names) wall(boot uint64) time.Time {
	if n.wallOf != nil {
		return n.wallOf(boot)
	}
	var ts unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts) != nil {
		return n.now()
	}
	age := time.Duration(ts.Nano() - int64(boot))
	if boot == 0 || age < 0 || age > maxDelay { // no time of this boot
		age = 0
	}
	return n.now().Add(-age)
}

func seconds(s uint32) time.Duration { return time.Duration(s) * time.Second }
