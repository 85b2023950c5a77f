package text

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// ParseDuration reads what time.ParseDuration reads, and days and weeks: 90d,
// 2w, 1d12h. Negative durations are refused.
func ParseDuration(s string) (time.Duration, error) {
	rest, days := s, 0.0
	for _, unit := range []struct {
		name string
		days float64
	}{{"w", 7}, {"d", 1}} {
		number, after, found := strings.Cut(rest, unit.name)
		if !found {
			continue
		}
		n, err := strconv.ParseFloat(number, 64)
		if err != nil || !(n >= 0 && n <= 100*366) { // NaN too
			return 0, fmt.Errorf("%q is no duration (30s, 10m, 1h30m, 7d, 2w)", s)
		}
		rest, days = after, days+n*unit.days
	}
	d := time.Duration(days * 24 * float64(time.Hour))
	if rest != "" || s == "" {
		more, err := time.ParseDuration(rest)
		if err != nil || more < 0 {
			return 0, fmt.Errorf("%q is no duration (30s, 10m, 1h30m, 7d, 2w)", s)
		}
		d += more
	}
	return d, nil
}

var sizeForm = regexp.MustCompile(`^([0-9]+(?:\.[0-9]+)?) ?([kKMGT]?)(i?)B?$`)

// ParseSize reads a number of bytes: 4096, 512KiB, 1.5GB, 2G. Without an i the
// units are decimal, as Bytes shows them.
func ParseSize(s string) (int64, error) {
	m := sizeForm.FindStringSubmatch(s)
	if m == nil {
		return 0, fmt.Errorf("%q is no size (4096, 512KiB, 100MB, 2GB)", s)
	}
	n, err := strconv.ParseFloat(m[1], 64)
	if err != nil {
		return 0, fmt.Errorf("%q is no size: %w", s, err)
	}
	base := 1000.0
	if m[3] == "i" {
		base = 1024
	}
	power := 0
	if m[2] != "" {
		power = 1 + strings.Index("KMGT", strings.ToUpper(m[2]))
	}
	if n *= math.Pow(base, float64(power)); n >= 1<<62 {
		return 0, fmt.Errorf("%q is too large", s)
	}
	return int64(n), nil
}

// ParseTime reads a moment: a duration before now, "2006-01-02", "15:04"
// (today), "2006-01-02 15:04[:05]" in now's zone, or RFC 3339.
func ParseTime(s string, now time.Time) (time.Time, error) {
	if d, err := ParseDuration(s); err == nil {
		return now.Add(-d), nil
	}
	if t, err := time.Parse(time.RFC3339Nano, s); err == nil {
		return t, nil
	}
	for _, form := range []string{"2006-01-02", "2006-01-02 15:04", "2006-01-02 15:04:05", "2006-01-02T15:04", "2006-01-02T15:04:05"} {
		if t, err := time.ParseInLocation(form, s, now.Location()); err == nil {
			return t, nil
		}
	}
	for _, form := range []string{"15:04", "15:04:05"} {
		if t, err := time.ParseInLocation(form, s, now.Location()); err == nil {
			return time.Date(now.Year(), now.Month(), now.Day(), t.Hour(), t.Minute(), t.Second(), 0, now.Location()), nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is neither a duration (10m, 7d) nor a time (2006-01-02, \"2006-01-02 15:04\", 15:04, RFC 3339)", s)
}
