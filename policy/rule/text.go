package rule

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"snitch/monitor/event"
)

const idRule = "want 1 to 64 of a-z, 0-9, dot, hyphen and underscore, beginning with a letter or digit"

func validID(s string) bool {
	if s == "" || len(s) > 64 || strings.IndexByte("._-", s[0]) >= 0 {
		return false
	}
	return strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789._-") == ""
}

func parseID(s string) (string, error) {
	if strings.HasPrefix(s, "custom.") {
		return "", fmt.Errorf(`%q: ids that begin with "custom." are those of custom Rego`, clip(s))
	}
	if strings.HasPrefix(s, "snitch.") {
		return "", fmt.Errorf(`%q: ids that begin with "snitch." are those of snitch itself`, clip(s))
	}
	if validID(s) {
		return s, nil
	}
	if fixed := strings.ToLower(strings.ReplaceAll(s, " ", "-")); validID(fixed) {
		return "", fmt.Errorf("%q is not an id: write %q", clip(s), fixed)
	}
	return "", fmt.Errorf("%q is not an id: %s", clip(s), idRule)
}

const maxReason = 500

// parseReason takes one line that is safe to print on a terminal.
func parseReason(s string) (string, error) {
	s = strings.TrimSpace(s)
	if i := strings.IndexFunc(s, func(c rune) bool { return c < ' ' || c >= 0x7f && c < 0xa0 }); i >= 0 {
		return "", errors.New("want one line of text without control characters")
	}
	if s == "" || len(s) > maxReason {
		return "", fmt.Errorf("want 1 to %d bytes, not %d", maxReason, len(s))
	}
	return s, nil
}

// parseTime reads RFC 3339, which always says the zone.
func parseTime(s string) (time.Time, error) {
	t, err := time.Parse(time.RFC3339, s)
	if err == nil {
		return t.UTC(), nil
	}
	for _, layout := range []string{time.DateOnly, "2006-01-02T15:04:05", time.DateTime, "2006-01-02 15:04", "2006-01-02T15:04"} {
		if t, err := time.Parse(layout, s); err == nil {
			return time.Time{}, fmt.Errorf("%q has no time zone: write %s (UTC), or with your offset instead of Z", clip(s), t.Format(time.RFC3339))
		}
	}
	return time.Time{}, fmt.Errorf("%q is not a time: want RFC 3339, as 2027-01-31T18:00:00Z", clip(s))
}

func formatTime(t time.Time) string { return t.Format(time.RFC3339Nano) }

// parsePath reads a pattern of an executable's or a script's path.
func parsePath(s string) (Pattern, error) {
	p := Pattern{Text: s, Kind: PathPattern}
	if err := checkStars(s); err != nil {
		return p, err
	}
	file := s
	if view := viewPrefix(s); view != "" {
		file = s[len(view):]
	}
	switch {
	case strings.HasPrefix(file, "~"), strings.HasPrefix(file, "$"):
		return p, fmt.Errorf("%q: nothing is expanded here; write the whole path, as /home/*/%s", clip(s), clip(path.Base(file)))
	case strings.HasPrefix(file, "*/"):
		return p, fmt.Errorf("%q matches nothing: one star does not cross a slash; write %q", clip(s), "*"+clip(s))
	case !strings.HasPrefix(file, "/") && !strings.HasPrefix(file, "**"):
		return p, fmt.Errorf("%q is not a whole path: begin with / (or with ** for any directory: %q)", clip(s), "**/"+clip(strings.TrimLeft(file, "./")))
	case file != "/" && strings.HasSuffix(file, "/"):
		return p, fmt.Errorf("%q is a directory: write %q for the files in it, %q for all below it", clip(s), clip(s)+"*", clip(s)+"**")
	}
	if clean := path.Clean(file); strings.HasPrefix(file, "/") && clean != file {
		return p, fmt.Errorf("%q never occurs, paths are clean: write %q", clip(s), clip(s[:len(s)-len(file)]+clean))
	}
	return p, nil
}

// viewPrefix is what stands before the path of another view ("mnt:4026531841:",
// "container:ID:", "unverified:"), "" for the host's.
func viewPrefix(s string) string {
	if strings.HasPrefix(s, event.ViewUnverified+":") {
		return s[:len(event.ViewUnverified)+1]
	}
	for _, view := range []string{"container:", "mnt:"} {
		if rest, ok := strings.CutPrefix(s, view); ok {
			// "container:**" has no second colon: its stars stand for the rest.
			return s[:len(view)+strings.IndexByte(rest, ':')+1]
		}
	}
	return ""
}

func checkStars(s string) error {
	if strings.Contains(s, "***") {
		return fmt.Errorf("%q: three stars mean no more than two", clip(s))
	}
	if strings.Trim(s, "*") == "" {
		return nil
	}
	if strings.ContainsFunc(s, func(c rune) bool { return c < ' ' || c == 0x7f }) {
		return fmt.Errorf("%q has a control character", clip(s))
	}
	return nil
}

func parseWord(s string) (Pattern, error) {
	if strings.Contains(s, "**") {
		return Pattern{}, fmt.Errorf("%q: one star matches everything here", clip(s))
	}
	return Pattern{Text: s, Kind: WordPattern}, checkStars(s)
}

// parseMarked is parseWord for facts that may be None or marked.
func parseMarked(s string) (Pattern, error) {
	p, err := parseWord(s)
	p.Kind = MarkedPattern
	return p, err
}

