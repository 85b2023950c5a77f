package nft

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/xt"
	"golang.org/x/sys/unix"
)

// HoldConfig says which packets wait in a queue. A packet is selected by a mark
// or by the cgroup of its socket; of TCP only the first segment is.
type HoldConfig struct {
	Table  string // its name: HoldName of the state directory
	NetNS  int    // open descriptor of the network namespace, 0: the present one
	Number uint16 // of the queue
	// Mark selects packets that have these bits; 0: none.
	Mark uint32
	// CgroupLevel and CgroupID select packets of sockets in or below a cgroup, so
	// many levels below the root; id 0: none.
	CgroupLevel int
	CgroupID    uint64
	// DenyMark are bits, set by the reader of the queue, by which a packet that
	// comes again is rejected.
	DenyMark uint32
	// Bypass lets packets pass while nobody reads the queue; else they are
	// dropped.
	Bypass bool
}

// Hold owns the table whose rules fill a queue. It is for one goroutine. Open
// the queue before the Hold, and close it behind it.
type Hold struct {
	table  *table
	layout *layout
	native bool
}

const (
	chainHold = "hold"
	noteHeld  = "held"
)

// HoldName is the name of the table of holds for a state directory.
func HoldName(state string) string { return Name(state) + "-hold" }

// ErrNoQueue says that the kernel has no way to queue packets.
var ErrNoQueue = errors.New("missing feature: NFQUEUE (CONFIG_NFT_QUEUE, or CONFIG_NFT_COMPAT with CONFIG_NETFILTER_XT_TARGET_NFQUEUE)")

// OpenHold makes the rules, by the native queue expression or, where the kernel
// has none, by the xtables target. It replaces what a crash left.
func OpenHold(cfg HoldConfig) (*Hold, error) {
	if cfg.DenyMark == 0 || cfg.Mark == 0 && cfg.CgroupID == 0 || cfg.Mark&cfg.DenyMark != 0 {
		return nil, errors.New("open hold: it needs bits to mark denials, and other bits or a cgroup to select by")
	}
	t, err := openTable(cfg.Table, cfg.NetNS)
	if err != nil {
		return nil, err
	}
	h := &Hold{table: t}
	var tried []error
	for _, native := range []bool{true, false} {
		h.native, h.layout = native, holdLayout(cfg, native)
		err := t.replace(h.layout, 0)
		if err == nil {
			return h, nil
		}
		tried = append(tried, err)
		if !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.EOPNOTSUPP) {
			return nil, errors.Join(err, t.close())
		}
	}
	return nil, errors.Join(fmt.Errorf("%w: %w", ErrNoQueue, errors.Join(tried...)), t.close())
}

// holdLayout is the table of a hold.
func holdLayout(cfg HoldConfig, expression bool) *layout {
	l := &layout{setOf: map[string]string{}}
	ch := l.chain(chainHold, nftables.ChainHookOutput)
	mark := &expr.Meta{Key: expr.MetaKeyMARK, Register: reg}
	ch.add("denied", bits(mark, native(cfg.DenyMark), true), only(goTo(chainReject)))
	// Of TCP, SYN without ACK opens a connection; later segments passed it.
	first := l.chain("first", nil)
	first.add("", l4proto(unix.IPPROTO_TCP), bits(payload(expr.PayloadBaseTransportHeader, tcpFlags, 1), []byte{tcpSYN}, false), only(back()))
	first.add("", flags(tcpACK, true), only(back()))
	first.add(noteHeld, only(counter(), queueTo(cfg, expression)))
	if cfg.Mark != 0 {
		ch.add("", bits(mark, native(cfg.Mark), true), only(goTo(first.name)))
	}
	if cfg.CgroupID != 0 {
		ch.add("", cgroupAt(cfg.CgroupLevel, expr.CmpOpEq, cfg.CgroupID), only(goTo(first.name)))
	}
	l.reject()
	return l
}

// queueTo is the statement that queues.
func queueTo(cfg HoldConfig, expression bool) expr.Any {
	if expression {
		q := &expr.Queue{Num: cfg.Number, Total: 1}
		if cfg.Bypass {
			q.Flag = expr.QueueFlagBypass
		}
		return q
	}
	// struct xt_NFQ_info_v3: number, how many, flags; all in host order.
	var info xt.Unknown
	for _, v := range []uint16{cfg.Number, 1, 0} {
		info = binary.NativeEndian.AppendUint16(info, v)
	}
	if cfg.Bypass {
		binary.NativeEndian.PutUint16(info[4:], 1)
	}
	return &expr.Target{Name: "NFQUEUE", Rev: 3, Info: &info}
}

// Native reports whether the kernel has the queue expression; else the xtables
// target does its work.
func (h *Hold) Native() bool { return h.native }

// Selected counts the packets that were sent to the queue, those that did not
// fit it included.
func (h *Hold) Selected() (uint64, error) {
	hits, err := h.table.hits(h.layout)
	return hits[noteHeld].Packets, err
}

// Close removes the table: nothing is held any more.
func (h *Hold) Close() error { return errors.Join(h.table.remove(), h.table.close()) }
