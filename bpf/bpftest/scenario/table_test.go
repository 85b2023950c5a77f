package scenario

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"snitch/bpf/bpftest"
)

// scenario is one row of the suite: who talks to whom in which way. What must
// be in the log follows from the reports of its processes, which count what
// their system calls returned; a tier that cannot see all of it says so here.
type scenario struct {
	name          string
	needs         []*bpftest.Feature
	peer          []string // services behind the veth
	local         []string // services in the client's own namespace
	program       string   // the generator's file, "" for the plain one
	args          string   // of the generator; $DIR, $MAC and $TRAFFIC are expanded
	extraArgs     []string // with bytes that args cannot hold
	passNamespace bool     // descriptor 3 is the peer's network namespace
	prepare       func(l *lab, dir string) error
	unequal       string // why the books of both ends differ, "" where they must not
	background    bool   // it only holds still: the others run meanwhile
	mayVanish     bool   // hashes may be missing: see verdict
	shortfalls    []shortfall
}

// shortfall is what a tier cannot see in a scenario, by name. What it does not
// excuse stays exact.
type shortfall struct {
	tiers    []string // as status names them
	reason   string   // for docs/kernels.md
	bytes    bool     // sent and received may differ
	received bool     // received may differ
	rows     bool     // rows may be missing or more
	result   bool     // the result may be another
	began    bool     // who began may be told wrongly
}

func (s *scenario) shortfall(tier string) *shortfall {
	for i := range s.shortfalls {
		if slices.Contains(s.shortfalls[i].tiers, tier) {
			return &s.shortfalls[i]
		}
	}
	return nil
}

func scenarios() []scenario {
	return slices.Concat(streams(), streamVariants(), datagramScenarios(), rawScenarios(), failures(), processes(), identities())
}

const (
	tcp4     = "10.77.0.2:7001"
	tcp6     = "[fd77::2]:7001"
	tcpLocal = "127.0.0.1:7001"
	udp4     = "10.77.0.2:7002"
	udp6     = "[fd77::2]:7002"
	udpLocal = "127.0.0.1:7002"
)

// streams moves TCP by every way, the same way on both ends, so that each is
// proved for a connecting and an accepted socket.
func streams() []scenario {
	var all []scenario
	for _, w := range []struct {
		send, recv string
		needs      []*bpftest.Feature
	}{
		{"write", "read", nil},
		{"writev", "readv", nil},
		{"send", "recv", nil},
		{"send-more", "waitall", nil},
		{"sendto", "recvfrom", nil},
		{"sendmsg", "recvmsg", nil},
		{"sendmmsg", "recvmmsg", nil},
		{"sendfile", "peek", nil},
		{"splice", "splice", nil},
		{"vmsplice", "trunc", nil},
		{"zerocopy", "read", []*bpftest.Feature{bpftest.ZeroCopyTCP()}},
		{"splice", "map", nil}, // a pipe has pages of its own: those of files and programs are never mapped
		{"ktls", "ktls", []*bpftest.Feature{bpftest.KernelTLS()}},
		{"uring-send", "uring-recv", ring("send", 26, "5.6")},
		{"uring-write", "uring-read", ring("write", 23, "5.6")},
		{"uring-sendmsg", "uring-recvmsg", ring("sendmsg", 9, "5.3")},
		{"uring-sendzc", "uring-recv", ring("sendzc", 47, "6.0")},
		{"uring-sqpoll", "uring-sqpoll", ring("send", 26, "5.11")},
		{"uring-fixed", "uring-fixed", ring("write", 23, "5.6")},
	} {
		for _, path := range []struct{ name, to string }{{"v4", tcp4}, {"v6", tcp6}, {"lo", tcpLocal}} {
			s := scenario{name: fmt.Sprintf("tcp-%s-%s-%s", path.name, w.send, w.recv), needs: w.needs,
				args: fmt.Sprintf("stream -to %s -send %s -recv %s", path.to, w.send, w.recv)}
			service := []string{fmt.Sprintf("tcp %s send=%s recv=%s", path.to, w.send, w.recv)}
			if path.name == "lo" {
				s.local = service
			} else {
				s.peer = service
			}
			if path.name == "v6" {
				s.needs = append(slices.Clone(s.needs), bpftest.IPv6())
			}
			all = append(all, s)
		}
	}
	return all
}

