package dns

import "strings"

const (
	maxDomain = 253 // bytes of a name as text, without the last dot
	maxLabel  = 63
)

// normalise gives a host name its one spelling: lower case, A-labels, no
// trailing dot. It refuses what is no host name: other characters than letters,
// digits, hyphen and underscore, empty or long labels, and names that end in a
// number, which programs read as addresses. Names go into rules, terminals and
// pages, so refusing a rare legal name is better than passing a strange one.
func normalise(s string) (string, bool) {
	s = strings.TrimSuffix(s, ".")
	if s == "" || len(s) > maxDomain {
		return "", false
	}
	label, upper := 0, false
	for i := range len(s) {
		switch c := s[i]; {
		case c == '.':
			if label == 0 {
				return "", false
			}
			label = 0
			continue
		case c >= 'A' && c <= 'Z':
			upper = true
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '-', c == '_':
		default:
			return "", false
		}
		if label++; label > maxLabel {
			return "", false
		}
	}
	if label == 0 || endsInNumber(s) {
		return "", false
	}
	if upper {
		s = strings.ToLower(s)
	}
	return s, true
}

// endsInNumber reports whether the last label is decimal or 0x-hexadecimal:
// inet_aton(3) and the URL standard take such a name for an IPv4 address.
func endsInNumber(s string) bool {
	last := s[strings.LastIndexByte(s, '.')+1:]
	digits := "0123456789"
	if len(last) > 1 && last[0] == '0' && last[1]|0x20 == 'x' {
		last, digits = last[2:], "0123456789abcdefABCDEF"
	}
	return strings.Trim(last, digits) == ""
}
