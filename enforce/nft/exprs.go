package nft

import (
	"encoding/binary"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// metaTime is NFT_META_TIME_NS, which x/sys does not name.
const metaTime expr.MetaKey = 30

// Offsets in the headers that are loaded.
const (
	sourceV4, targetV4 = 12, 16
	sourceV6, targetV6 = 8, 24
	tcpFlags           = 13
)

const (
	tcpSYN, tcpRST, tcpACK = 2, 4, 16
	optionIPv4             = 2 // NFT_EXTHDR_OP_IPV4, which x/sys does not name
	looseRoute             = 131
	strictRoute            = 137
)

// reg and wide are where values are loaded. Registers of 4 bytes overlap those
// of 16, so one is enough.
const reg = unix.NFT_REG_1

func native(v uint32) []byte { return binary.NativeEndian.AppendUint32(nil, v) }

// join makes one rule of parts. It never shares memory with them.
func join(parts ...[]expr.Any) []expr.Any {
	var out []expr.Any
	for _, p := range parts {
		out = append(out, p...)
	}
	return out
}

func cmp(op expr.CmpOp, data []byte) expr.Any {
	return &expr.Cmp{Op: op, Register: reg, Data: data}
}

func meta(key expr.MetaKey, op expr.CmpOp, data []byte) []expr.Any {
	return []expr.Any{&expr.Meta{Key: key, Register: reg}, cmp(op, data)}
}

func family(f byte) []expr.Any { return meta(expr.MetaKeyNFPROTO, expr.CmpOpEq, []byte{f}) }

func l4proto(p byte) []expr.Any { return meta(expr.MetaKeyL4PROTO, expr.CmpOpEq, []byte{p}) }

// owned holds for packets of a socket that somebody has open: the load ends
// the rule for others.
func owned() []expr.Any { return meta(expr.MetaKeySKUID, expr.CmpOpGte, native(0)) }

// uid loads the owner in network order, as intervals need it.
func uid() []expr.Any {
	return []expr.Any{&expr.Meta{Key: expr.MetaKeySKUID, Register: reg},
		&expr.Byteorder{SourceRegister: reg, DestRegister: reg, Op: expr.ByteorderHton, Len: 4, Size: 4}}
}

// cgroupAt compares the id of the ancestor at a level of the socket's cgroup.
// A socket that lies higher ends the rule.
func cgroupAt(level int, op expr.CmpOp, id uint64) []expr.Any {
	return []expr.Any{&expr.Socket{Key: expr.SocketKeyCgroupv2, Level: uint32(level), Register: reg},
		cmp(op, binary.NativeEndian.AppendUint64(nil, id))}
}

// before holds until a wall-clock time, in nanoseconds since 1970.
func before(ns int64) []expr.Any {
	return []expr.Any{&expr.Meta{Key: metaTime, Register: reg},
		&expr.Byteorder{SourceRegister: reg, DestRegister: reg, Op: expr.ByteorderHton, Len: 8, Size: 8},
		cmp(expr.CmpOpLt, binary.BigEndian.AppendUint64(nil, uint64(ns)))}
}

func payload(base expr.PayloadBase, offset, length uint32) expr.Any {
	return &expr.Payload{DestRegister: reg, Base: base, Offset: offset, Len: length}
}

func lookup(name string, invert bool) expr.Any {
	return &expr.Lookup{SourceRegister: reg, SetName: name, Invert: invert}
}

// bits holds when one of the bits of what load loads is set (or none, if !any).
func bits(load expr.Any, mask []byte, anySet bool) []expr.Any {
	op := expr.CmpOpEq
	if anySet {
		op = expr.CmpOpNeq
	}
	zero := make([]byte, len(mask))
	return []expr.Any{load, &expr.Bitwise{SourceRegister: reg, DestRegister: reg, Len: uint32(len(mask)), Mask: mask, Xor: zero}, cmp(op, zero)}
}

func ctState(states uint32) []expr.Any {
	return bits(&expr.Ct{Key: expr.CtKeySTATE, Register: reg}, native(states), true)
}

func ctReply() []expr.Any {
	return []expr.Any{&expr.Ct{Key: expr.CtKeyDIRECTION, Register: reg}, cmp(expr.CmpOpEq, []byte{1})}
}

// flags holds for TCP segments with one of the flags (or none of them).
func flags(mask byte, anySet bool) []expr.Any {
	return join(l4proto(unix.IPPROTO_TCP), bits(payload(expr.PayloadBaseTransportHeader, tcpFlags, 1), []byte{mask}, anySet))
}

// present holds for packets with an IPv6 extension header or an IPv4 option.
func present(op expr.ExthdrOp, kind uint8) []expr.Any {
	return only(&expr.Exthdr{DestRegister: reg, Op: op, Type: kind, Len: 1, Flags: unix.NFT_EXTHDR_F_PRESENT}, cmp(expr.CmpOpNeq, []byte{0}))
}

func counter() expr.Any { return &expr.Counter{} }

func verdict(kind expr.VerdictKind, chain string) expr.Any {
	return &expr.Verdict{Kind: kind, Chain: chain}
}

func accept() expr.Any              { return verdict(expr.VerdictAccept, "") }
func back() expr.Any                { return verdict(expr.VerdictReturn, "") }
func jump(chain string) expr.Any    { return verdict(expr.VerdictJump, chain) }
func goTo(chain string) expr.Any    { return verdict(expr.VerdictGoto, chain) }
func only(e ...expr.Any) []expr.Any { return e }