func parseScript(s string) (Pattern, error) {
	if s == None || strings.HasPrefix(s, "-m ") {
		return Pattern{Text: s, Kind: PathPattern}, checkStars(s)
	}
	return parsePath(s)
}

func parseCgroup(s string) (Pattern, error) {
	if !strings.HasPrefix(s, "/") && !strings.HasPrefix(s, "*") {
		return Pattern{}, fmt.Errorf("%q is not a cgroup: want its path from the root of the hierarchy, as /system.slice/ssh.service, or use unit", clip(s))
	}
	return Pattern{Text: s, Kind: PathPattern}, checkStars(s)
}

func formatPattern(p Pattern) string { return p.Text }

func parseDigest(s string) (event.Digest, error) {
	if rest, ok := strings.CutPrefix(s, "sha256:"); ok {
		return event.Digest{}, fmt.Errorf("%q: write the digits alone, %s", clip(s), clip(rest))
	}
	d, err := event.ParseDigest(s)
	if err != nil || len(s) != 64 {
		return d, fmt.Errorf("%q is not a SHA-256: want 64 hexadecimal digits, not %d characters", clip(s), len(s))
	}
	if d.IsZero() {
		return d, errors.New("64 zeros are no file's SHA-256")
	}
	return d, nil
}

func parseUser(s string) (string, error) {
	if strings.Trim(s, "0123456789") == "" {
		return "", fmt.Errorf("%q is a number: write uid: %s", clip(s), clip(s))
	}
	if strings.ContainsAny(s, "* \t:/") {
		return "", fmt.Errorf("%q is not a user's name (there are no patterns here)", clip(s))
	}
	return s, nil
}

// parseRange reads "n" or "n-m", decimal, for numbers of so many bits.
func parseRange(s, what string, bits int) (first, last uint64, err error) {
	low, high, isRange := strings.Cut(s, "-")
	if isRange && (low == "" || high == "") {
		return 0, 0, fmt.Errorf("%q is not a range: want both its ends, as 8000-8099", clip(s))
	}
	first, err = parseNumber(strings.TrimSpace(low), what, bits)
	if err != nil || !isRange {
		return first, first, err
	}
	last, err = parseNumber(strings.TrimSpace(high), what, bits)
	if err == nil && last < first {
		err = fmt.Errorf("%q is an empty range: write %d-%d", clip(s), last, first)
	}
	return first, last, err
}

func parseNumber(s, what string, bits int) (uint64, error) {
	if len(s) > 1 && s[0] == '0' && strings.Trim(s, "01234567") == "" {
		octal, _ := strconv.ParseUint(s, 8, bits)
		return 0, fmt.Errorf("%q has a leading zero: write %s, or %d if you mean the octal number", clip(s), strings.TrimLeft(s[:len(s)-1], "0")+s[len(s)-1:], octal)
	}
	n, err := strconv.ParseUint(s, 10, bits)
	switch {
	case errors.Is(err, strconv.ErrRange):
		return 0, fmt.Errorf("%q is too large for %s: at most %d", clip(s), what, uint64(1)<<bits-1)
	case err != nil:
		return 0, fmt.Errorf("%q is not %s: want a decimal number from 0 to %d", clip(s), what, uint64(1)<<bits-1)
	}
	return n, nil
}

// services are the names that people write for a port.
var services = map[string]int{"http": 80, "https": 443, "ssh": 22, "dns": 53, "domain": 53, "ntp": 123, "smtp": 25, "ftp": 21}

func parsePort(s string) (PortRange, error) {
	if n := services[strings.ToLower(s)]; n != 0 {
		return PortRange{}, fmt.Errorf("%q is not a port: write its number, %d", clip(s), n)
	}
	first, last, err := parseRange(s, "a port", 16)
	return PortRange{uint16(first), uint16(last)}, err
}

func parseUID(s string) (UIDRange, error) {
	if name, err := parseUser(s); err == nil && strings.ContainsAny(name[:1], "abcdefghijklmnopqrstuvwxyz_") {
		return UIDRange{}, fmt.Errorf("%q is not a user id: write user: %s", clip(s), clip(s))
	}
	first, last, err := parseRange(s, "a user id", 32)
	return UIDRange{uint32(first), uint32(last)}, err
}

// String is the range as it is written: "443" or "8000-8099".
func (p PortRange) String() string { return formatRange(uint64(p.First), uint64(p.Last)) }

// String is the range as it is written: "0" or "1000-1999".
func (u UIDRange) String() string { return formatRange(uint64(u.First), uint64(u.Last)) }

func formatRange(first, last uint64) string {
	if first == last {
		return strconv.FormatUint(first, 10)
	}
	return strconv.FormatUint(first, 10) + "-" + strconv.FormatUint(last, 10)
}

// enum reads a word of a fixed list.
func enum[T fmt.Stringer](what string, values ...T) (names []string, parse func(string) (T, error)) {
	for _, v := range values {
		names = append(names, v.String())
	}
	return names, func(s string) (v T, err error) {
		if i := slices.Index(names, strings.ToLower(s)); i >= 0 {
			return values[i], nil
		}
		hint := didYouMean(s, names)
		if hint == "" {
			hint = "want " + oneOf(names)
		}
		return v, fmt.Errorf("%q is not %s: %s", clip(s), what, hint)
	}
}