func ring(name string, op uint8, since string) []*bpftest.Feature {
	return []*bpftest.Feature{bpftest.IOUring(name, op, since)}
}

func streamVariants() []scenario {
	return []scenario{
		{name: "tcp-small", peer: []string{"tcp " + tcp4}, args: "stream -n 24 -reply 1 -to " + tcp4},
		{name: "tcp-no-answer", peer: []string{"tcp " + tcp4}, args: "stream -n 5000 -reply 0 -to " + tcp4},
		{name: "tcp-one-byte-writes", peer: []string{"tcp " + tcp4}, args: "stream -chunk 24 -n 12000 -reply 3000 -to " + tcp4},
		{name: "tcp-bulk", peer: []string{"tcp " + tcp4}, args: fmt.Sprintf("stream -chunk 65536 -n %d -reply %d -to %s", few(20_000_003), few(10_000_001), tcp4)},
		{name: "tcp-bulk-lo-v6", local: []string{"tcp [::1]:7001"}, args: fmt.Sprintf("stream -chunk 65536 -n %d -reply %d -to [::1]:7001", few(20_000_003), few(10_000_001)),
			needs: []*bpftest.Feature{bpftest.IPv6()}},
		{name: "tcp-half-close", peer: []string{"tcp " + tcp4}, args: "stream -half -to " + tcp4},
		{name: "tcp-half-close-splice", peer: []string{"tcp " + tcp4 + " recv=splice"}, args: "stream -half -recv splice -to " + tcp4},
		{name: "tcp-v4-mapped", peer: []string{"tcp " + tcp4}, args: "stream -six -to " + tcp4, needs: []*bpftest.Feature{bpftest.IPv6()}},
		{name: "tcp-fast-open-v4", peer: []string{"tcp " + tcp4 + " fastopen=1"}, args: "stream -fastopen -to " + tcp4},
		{name: "tcp-fast-open-v6", peer: []string{"tcp " + tcp6 + " fastopen=1"}, args: "stream -fastopen -to " + tcp6,
			needs: []*bpftest.Feature{bpftest.IPv6()}},
		{name: "tcp-bound", peer: []string{"tcp " + tcp4}, args: "stream -bind 10.77.0.1:40123 -to " + tcp4},
		{name: "tcp-late", peer: []string{"tcp " + tcp4}, args: "stream -pause 300ms -to " + tcp4},
		{name: "tcp-self", args: "self-stream"},
		{name: "tcp-self-v6", args: "self-stream -at [::1]:7100", needs: []*bpftest.Feature{bpftest.IPv6()}},
		{name: "tcp-many", peer: []string{"tcp " + tcp4}, args: fmt.Sprintf("many -count %d -n 24 -reply 10 -to %s", few(5000), tcp4)},
		{name: "mptcp", peer: []string{"mptcp " + tcp4}, args: "stream -proto mptcp -to " + tcp4, needs: []*bpftest.Feature{bpftest.MPTCP()}},
		{name: "mptcp-fallback", peer: []string{"tcp " + tcp4}, args: "stream -proto mptcp -to " + tcp4, needs: []*bpftest.Feature{bpftest.MPTCP()}},
		{name: "mptcp-server", peer: []string{"mptcp " + tcp4}, args: "stream -to " + tcp4, needs: []*bpftest.Feature{bpftest.MPTCP()}},
		{name: "sctp", peer: []string{"sctp " + tcp4}, args: "stream -proto sctp -chunk 1200 -n 20000 -reply 10000 -to " + tcp4,
			needs: []*bpftest.Feature{bpftest.SCTP()}},
		{name: "sctp-many", peer: []string{"sctp-many " + tcp4}, args: "sctp-many -to " + tcp4, needs: []*bpftest.Feature{bpftest.SCTP()}},
	}
}

