package nft

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Bounds of one conversation with the kernel. It answers every message of a
// batch, and all answers must fit before the first is read.
const (
	buffer        = 64 << 20 // bytes; only used when needed
	elementsAMess = 500      // an attribute holds 64 KiB
)

// Name is the table's name for a state directory: two daemons on one host have
// two tables, and a daemon finds the table of its own crash.
func Name(state string) string {
	sum := sha256.Sum256([]byte(state))
	return "snitch-" + hex.EncodeToString(sum[:4])
}

// table is the one table that this package owns. It is for one goroutine.
//
// Replacing a table in one transaction is not free of gaps: a packet that is on
// its way through the hook meets the new chains before the transaction, when
// they are empty yet, and the old ones behind it, when they are empty already
// (measured: one connect in a thousand under constant reloads). So a new table
// is made beside the old one, which goes only then: for that moment a packet
// must satisfy both. The names of the two differ in their last digit.
type table struct {
	conn *nftables.Conn
	name string // without the digit
	slot int
}

const slots = 2

// openTable connects to nftables of the network namespace netns, an open
// descriptor, or 0 for the present one.
func openTable(name string, netns int) (*table, error) {
	large := func(c *netlink.Conn) error {
		return errors.Join(c.SetReadBuffer(buffer), c.SetWriteBuffer(buffer))
	}
	conn, err := nftables.New(nftables.AsLasting(), nftables.WithNetNSFd(netns), nftables.WithSockOptions(large))
	if err != nil {
		return nil, fmt.Errorf("open nftables: %w", err)
	}
	return &table{conn: conn, name: name}, nil
}

func (t *table) close() error { return t.conn.CloseLasting() }

func (t *table) ref() *nftables.Table { return t.at(t.slot) }

func (t *table) at(slot int) *nftables.Table {
	return &nftables.Table{Name: fmt.Sprintf("%s-%d", t.name, slot), Family: nftables.TableFamilyINet}
}

// remove deletes the table, whatever a crash left of it.
func (t *table) remove() error {
	return errors.Join(t.removeSlot(0), t.removeSlot(1))
}

// removeSlot adds the table first, so that there surely is one to delete.
func (t *table) removeSlot(slot int) error {
	ref := t.at(slot)
	t.conn.AddTable(ref)
	t.conn.DelTable(ref)
	if err := t.conn.Flush(); err != nil {
		return fmt.Errorf("remove nft table %s: %w", ref.Name, err)
	}
	return nil
}

// replace makes the table hold l and nothing else. On an error what held before
// still holds.
func (t *table) replace(l *layout, deadMan time.Duration) error {
	old := t.slot
	if t.there() != nil {
		old = t.other() // nothing, or what a crash left there
	}
	t.slot = (old + 1) % slots
	if err := t.fill(l, deadMan); err != nil {
		t.slot = old
		return err
	}
	return t.removeSlot(old)
}

func (t *table) other() int { return (t.slot + 1) % slots }

// fill makes the table of the present slot, in one transaction.
func (t *table) fill(l *layout, deadMan time.Duration) error {
	ref := t.ref()
	t.conn.AddTable(ref)
	t.conn.DelTable(ref)
	t.conn.AddTable(ref)
	if err := t.addSets(ref, l, deadMan); err != nil {
		return err
	}
	chains := map[string]*nftables.Chain{}
	for _, c := range l.chains {
		made := &nftables.Chain{Name: c.name, Table: ref}
		if c.hook != nil {
			made.Type, made.Hooknum, made.Priority = nftables.ChainTypeFilter, c.hook, nftables.ChainPriorityRef(priority)
		}
		chains[c.name] = t.conn.AddChain(made)
	}
	for _, c := range l.chains {
		for _, line := range c.lines {
			rule := &nftables.Rule{Table: ref, Chain: chains[c.name], Exprs: line.exprs}
			if line.note != "" {
				rule.UserData = userdata.AppendString(nil, userdata.TypeComment, clip(line.note))
			}
			t.conn.AddRule(rule)
		}
	}
	if err := t.conn.Flush(); err != nil {
		return fmt.Errorf("make nft table %s: %w", ref.Name, explain(err))
	}
	return nil
}

