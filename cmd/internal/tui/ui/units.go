package ui

import (
	"fmt"
	"strconv"

	"snitch/cmd/internal/text"
)

// Units is how numbers of bytes are written.
type Units uint8

// Units, in the order of the key.
const (
	Decimal Units = iota // 1.2 MB
	Binary               // 1.1 MiB
	Exact                // 1234567
	Kilo                 // in kB
	Mega
	Giga
	units
)

// Next and Prev go round.
func (u Units) Next() Units { return (u + 1) % units }

// Prev is the other way round.
func (u Units) Prev() Units { return (u + units - 1) % units }

// String names the units.
func (u Units) String() string {
	return [...]string{"auto", "auto (1024)", "bytes", "kB", "MB", "GB"}[u%units]
}

// Bytes writes n.
func (u Units) Bytes(n uint64) string {
	switch u {
	case Binary:
		return binary(n)
	case Exact:
		return Count(n)
	case Kilo:
		return fixed(n, 1e3)
	case Mega:
		return fixed(n, 1e6)
	case Giga:
		return fixed(n, 1e9)
	}
	return text.Bytes(n)
}

// Rate writes n bytes a second; nothing for none, so that what moves is seen.
func (u Units) Rate(n uint64) string {
	if n == 0 {
		return ""
	}
	return u.Bytes(n)
}

// Width is how many cells numbers take at most that people meet.
func (u Units) Width() int {
	switch u {
	case Decimal:
		return 7
	case Exact:
		return 15
	case Kilo:
		return 12
	}
	return 8
}

func binary(n uint64) string {
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	v, names := float64(n), []string{"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"}
	for i, unit := range names {
		v /= 1024
		if v < 9.95 {
			return fmt.Sprintf("%.1f %s", v, unit)
		}
		if v < 1023.5 || i == len(names)-1 {
			return fmt.Sprintf("%.0f %s", v, unit)
		}
	}
	return ""
}

func fixed(n uint64, unit float64) string {
	v := float64(n) / unit
	if n > 0 && v < 0.1 {
		return "<0.1"
	}
	return Grouped(strconv.FormatFloat(v, 'f', 1, 64))
}

// Count writes n with a thin mark between thousands: 1 234 567 as 1,234,567.
func Count(n uint64) string { return Grouped(strconv.FormatUint(n, 10)) }

// Grouped puts commas between the thousands of a number's text.
func Grouped(s string) string {
	end := len(s)
	for i := range len(s) {
		if s[i] == '.' {
			end = i
			break
		}
	}
	out := s[end:]
	for end > 3 {
		out = "," + s[end-3:end] + out
		end -= 3
	}
	return s[:end] + out
}
