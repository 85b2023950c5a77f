package scenario

import (
	"errors"
	"fmt"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"snitch/bpf/bpftest"
)

// arrivals counts what arrives in a network namespace, before anything is done
// with it. What kernels tell each other is no traffic of a program: neighbours,
// groups, errors.
type arrivals struct {
	conn    *nftables.Conn
	counter *nftables.CounterObj
}

func countArrivals(ns *bpftest.Namespace) (*arrivals, error) {
	conn, err := nftables.New(nftables.WithNetNSFd(ns.Fd()))
	if err != nil {
		return nil, fmt.Errorf("open nftables in namespace: %w", err)
	}
	table := conn.AddTable(&nftables.Table{Name: "arrivals", Family: nftables.TableFamilyINet})
	a := &arrivals{conn: conn, counter: conn.AddObj(&nftables.CounterObj{Table: table, Name: "all"}).(*nftables.CounterObj)}
	chain := conn.AddChain(&nftables.Chain{Name: "in", Table: table, Type: nftables.ChainTypeFilter,
		Hooknum: nftables.ChainHookPrerouting, Priority: nftables.ChainPriorityRef(-450)})
	for _, kind := range []struct{ proto, echo byte }{{unix.IPPROTO_ICMP, 8}, {unix.IPPROTO_ICMPV6, 128}} {
		conn.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: append(protocolIs(kind.proto),
			&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Len: 1},
			&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: []byte{kind.echo}}, &expr.Verdict{Kind: expr.VerdictAccept})})
	}
	conn.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: append(protocolIs(unix.IPPROTO_IGMP), &expr.Verdict{Kind: expr.VerdictAccept})})
	conn.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: []expr.Any{&expr.Objref{Type: int(nftables.ObjTypeCounter), Name: a.counter.Name}}})
	if err := conn.Flush(); err != nil {
		return nil, fmt.Errorf("count arrivals: %w", err)
	}
	return a, nil
}

func protocolIs(proto byte) []expr.Any {
	return []expr.Any{&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1}, &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{proto}}}
}

// take returns the packets since the last take.
func (a *arrivals) take() (uint64, error) {
	o, err := a.conn.ResetObject(a.counter)
	if err != nil {
		return 0, fmt.Errorf("read arrivals: %w", err)
	}
	c, ok := o.(*nftables.CounterObj)
	if !ok {
		return 0, errors.New("read arrivals: no counter")
	}
	return c.Packets, nil
}