// clip bounds a comment to what its length byte can say.
func clip(note string) string { return note[:min(len(note), 250)] }

// explain names what the kernel lacks when it does not know an expression.
func explain(err error) error {
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EOPNOTSUPP) {
		return fmt.Errorf("missing feature: nftables with ct, exthdr, reject and inet tables (CONFIG_NFT_CT, CONFIG_NFT_REJECT_INET, CONFIG_NF_CONNTRACK_MARK), for cgroups with socket cgroupv2 (Linux 5.13, CONFIG_NFT_SOCKET): %w", err)
	}
	return err
}

func (t *table) addSets(ref *nftables.Table, l *layout, deadMan time.Duration) error {
	if deadMan > 0 {
		if err := t.conn.AddSet(t.alive(), beats(deadMan)); err != nil {
			return fmt.Errorf("make set %s: %w", setAlive, err)
		}
	}
	for i, s := range l.sets {
		made := &nftables.Set{Table: ref, Name: s.name, ID: uint32(i + 2), KeyType: s.kind, Interval: true}
		if err := t.conn.AddSet(made, nil); err != nil {
			return fmt.Errorf("make set %s: %w", s.name, err)
		}
		all := s.elements()
		for len(all) > 0 {
			n := min(len(all), elementsAMess)
			if err := t.conn.SetAddElements(made, all[:n]); err != nil {
				return fmt.Errorf("fill set %s: %w", s.name, err)
			}
			all = all[n:]
		}
	}
	return nil
}

// alive is the set whose elements are the heartbeat: they go by themselves.
func (t *table) alive() *nftables.Set {
	return &nftables.Set{Table: t.ref(), Name: setAlive, ID: 1, KeyType: nftables.TypeNFProto, HasTimeout: true}
}

func beats(timeout time.Duration) []nftables.SetElement {
	return []nftables.SetElement{
		{Key: []byte{byte(nftables.TableFamilyIPv4)}, Timeout: timeout},
		{Key: []byte{byte(nftables.TableFamilyIPv6)}, Timeout: timeout},
	}
}

// beat starts the dead man's time again. os.ErrNotExist says that somebody
// removed the table.
func (t *table) beat(timeout time.Duration) error {
	t.conn.FlushSet(t.alive())
	if err := t.conn.SetAddElements(t.alive(), beats(timeout)); err != nil {
		return fmt.Errorf("refresh heartbeat: %w", err)
	}
	if err := t.conn.Flush(); err != nil {
		return fmt.Errorf("refresh heartbeat: %w", err)
	}
	return nil
}

// there reports whether the table exists.
func (t *table) there() error {
	tables, err := t.conn.ListTablesOfFamily(nftables.TableFamilyINet)
	if err != nil {
		return fmt.Errorf("list nft tables: %w", err)
	}
	for _, table := range tables {
		if table.Name == t.ref().Name {
			return nil
		}
	}
	return fmt.Errorf("nft table %s: %w", t.ref().Name, os.ErrNotExist)
}

// Hits are packets that a rule decided, and their bytes.
type Hits struct{ Packets, Bytes uint64 }

func (h Hits) plus(o Hits) Hits { return Hits{h.Packets + o.Packets, h.Bytes + o.Bytes} }

// hits reads the counters of the table, by the notes of their lines.
func (t *table) hits(l *layout) (map[string]Hits, error) {
	out := map[string]Hits{}
	for _, c := range l.chains {
		rules, err := t.conn.GetRules(t.ref(), &nftables.Chain{Name: c.name})
		if err != nil {
			return nil, fmt.Errorf("read counters of chain %s: %w", c.name, err)
		}
		for _, r := range rules {
			note, ok := userdata.GetString(r.UserData, userdata.TypeComment)
			if !ok {
				continue
			}
			for _, e := range r.Exprs {
				if n, ok := e.(*expr.Counter); ok {
					out[note] = out[note].plus(Hits{n.Packets, n.Bytes})
				}
			}
		}
	}
	return out, nil
}
