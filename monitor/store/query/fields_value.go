package query

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"snitch/monitor/event"
	"snitch/monitor/store/schema"
)

// parser reads one value; part is set for the operator "~".
type parser = func(value string, part bool) (it item, problem, hint string)

// parseText reads a glob, or with "~" what stands anywhere in it.
func parseText(normal func(string) string) parser {
	return func(value string, part bool) (item, string, string) {
		if normal != nil {
			value = normal(value)
		}
		if part {
			value = "*" + value + "*"
		}
		return item{globs: []glob{unescapeComma(value)}}, "", ""
	}
}

// unescapeComma turns "\," into ",": behind the parser a comma is a byte like
// any other.
func unescapeComma(value string) glob {
	var b strings.Builder
	for i := 0; i < len(value); i++ {
		if value[i] == '\\' && i+1 < len(value) {
			if i++; value[i] == '*' || value[i] == '\\' {
				b.WriteByte('\\')
			}
		}
		b.WriteByte(value[i])
	}
	return glob(b.String())
}

// parseDomain reads a name: as it is, with wildcards, or with a leading dot
// for the name and all below it.
func parseDomain(value string, part bool) (item, string, string) {
	value = strings.ToLower(value)
	if part {
		return parseText(nil)(value, true)
	}
	apex, suffix := strings.CutPrefix(value, ".")
	apex = strings.TrimSuffix(apex, ".")
	if !suffix {
		return parseText(nil)(apex, false)
	}
	if apex == "" {
		return item{}, "a dot is no name", "write domain=.example.org for example.org and all below it"
	}
	g := unescapeComma(apex)
	return item{globs: []glob{g, "*." + g}}, "", ""
}

// parseHex reads the first digits of a digest; none at all is no digest.
func parseHex(value string, _ bool) (item, string, string) {
	if len(value) > 64 {
		return item{}, fmt.Sprintf("%d digits, a SHA-256 has 64", len(value)), ""
	}
	for i := range len(value) {
		if !strings.ContainsRune("0123456789abcdefABCDEF", rune(value[i])) {
			return item{}, fmt.Sprintf("%q is no hexadecimal digit", value[i]), "write the first digits of a SHA-256"
		}
	}
	g := glob(strings.ToLower(value))
	if len(value) > 0 && len(value) < 64 {
		g += "*"
	}
	return item{globs: []glob{g}}, "", ""
}

// numberField is a field of whole numbers up to limit.
func numberField(name, help string, limit uint64, get func(*event.Record) uint64, column string, group *grouping) field {
	return field{name: name, help: help, group: group,
		parse: func(value string, _ bool) (item, string, string) { return parseNumbers(name, value, limit) },
		match: func(it *item, r *event.Record) bool { n := get(r); return it.lo <= n && n <= it.hi },
		test:  func(it *item, v []int64) bool { return it.lo <= uint64(v[0]) && uint64(v[0]) <= it.hi },
		sql: func(b *builder, items []item) string {
			return b.either(items, func(it *item) string {
				return column + " BETWEEN " + b.arg(int64(it.lo)) + " AND " + b.arg(int64(it.hi))
			})
		}}
}

// parseNumbers reads N or LOW-HIGH.
func parseNumbers(name, value string, limit uint64) (item, string, string) {
	low, high, isRange := strings.Cut(value, "-")
	if !isRange {
		high = low
	}
	hint := fmt.Sprintf("write %s=443 or %s=8000-8099, up to %d", name, name, limit)
	lo, err1 := strconv.ParseUint(low, 10, 64)
	hi, err2 := strconv.ParseUint(high, 10, 64)
	switch {
	case err1 != nil || err2 != nil:
		return item{}, fmt.Sprintf("%q is no number or range", shorten(value)), hint
	case hi > limit:
		return item{}, fmt.Sprintf("%d is too large", hi), hint
	case lo > hi:
		return item{}, fmt.Sprintf("the range %s is empty", value), fmt.Sprintf("write %s=%d-%d", name, hi, lo)
	}
	return item{lo: lo, hi: hi}, "", ""
}