func datagramScenarios() []scenario {
	v6 := []*bpftest.Feature{bpftest.IPv6()}
	lite := []*bpftest.Feature{bpftest.UDPLite()}
	gso := []*bpftest.Feature{bpftest.UDPSegment()}
	echo4, echo6 := []string{"udp " + udp4}, []string{"udp " + udp6}
	eight, peers := eightServices(), eightFlags()
	return []scenario{
		{name: "udp-v4-sendto", peer: echo4, args: "datagram -to " + udp4},
		{name: "udp-v4-sendmsg-recvmsg", peer: echo4, args: "datagram -send sendmsg -recv recvmsg -to " + udp4},
		{name: "udp-v4-sendmmsg-recvmmsg", peer: echo4, args: "datagram -send sendmmsg -recv recvmmsg-names -to " + udp4},
		{name: "udp-v4-recv-without-address", peer: echo4, args: "datagram -recv read -to " + udp4},
		{name: "udp-v4-peek", peer: echo4, args: "datagram -recv peek -to " + udp4},
		{name: "udp-v4-uring", peer: echo4, args: "datagram -send uring-sendmsg -recv uring-recvmsg-names -to " + udp4, needs: ring("sendmsg", 9, "5.3")},
		{name: "udp-v4-connected", peer: echo4, args: "datagram -connect -send write -recv read -to " + udp4},
		{name: "udp-v4-connected-send", peer: echo4, args: "datagram -connect -send send -recv recv -to " + udp4},
		{name: "udp-v4-connected-writev", peer: echo4, args: "datagram -connect -send writev -recv readv -to " + udp4},
		{name: "udp-v4-connected-splice", peer: echo4, args: "datagram -connect -send splice -recv read -to " + udp4},
		{name: "udp-v4-connected-uring", peer: echo4, args: "datagram -connect -send uring-send -recv uring-recv -to " + udp4, needs: ring("send", 26, "5.6")},
		{name: "udp-v6-sendto", peer: echo6, args: "datagram -to " + udp6, needs: v6},
		{name: "udp-v6-sendmsg", peer: echo6, args: "datagram -send sendmsg -recv recvmsg -to " + udp6, needs: v6},
		{name: "udp-v6-connected", peer: echo6, args: "datagram -connect -send write -recv read -to " + udp6, needs: v6},
		{name: "udp-v4-mapped", peer: echo4, args: "datagram -six -to " + udp4, needs: v6},
		{name: "udp-v4-mapped-connected", peer: echo4, args: "datagram -six -connect -send write -recv read -to " + udp4, needs: v6},
		{name: "udp-lo", local: []string{"udp " + udpLocal}, args: "datagram -to " + udpLocal},
		{name: "udp-lo-connected", local: []string{"udp " + udpLocal}, args: "datagram -connect -send write -recv read -to " + udpLocal},
		{name: "udp-empty", peer: echo4, args: "datagram -size 0 -to " + udp4},
		{name: "udp-one-byte", peer: echo4, args: "datagram -size 1 -count 50 -to " + udp4},
		{name: "udp-large", peer: echo4, args: "datagram -size 60000 -count 5 -to " + udp4},
		{name: "udp-truncated", peer: echo4, args: "datagram -size 500 -room 100 -to " + udp4, unequal: "the client leaves the rest of each echo"},
		{name: "udp-gso", peer: []string{"udp " + udp4 + " sink=1"}, args: "segments -to " + udp4, needs: gso},
		{name: "udp-gso-gro", peer: []string{"udp " + udp4 + " sink=1 gro=1"}, args: "segments -to " + udp4, needs: gso},
		{name: "udp-gso-connected-v6", peer: []string{"udp " + udp6 + " sink=1"}, args: "segments -connect -to " + udp6, needs: append(gso, v6...)},
		{name: "udp-multicast", peer: []string{"udp 0.0.0.0:7003 sink=1 join=224.0.0.99 on=10.77.0.2"}, args: "send-only -from 10.77.0.1 -to 224.0.0.99:7003"},
		{name: "udp-broadcast", peer: []string{"udp 0.0.0.0:7003 sink=1"}, args: "send-only -to 10.77.0.255:7003"},
		{name: "udp-eight-peers", peer: eight, args: "datagram " + peers},
		{name: "udp-eight-peers-four-threads", peer: eight, args: "threads -count 40 " + peers},
		{name: "udplite", peer: []string{"udplite " + udp4}, args: "datagram -proto udplite -to " + udp4, needs: lite},
		{name: "udplite-v6", peer: []string{"udplite " + udp6}, args: "datagram -proto udplite -to " + udp6, needs: append(lite, v6...)},
	}
}

