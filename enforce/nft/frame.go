package nft

import (
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"snitch/policy/rule"
)

// Names that people meet in the table.
const (
	chainOutput = "output"
	chainInput  = "input"
	chainOwned  = "owned"
	chainReject = "reject"
	setAlive    = "alive"
)

// priority of the base chains: behind connection tracking, before the
// destination is translated, so that addresses are those that programs use.
const priority nftables.ChainPriority = -110

// markBit is the bit of conntrack marks by which connections are known that are
// older than their tracking; nothing else of the mark is touched.
const markBit = 1 << 29

// ICMP codes of the reject expression (NFT_REJECT_*).
const (
	rejectReset     = 1
	rejectICMPX     = 2
	adminProhibited = 3
)

// frame is what a table is made for.
type frame struct {
	set     *rule.Set
	now     time.Time
	cgroup  func(path string) uint64
	scope   string // cgroup whose sockets are judged; "": all
	deadMan bool   // let everything pass once the heartbeat stopped
}

// compile makes the whole table.
func compile(f frame) (*layout, map[string]uint64) {
	l := &layout{setOf: map[string]string{}}
	c := &compiler{layout: l, set: f.set, now: f.now, cgroup: f.cgroup, used: map[string]uint64{}}
	var scope []expr.Any
	if f.scope != "" {
		// A scope that is gone has no sockets: id 0 is nobody's.
		scope = cgroupAt(cgroupLevel(f.scope), expr.CmpOpEq, c.cgroupID(f.scope))
	}
	l.output(scope, f.deadMan)
	l.input(scope, f.deadMan)
	l.reject()
	for _, v := range views() {
		c.judge(v)
	}
	l.arrives(c.cgroups)
	return l, c.used
}

// output sorts what leaves by who sends and who began.
func (l *layout) output(scope []expr.Any, deadMan bool) {
	ch := l.chain(chainOutput, nftables.ChainHookOutput)
	l.preamble(ch, deadMan)
	if scope != nil {
		inside := l.chain("inside", nil)
		ch.add("", scope, only(jump(inside.name)))
		ch = inside
	}
	ch.add("", owned(), only(goTo(chainOwned)))
	ch.add("rest of connections that were judged", ctState(expr.CtStateBitESTABLISHED|expr.CtStateBitRELATED|expr.CtStateBitUNTRACKED), only(accept()))
	ch.add("the kernel refuses a segment", flags(tcpRST, true), only(accept()))
	l.housekeeping(ch)
	ch.add("", only(goTo("kernel")))

	own := l.chain(chainOwned, nil)
	// The address in the header is only the first on such a way.
	for _, by := range [][]expr.Any{present(optionIPv4, looseRoute), present(optionIPv4, strictRoute), present(expr.ExthdrOpIpv6, unix.IPPROTO_ROUTING)} {
		own.add(noteRoutes, by, only(counter(), goTo(chainReject)))
	}
	own.add("", ctReply(), flags(tcpSYN, true), only(goTo("synack")))
	own.add("", ctReply(), only(goTo("reply")))
	own.add("", only(goTo("out")))
}

// input judges what others begin. Answers to what began here were judged when
// that left.
func (l *layout) input(scope []expr.Any, deadMan bool) {
	ch := l.chain(chainInput, nftables.ChainHookInput)
	l.preamble(ch, deadMan)
	ch.add("answers", ctReply(), only(accept()))
	ch.add("errors about connections", ctState(expr.CtStateBitRELATED), only(accept()))
	l.housekeeping(ch)
	ch.add("", scope, only(goTo("arrives")))
}

// arrives sorts what others begin. The segment that ends a handshake is for a
// socket that is none yet: it shows no cgroup.
func (l *layout) arrives(cgroups bool) {
	ch := l.chain("arrives", nil)
	if cgroups {
		ch.add("", flags(tcpSYN, true), only(goTo("in")))
		ch.add("", cgroupAt(0, expr.CmpOpNeq, 0), only(goTo("in")))
		ch.add("", l4proto(unix.IPPROTO_TCP), only(goTo("flow")))
	}
	ch.add("", only(goTo("in")))
}

// preamble is what both base chains begin with.
func (l *layout) preamble(ch *chain, deadMan bool) {
	if deadMan {
		ch.add("fail-open: nobody refreshed the heartbeat", only(&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: reg}, lookup(setAlive, true), accept()))
	}
	mark := &expr.Ct{Key: expr.CtKeyMARK, Register: reg}
	older := only(mark,
		&expr.Bitwise{SourceRegister: reg, DestRegister: reg, Len: 4, Mask: native(^uint32(markBit)), Xor: native(markBit)},
		&expr.Ct{Key: expr.CtKeyMARK, Register: reg, SourceRegister: true}, accept())
	ch.add("older than its tracking: who began is not known", flags(tcpSYN, false), ctState(expr.CtStateBitNEW), older)
	ch.add("", flags(tcpSYN, false), ctState(expr.CtStateBitINVALID), only(accept()))
	ch.add("", l4proto(unix.IPPROTO_TCP), bits(mark, native(markBit), true), only(accept()))
}

// housekeeping lets neighbour discovery and multicast membership pass, without
// which there is no link to judge on.
func (l *layout) housekeeping(ch *chain) {
	types := l.setNamed("icmp", nftables.TypeInetProto, []interval{
		{string([]byte{130}), string([]byte{137})}, {string([]byte{143}), string([]byte{143})}})
	ch.add("neighbours and multicast groups", l4proto(unix.IPPROTO_ICMPV6),
		only(payload(expr.PayloadBaseTransportHeader, 0, 1), lookup(types, false), accept()))
	ch.add("", l4proto(unix.IPPROTO_IGMP), only(accept()))
}

// reject answers so that the program knows at once: a reset for TCP, EPERM from
// send for the rest.
func (l *layout) reject() {
	ch := l.chain(chainReject, nil)
	ch.add(noteDenied, only(counter()))
	ch.add("", l4proto(unix.IPPROTO_TCP), only(&expr.Reject{Type: rejectReset}))
	ch.add("", only(&expr.Reject{Type: rejectICMPX, Code: adminProhibited}))
}

// Counters that are no rule's; no id has a space.
const (
	noteDenied = "everything refused"
	noteRoutes = "source routes"
)
