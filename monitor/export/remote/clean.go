package remote

import (
	"strings"
	"time"
	"unicode/utf8"
)

// Bounds of text in bytes; a VARCHAR of as many characters takes them.
const (
	wordBytes = 64
	nameBytes = 255
	textBytes = 8192
)

// cut ends text that is longer than its column.
const cut = "…"

// text makes a value that every server takes of what a process said: valid
// UTF-8 without NUL, both replaced by U+FFFD, and no longer than its column.
func text(s string) string { return clean(s, textBytes) }

func name(s string) string { return clean(s, nameBytes) }

func word(s string) string { return clean(s, wordBytes) }

func clean(s string, most int) string {
	if len(s) > 2*most {
		s = s[:2*most] // hostile arguments may be large
	}
	s = strings.ToValidUTF8(s, "\uFFFD")
	s = strings.ReplaceAll(s, "\x00", "\uFFFD")
	if len(s) <= most {
		return s
	}
	end := most - len(cut)
	for end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + cut
}

// plain leaves of s what every character set has. It is for a server that
// refused a parcel because of its text.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x20 || r > 0x7e {
			return '?'
		}
		return r
	}, s)
}

// Moments that every server keeps.
var (
	earliest = time.Unix(0, 0).UTC()
	latest   = time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)
)

// when is a time in microseconds of UTC; the zero time is NULL.
func when(t time.Time) time.Time {
	switch {
	case t.IsZero():
		return time.Time{}
	case t.Before(earliest):
		return earliest
	case t.After(latest):
		return latest
	}
	return t.Round(0).UTC().Truncate(time.Microsecond)
}