func eightServices() []string {
	var all []string
	for i := range 8 {
		all = append(all, fmt.Sprintf("udp 10.77.0.2:%d", 7200+i))
	}
	return all
}

func eightFlags() string {
	var b strings.Builder
	for i := range 8 {
		fmt.Fprintf(&b, " -to 10.77.0.2:%d", 7200+i)
	}
	return b.String()
}

func rawScenarios() []scenario {
	v6 := []*bpftest.Feature{bpftest.IPv6()}
	packet := []*bpftest.Feature{bpftest.AFPacket()}
	const header = "a raw IPv4 socket reads the IP header too"
	return []scenario{
		{name: "icmp-ping-v4", args: "ping -to 10.77.0.2"},
		{name: "icmp-ping-v6", args: "ping -to fd77::2", needs: v6},
		{name: "icmp-ping-lo", args: "ping -to 127.0.0.1"},
		{name: "icmp-raw-v4", args: "ping -raw -to 10.77.0.2"},
		{name: "icmp-raw-v6", args: "ping -raw -to fd77::2", needs: v6},
		{name: "raw-253-v4", peer: []string{"raw 10.77.0.2"}, args: "raw -to 10.77.0.2", unequal: header},
		{name: "raw-253-v6", peer: []string{"raw fd77::2"}, args: "raw -to fd77::2", needs: v6},
		{name: "packet-raw", peer: []string{"packet veth0"}, args: "packet -link veth0 -to $MAC", needs: packet},
		{name: "packet-dgram", peer: []string{"packet veth0 dgram=1"}, args: "packet -way dgram -link veth0 -to $MAC", needs: packet},
		{name: "packet-ring", peer: []string{"packet veth0"}, args: "packet -way ring -link veth0 -to $MAC", needs: packet},
		{name: "packet-receive-ring", peer: []string{"packet veth0 ring=1"}, args: "packet -link veth0 -to $MAC", needs: packet},
		// Sockets that move nothing by a call are found by looking, every 10 s.
		{name: "xdp-seen", background: true, args: "xdp -link lo -hold 13s", needs: []*bpftest.Feature{bpftest.AFXDP()}},
		{name: "vsock-seen", background: true, args: "vsock -n 0 -hold 13s", needs: []*bpftest.Feature{bpftest.Vsock()}},
		{name: "vsock-loopback", args: "vsock", needs: []*bpftest.Feature{bpftest.VsockLoopback()}, unequal: "one process is both ends"},
	}
}

func failures() []scenario {
	v6 := []*bpftest.Feature{bpftest.IPv6()}
	return []scenario{
		{name: "refused-v4", args: "attempt -want refused -result refused -to 10.77.0.2:9"},
		{name: "refused-v6", args: "attempt -want refused -result refused -to [fd77::2]:9", needs: v6},
		{name: "refused-lo", args: "attempt -want refused -result refused -to 127.0.0.1:9"},
		{name: "no-route", args: "attempt -want noroute -result failed|unreachable -to 198.51.100.1:80"},
		{name: "unreachable", args: "attempt -want unreachable -result unreachable -to 10.77.0.67:80"},
		{name: "silent", args: "attempt -want silent -result aborted|pending -to 10.77.0.66:80"},
		{name: "timeout", args: "attempt -want timeout -result timeout -to 10.77.0.66:80"},
		{name: "udp-refused", args: "udp-refused -to 10.77.0.2:9", unequal: "nobody listens"},
		{name: "reset", args: "reset"},
	}
}

func processes() []scenario {
	peer := []string{"tcp " + tcp4}
	return []scenario{
		{name: "exec-after-send", peer: peer, prepare: other, args: "exec -with $DIR/other -to " + tcp4},
		{name: "fork-both-send", peer: peer, args: "fork -to " + tcp4},
		{name: "accept-in-fork", args: "accept-fork"},
		{name: "never-accepted", args: "never-accept", unequal: "nobody reads"},
		{name: "socket-passed", peer: peer, prepare: other, args: "pass -with $DIR/other -to " + tcp4},
		{name: "threads-share", peer: peer, args: "share -to " + tcp4},
		{name: "setns-between", peer: peer, passNamespace: true, args: "setns -to " + tcp4},
		{name: "short-lived", peer: peer, args: fmt.Sprintf("short -dir $DIR -count %d -to %s", few(300), tcp4), needs: []*bpftest.Feature{bpftest.TinyELF()}},
		{name: "short-lived-removed", peer: peer, args: fmt.Sprintf("short -remove -dir $DIR -count %d -to %s", few(100), tcp4), needs: []*bpftest.Feature{bpftest.TinyELF()}, mayVanish: true},
	}
}

