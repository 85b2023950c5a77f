package nft

import (
	"encoding/binary"
	"fmt"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// shutSuffix is of the table that Shut makes: it is none of a backend's.
const shutSuffix = "-shut"

// Shut drops every packet that is not of the loopback, whoever sends it, until
// Open: from the boot on, until a daemon denies. It is for the table named by
// cfg alone, idempotent, and one transaction.
func Shut(cfg Config) error {
	t, err := openTable(cfg.Table+shutSuffix, cfg.NetNS)
	if err != nil {
		return err
	}
	defer t.close()
	ref, drop := t.ref(), nftables.ChainPolicyDrop
	t.conn.AddTable(ref)
	t.conn.DelTable(ref)
	t.conn.AddTable(ref)
	for _, c := range []struct {
		name string
		hook *nftables.ChainHook
		kind expr.MetaKey
	}{
		{"input", nftables.ChainHookInput, expr.MetaKeyIIFTYPE},
		{"forward", nftables.ChainHookForward, expr.MetaKeyOIFTYPE},
		{"output", nftables.ChainHookOutput, expr.MetaKeyOIFTYPE},
	} {
		chain := t.conn.AddChain(&nftables.Chain{Name: c.name, Table: ref, Type: nftables.ChainTypeFilter, Hooknum: c.hook,
			Priority: nftables.ChainPriorityRef(priority), Policy: &drop})
		loopback := meta(c.kind, expr.CmpOpEq, binary.NativeEndian.AppendUint16(nil, unix.ARPHRD_LOOPBACK))
		t.conn.AddRule(&nftables.Rule{Table: ref, Chain: chain, Exprs: join(loopback, []expr.Any{&expr.Verdict{Kind: expr.VerdictAccept}})})
	}
	if err := t.conn.Flush(); err != nil {
		return fmt.Errorf("shut the network: %w", explain(err))
	}
	return nil
}

// Open ends what Shut began; nothing being there is no error.
func Open(cfg Config) error {
	cfg.Table += shutSuffix
	return Remove(cfg)
}
