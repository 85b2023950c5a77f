package geoip

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"
	"time"
)

// table makes a file in the MaxMind DB format: an IPv6 tree of 24 bit records.
type table struct {
	kind  string
	built time.Time
	nodes [][2]uint32 // 0: nothing; else 1 + a node, or marked data
	data  []byte
}

// isData marks a record that is a place in the data.
const isData = 1 << 23

func newTable(kind string, built time.Time) *table {
	return &table{kind: kind, built: built, nodes: make([][2]uint32, 1)}
}

// add puts a record under a prefix.
func (b *table) add(prefix string, value any) *table {
	p := netip.MustParsePrefix(prefix)
	bits := p.Bits()
	addr := p.Addr().As16()
	if p.Addr().Is4() { // IPv4 lies in ::/96
		clear(addr[:12])
		bits += 96
	}
	at := uint32(0)
	for i := range bits {
		bit := addr[i/8] >> (7 - i%8) & 1
		if i == bits-1 {
			b.nodes[at][bit] = isData | uint32(len(b.data))
			break
		}
		if b.nodes[at][bit] == 0 {
			b.nodes = append(b.nodes, [2]uint32{})
			b.nodes[at][bit] = uint32(len(b.nodes))
		}
		at = b.nodes[at][bit] - 1
	}
	b.data = encode(b.data, value)
	return b
}

// bytes is the file.
func (b *table) bytes() []byte {
	var out []byte
	n := uint32(len(b.nodes))
	for _, node := range b.nodes {
		for _, r := range node {
			switch {
			case r == 0:
				r = n
			case r&isData != 0:
				r = n + 16 + r&^isData
			default:
				r--
			}
			out = append(out, byte(r>>16), byte(r>>8), byte(r))
		}
	}
	out = append(append(out, make([]byte, 16)...), b.data...)
	out = append(out, "\xab\xcd\xefMaxMind.com"...)
	return encode(out, map[string]any{"binary_format_major_version": uint16(2), "binary_format_minor_version": uint16(0), "build_epoch": uint64(b.built.Unix()),
		"database_type": b.kind, "description": map[string]any{"en": "a test"}, "ip_version": uint16(6), "languages": []any{"en"},
		"node_count": n, "record_size": uint16(24)})
}

// encode appends a value of the data section.
func encode(out []byte, value any) []byte {
	control := func(kind, size int) {
		switch {
		case size >= 29+256:
			panic("the tests have no such long values")
		case kind > 7:
			out = append(out, byte(size), byte(kind-7))
		case size >= 29:
			out = append(out, byte(kind<<5|29), byte(size-29))
		default:
			out = append(out, byte(kind<<5|size))
		}
	}
	switch v := value.(type) {
	case string:
		control(2, len(v))
		return append(out, v...)
	case uint16:
		control(5, 2)
		return binary.BigEndian.AppendUint16(out, v)
	case uint32:
		control(6, 4)
		return binary.BigEndian.AppendUint32(out, v)
	case uint64:
		control(9, 8)
		return binary.BigEndian.AppendUint64(out, v)
	case []any:
		control(11, len(v))
		for _, e := range v {
			out = encode(out, e)
		}
		return out
	case map[string]any:
		control(7, len(v))
		var keys []string
		for k := range v {
			keys = append(keys, k)
		}
		slices.Sort(keys)
		for _, k := range keys {
			out = encode(encode(out, k), v[k])
		}
		return out
	}
	panic("the tests have no such values")
}

var madeAt = time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)

func nestedCountry(code string) map[string]any {
	return map[string]any{"country": map[string]any{"iso_code": code}}
}

func nestedCity(code, name string) map[string]any {
	return map[string]any{"country": map[string]any{"iso_code": code}, "city": map[string]any{"names": map[string]any{"en": name}}}
}

// countryTable is in the layout of MaxMind and DB-IP.
func countryTable(t testing.TB, built time.Time) []byte {
	t.Helper()
	return newTable("DBIP-Country-Lite", built).add("8.8.8.0/24", nestedCountry("CH")).add("2a00::/16", nestedCountry("FR")).
		add("9.9.9.0/24", nestedCountry("ZZ")).add("10.0.0.0/8", nestedCountry("DE")).bytes()
}

func cityTable(t testing.TB) []byte {
	t.Helper()
	return newTable("DBIP-City-Lite", madeAt).add("8.8.8.0/24", nestedCity("CH", "Zürich")).
		add("1.1.1.0/24", map[string]any{"country_code": "AU", "city": "Sydney"}).bytes()
}

func asnTable(t testing.TB) []byte {
	t.Helper()
	return newTable("DBIP-ASN-Lite", madeAt).
		add("8.8.8.0/24", map[string]any{"autonomous_system_number": uint32(15169), "autonomous_system_organization": "Google LLC"}).bytes()
}