// addrRange is a run of addresses of one family; invalid is "no address".
type addrRange struct{ lo, hi netip.Addr }

func (a addrRange) contains(s string) bool {
	if s == "" || !a.lo.IsValid() {
		return s == "" && !a.lo.IsValid()
	}
	addr, err := netip.ParseAddr(s)
	if err != nil {
		return false
	}
	addr = addr.WithZone("")
	return addr.BitLen() == a.lo.BitLen() && a.lo.Compare(addr) <= 0 && addr.Compare(a.hi) <= 0
}

// addrField is a field of addresses; column names it in table connection too.
func addrField(column, help string, get func(*event.Record) string, group *grouping) field {
	return field{name: column, help: help, group: group,
		parse: func(value string, _ bool) (item, string, string) { return parseAddrs(column, value) },
		match: func(it *item, r *event.Record) bool { return it.addrs.contains(get(r)) },
		sql: func(b *builder, items []item) string {
			empty := false
			set := b.either(items, func(it *item) string {
				lo, hi := it.addrs.lo, it.addrs.hi
				switch {
				case !lo.IsValid():
					empty = true
					return "0"
				case lo.Is4():
					return "(length(bytes) = 4 AND bytes BETWEEN " + b.arg(schema.FromAddr(lo)) + " AND " + b.arg(schema.FromAddr(hi)) + ")"
				}
				return "(length(bytes) >= 16 AND substr(bytes, 1, 16) BETWEEN " + b.arg(schema.FromAddr(lo)) + " AND " + b.arg(schema.FromAddr(hi)) + ")"
			})
			return reference("c."+column, "SELECT id FROM address WHERE "+set, empty)
		}}
}

// parseAddrs reads an address, ADDRESS/BITS or ADDRESS-ADDRESS.
func parseAddrs(name, value string) (item, string, string) {
	hint := fmt.Sprintf("write %s=192.0.2.1, %s=10.0.0.0/8 or %s=2001:db8::/32", name, name, name)
	bad := func(problem string) (item, string, string) { return item{}, problem, hint }
	if value == "" {
		return item{}, "", ""
	}
	if strings.Contains(value, "%") {
		return bad("an address with a zone")
	}
	if strings.Contains(value, "/") {
		return parsePrefix(value, bad)
	}
	low, high, isRange := strings.Cut(value, "-")
	if !isRange {
		high = low
	}
	lo, err := netip.ParseAddr(low)
	if err != nil {
		return bad(fmt.Sprintf("%q is no address", shorten(low)))
	}
	hi, err := netip.ParseAddr(high)
	if err != nil {
		return bad(fmt.Sprintf("%q is no address", shorten(high)))
	}
	lo, hi = lo.Unmap(), hi.Unmap()
	if lo.BitLen() != hi.BitLen() || hi.Less(lo) {
		return bad(fmt.Sprintf("the range %s is empty", shorten(value)))
	}
	return item{addrs: addrRange{lo, hi}}, "", ""
}

func parsePrefix(value string, bad func(string) (item, string, string)) (item, string, string) {
	p, err := netip.ParsePrefix(value)
	if err != nil {
		return bad(fmt.Sprintf("%q is no network", shorten(value)))
	}
	addr, bits := p.Addr(), p.Bits()
	if addr.Is4In6() {
		if bits < 96 {
			return bad(fmt.Sprintf("%s mixes IPv4 and IPv6", value))
		}
		addr, bits = addr.Unmap(), bits-96
	}
	lo := netip.PrefixFrom(addr, bits).Masked().Addr()
	last := lo.AsSlice()
	for i := bits; i < 8*len(last); i++ {
		last[i/8] |= 0x80 >> (i % 8)
	}
	hi, _ := netip.AddrFromSlice(last)
	return item{addrs: addrRange{lo, hi}}, "", ""
}
