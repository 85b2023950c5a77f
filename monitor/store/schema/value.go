package schema

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// TextHash is the value of text.hash: the first eight bytes of the SHA-256 of
// the value, big endian, as a signed number. It keeps the index small, and a
// hostile process cannot choose command lines that collide cheaply; who looks
// a value up compares the value too.
func TextHash(s string) int64 {
	sum := sha256.Sum256([]byte(s))
	return int64(binary.BigEndian.Uint64(sum[:8]))
}

// FromTime is how a wall-clock time is stored: nanoseconds since 1970, 0 for
// the zero time. Times outside of what fits are clamped.
func FromTime(t time.Time) int64 {
	switch {
	case t.IsZero():
		return 0
	case t.Year() < 1678:
		return math.MinInt64
	case t.Year() > 2261:
		return math.MaxInt64
	}
	return t.UnixNano()
}

// ToTime undoes FromTime; the result is in UTC.
func ToTime(ns int64) time.Time {
	if ns == 0 {
		return time.Time{}
	}
	return time.Unix(0, ns).UTC()
}

// FromCount is how a counter is stored: SQLite has signed numbers only, so it
// saturates at 2^63-1 (eight exbibytes).
func FromCount(n uint64) int64 {
	return int64(min(n, math.MaxInt64))
}

// FromAddr is how an address is stored: 4 bytes (also for IPv4-mapped IPv6),
// or 16 bytes and the zone, if there is one; nil when a is invalid.
func FromAddr(a netip.Addr) []byte {
	if !a.IsValid() {
		return nil
	}
	a = a.Unmap()
	return append(a.AsSlice(), a.Zone()...)
}

// ToAddr undoes FromAddr. It refuses lengths that FromAddr does not make.
func ToAddr(b []byte) (netip.Addr, error) {
	if len(b) <= 16 {
		a, ok := netip.AddrFromSlice(b)
		if !ok {
			return a, fmt.Errorf("address has %d bytes, want 4 or 16", len(b))
		}
		return a, nil
	}
	a, _ := netip.AddrFromSlice(b[:16])
	return a.WithZone(string(b[16:])), nil
}

// FromList is how a list of strings is stored: Go string literals with a comma
// between them, which people can read and which any bytes survive.
func FromList(items []string) string {
	var b strings.Builder
	for i, s := range items {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(strconv.Quote(s))
	}
	return b.String()
}

// ToList undoes FromList; the result is never nil.
func ToList(s string) ([]string, error) {
	out := []string{}
	for s != "" {
		quoted, err := strconv.QuotedPrefix(s)
		if err != nil {
			return nil, fmt.Errorf("read list of strings: %w", err)
		}
		item, err := strconv.Unquote(quoted)
		if err != nil {
			return nil, fmt.Errorf("read list of strings: %w", err)
		}
		out = append(out, item)
		s = s[len(quoted):]
		if s == "" {
			break
		}
		if s[0] != ',' {
			return nil, fmt.Errorf("read list of strings: %q where a comma belongs", s[0])
		}
		s = s[1:]
	}
	return out, nil
}

// FromName is how one name of a peer is kept in a list: the source, "!" when
// an allow rule may rest on it, a space, the name.
func FromName(source string, trusted bool, domain string) string {
	if trusted {
		source += "!"
	}
	return source + " " + domain
}

// ToName undoes FromName.
func ToName(s string) (source string, trusted bool, domain string, err error) {
	source, domain, ok := strings.Cut(s, " ")
	if !ok {
		return "", false, "", fmt.Errorf("name %q has no source", s)
	}
	source, trusted = strings.CutSuffix(source, "!")
	return source, trusted, domain, nil
}