func identities() []scenario {
	peer := []string{"tcp " + tcp4}
	const stream = " stream -n 4000 -reply 3000 -to " + tcp4
	return []scenario{
		{name: "container", peer: peer, prepare: directory("root"), args: "container -root $DIR/root stream -pause 700ms -to " + tcp4,
			needs: []*bpftest.Feature{bpftest.Namespaces()}},
		{name: "container-short", peer: peer, prepare: directory("root"), args: "container -root $DIR/root" + stream,
			needs: []*bpftest.Feature{bpftest.Namespaces()}, mayVanish: true},
		{name: "unlinked", peer: peer, prepare: copied("gone"), program: "$DIR/gone", args: "unlinked stream -pause 3s -to " + tcp4},
		{name: "unlinked-short", peer: peer, prepare: copied("gone"), program: "$DIR/gone", args: "unlinked" + stream, mayVanish: true},
		{name: "deleted", peer: peer, args: "deleted -as $DIR/gone stream -pause 3s -to " + tcp4},
		{name: "memfd", peer: peer, args: "memfd stream -pause 3s -to " + tcp4},
		{name: "script", peer: peer, prepare: script("run.sh", "interpret"), program: "$DIR/run.sh", args: "-chunk 1000"},
		{name: "script-explicit", peer: peer, prepare: script("run.py", "python3"), program: "$DIR/python3", args: "$DIR/run.py -chunk 1000"},
		{name: "script-explicit-relative", peer: peer, prepare: script("run.py", "python3"), program: "$DIR/python3", args: "run.py -pause 700ms"},
		{name: "name-spaces", peer: peer, prepare: copied("a  b "), program: "$DIR/a  b ", args: "stream -to " + tcp4},
		{name: "name-newline", peer: peer, prepare: copied("a\nb\n"), program: "$DIR/a\nb\n", args: "stream -to " + tcp4},
		{name: "name-escape", peer: peer, prepare: copied("a\x1b[31m\x07b"), program: "$DIR/a\x1b[31m\x07b", args: "stream -to " + tcp4},
		{name: "name-no-utf8", peer: peer, prepare: copied("a\xff\xfeb\xc3"), program: "$DIR/a\xff\xfeb\xc3", args: "stream -to " + tcp4},
		{name: "name-deleted", peer: peer, prepare: copied("x (deleted)"), program: "$DIR/x (deleted)", args: "stream -to " + tcp4},
		{name: "uid", peer: peer, args: "uid -uid 12345" + stream},
		{name: "user", peer: peer, args: "uid -uid 65534" + stream},
		{name: "orphan", peer: peer, args: "orphan -as $DIR/middle stream -pause 300ms -to " + tcp4},
	}
}

// other is a second executable, with another hash.
func other(l *lab, dir string) error { return copied("other")(l, dir) }

// copied puts a copy of the generators under name, with a hash of its own.
func copied(name string) func(l *lab, dir string) error {
	return func(l *lab, dir string) error {
		image, err := os.ReadFile(l.traffic)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(dir, name), append(image, name...), 0o755)
	}
}

func directory(name string) func(l *lab, dir string) error {
	return func(_ *lab, dir string) error { return os.Mkdir(filepath.Join(dir, name), 0o755) }
}

// script is a program in the little language of the generator `interpret`,
// with a first line that names the interpreter, and the interpreter's file.
func script(name, interpreter string) func(l *lab, dir string) error {
	return func(l *lab, dir string) error {
		if err := copied(interpreter)(l, dir); err != nil {
			return err
		}
		first := "#!" + filepath.Join(dir, interpreter) + "\n"
		if interpreter == "interpret" {
			first = "#!" + filepath.Join(dir, interpreter) + " interpret\n"
		}
		body := first + "stream -n 4000 -reply 3000 -to " + tcp4 + "\n"
		return os.WriteFile(filepath.Join(dir, name), []byte(body), 0o755)
	}
}
