package verdict

import (
	"errors"
	"fmt"
	"iter"
	"time"

	"golang.org/x/sys/unix"

	"snitch/bpf"
	"snitch/monitor/event"
	"snitch/policy"
	"snitch/policy/rule"
	"snitch/policy/table"
)

// generation is one policy in the kernel. It grows by the classes that are met;
// all its methods are for the goroutine that holds the Backend's lock.
type generation struct {
	number  uint32 // 0 until it is staged
	policy  *policy.Policy
	reads   rule.Reads
	kernel  *table.Kernel
	classes *table.Classes
	tables  *bpf.VerdictTables
	rules   []string // by number - 1
	numbers map[string]uint32
	loaded  map[table.ClassID]struct{}
	groups  map[uint32]bool // that are loaded; whether rows tell ports apart
	entries int
}

// Room of the tables. Tries take memory as they grow, hashes as they are made.
const (
	trieEntries = 1 << 22
	hashEntries = 1 << 17
)

func newGeneration(v *bpf.Verdicts, p *policy.Policy, now time.Time) (*generation, error) {
	g := &generation{policy: p, reads: p.Set.Reads(), kernel: table.NewKernel(p.Set, now), numbers: map[string]uint32{},
		loaded: map[table.ClassID]struct{}{}, groups: map[uint32]bool{}}
	g.classes = g.kernel.Classes()
	var err error
	g.tables, err = v.NewTables(bpf.VerdictSizes{Addresses: trieEntries, Groups: hashEntries, Places: hashEntries, Rows: trieEntries})
	if err != nil {
		return nil, err
	}
	err = errors.Join(g.tables.PutProtos(g.protos()), g.tables.PutAddresses(g.addresses()), g.tables.PutSources(g.sources()))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("write tables: %w", err), g.tables.Close())
	}
	return g, nil
}

// class is the class of a subject, in the kernel's tables when it returns. The
// zero class, with an error, is one that does not fit: its every look-up asks.
func (g *generation) class(f *rule.Facts) (table.ClassID, error) {
	class, err := g.classes.Of(f)
	if err != nil {
		return 0, err
	}
	if _, ok := g.loaded[class]; ok {
		return class, nil
	}
	groups := g.classes.Groups(class)
	for _, group := range groups {
		if err := g.load(group.ID); err != nil {
			return 0, fmt.Errorf("write class %d: %w", class, err)
		}
	}
	if err := g.tables.PutGroups(g.groupEntries(groups)); err != nil {
		return 0, fmt.Errorf("write class %d: %w", class, err)
	}
	g.loaded[class] = struct{}{}
	return class, nil
}

// load writes what a group points to.
func (g *generation) load(group uint32) error {
	if _, ok := g.groups[group]; ok {
		return nil
	}
	if err := errors.Join(g.tables.PutRows(g.rows(group)), g.tables.PutPlaces(placeEntries(g.classes.Places(group)))); err != nil {
		return err
	}
	g.groups[group] = g.tellsPorts(group)
	return nil
}

// wholeRow is how long a key of the verdict trie is without its port, in bits.
const wholeRow = 96

// tellsPorts reports whether a group refuses or asks, and its rules speak of
// ports of the called end.
func (g *generation) tellsPorts(group uint32) bool {
	ports, passes := false, true
	for prefix, e := range g.classes.Verdicts(group) {
		ports = ports || prefix.Bits > wholeRow
		passes = passes && (e.Verdict == table.Allow || e.Verdict == table.Alert)
	}
	return ports && !passes
}

func (g *generation) protos() iter.Seq2[uint32, uint32] {
	columns := g.kernel.Protos()
	return func(yield func(uint32, uint32) bool) {
		for proto := range uint16(256) {
			if !yield(uint32(proto), uint32(columns[event.ProtoName(event.AFInet, proto)])) {
				return
			}
		}
		for proto, family := range map[uint32]uint16{bpf.VerdictProtoPacket: event.AFPacket, bpf.VerdictProtoVsock: event.AFVsock, bpf.VerdictProtoXDP: event.AFXDP} {
			if !yield(proto, uint32(columns[event.FamilyName(family)])) {
				return
			}
		}
	}
}

func (g *generation) sources() iter.Seq2[uint32, uint32] {
	return func(yield func(uint32, uint32) bool) {
		for port, cell := range g.kernel.SourcePorts() {
			if !yield(uint32(port), cell) {
				return
			}
		}
	}
}

func (g *generation) addresses() iter.Seq2[bpf.VerdictAddressKey, uint32] {
	return func(yield func(bpf.VerdictAddressKey, uint32) bool) {
		for prefix, cell := range g.kernel.Addresses() {
			key := bpf.VerdictAddressKey{Bits: uint32(prefix.Bits)}
			copy(key.Addr[:], prefix.Data)
			if !yield(key, cell) {
				return
			}
		}
	}
}

func (g *generation) rows(group uint32) iter.Seq2[bpf.VerdictRowKey, bpf.VerdictEntry] {
	return func(yield func(bpf.VerdictRowKey, bpf.VerdictEntry) bool) {
		for prefix, e := range g.classes.Verdicts(group) {
			key := bpf.VerdictRowKey{Bits: uint32(prefix.Bits)}
			copy(key.Row[:], prefix.Data)
			g.entries++
			if !yield(key, bpf.VerdictEntry{Verdict: uint8(e.Verdict), Rule: g.ruleNumber(e.Rule), Until: bootTime(e.Until)}) {
				return
			}
		}
	}
}

func (g *generation) groupEntries(groups map[table.GroupKey]table.Group) iter.Seq2[bpf.VerdictGroupKey, bpf.VerdictGroup] {
	return func(yield func(bpf.VerdictGroupKey, bpf.VerdictGroup) bool) {
		for k, group := range groups {
			key := bpf.VerdictGroupKey{Class: uint32(k.Class), Column: k.Column, Direction: uint8(k.Direction)}
			uses := uint32(group.Uses)
			if g.groups[group.ID] {
				uses |= bpf.VerdictUsesPorts
			}
			if !yield(key, bpf.VerdictGroup{Id: group.ID, Uses: uses}) {
				return
			}
		}
	}
}

func placeEntries(places map[table.PlaceKey]uint16) iter.Seq2[bpf.VerdictPlaceKey, uint32] {
	return func(yield func(bpf.VerdictPlaceKey, uint32) bool) {
		for k, place := range places {
			if !yield(bpf.VerdictPlaceKey{Group: k.Group, Cell: k.Cell, Dimension: uint32(k.Dimension)}, uint32(place)) {
				return
			}
		}
	}
}

// ruleNumber is the number of a rule in entries, 0 for none.
func (g *generation) ruleNumber(id string) uint32 {
	if id == "" {
		return 0
	}
	n, ok := g.numbers[id]
	if !ok {
		g.rules = append(g.rules, id)
		n = uint32(len(g.rules))
		g.numbers[id] = n
	}
	return n
}

// ruleID is the id of a rule's number, "" for none.
func (g *generation) ruleID(n uint32) string {
	if n == 0 || int(n) > len(g.rules) {
		return ""
	}
	return g.rules[n-1]
}

// bootTime is a wall time on the kernel's clock, 0 for the zero time. What is
// past became so at the boot.
func bootTime(t time.Time) uint64 {
	if t.IsZero() {
		return 0
	}
	return uint64(max(1, int64(bootNow()+time.Until(t))))
}

// bootNow is CLOCK_BOOTTIME, which goes on through a suspend.
func bootNow() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return 0
	}
	return time.Duration(ts.Nano())
}
