package text

import (
	"testing"
	"time"
)

func TestParseDuration(t *testing.T) {
	const day = 24 * time.Hour
	for in, want := range map[string]time.Duration{"30s": 30 * time.Second, "1h30m": 90 * time.Minute, "7d": 7 * day,
		"2w": 14 * day, "1w1d12h": 8*day + 12*time.Hour, "1.5d": 36 * time.Hour, "0s": 0, "250ms": 250 * time.Millisecond} {
		if got, err := ParseDuration(in); err != nil || got != want {
			t.Errorf("%q: %v, %v; want %v", in, got, err, want)
		}
	}
	for _, in := range []string{"", "d", "7", "-1h", "-2d", "1d-2h", "1e9d", "NaNd", "yesterday", "1d1w"} {
		if got, err := ParseDuration(in); err == nil {
			t.Errorf("%q was taken for %v", in, got)
		}
	}
}

func TestParseSize(t *testing.T) {
	for in, want := range map[string]int64{"0": 0, "4096": 4096, "10B": 10, "1kB": 1000, "1KB": 1000, "1KiB": 1024, "1.5GB": 1_500_000_000,
		"2G": 2_000_000_000, "2Gi": 2 << 30, "512 MiB": 512 << 20, "1TB": 1_000_000_000_000} {
		if got, err := ParseSize(in); err != nil || got != want {
			t.Errorf("%q: %d, %v; want %d", in, got, err, want)
		}
	}
	for _, in := range []string{"", "-1", "GB", "1XB", "1e9", "99999999999TB", "1 2"} {
		if got, err := ParseSize(in); err == nil {
			t.Errorf("%q was taken for %d", in, got)
		}
	}
}

func TestParseTime(t *testing.T) {
	zone := time.FixedZone("test", 2*3600)
	now := time.Date(2026, 7, 4, 12, 0, 0, 0, zone)
	for in, want := range map[string]time.Time{
		"90m":                  now.Add(-90 * time.Minute),
		"2026-07-01":           time.Date(2026, 7, 1, 0, 0, 0, 0, zone),
		"2026-07-01 08:30":     time.Date(2026, 7, 1, 8, 30, 0, 0, zone),
		"08:30":                time.Date(2026, 7, 4, 8, 30, 0, 0, zone),
		"2026-07-01T08:30:00Z": time.Date(2026, 7, 1, 8, 30, 0, 0, time.UTC),
	} {
		if got, err := ParseTime(in, now); err != nil || !got.Equal(want) {
			t.Errorf("%q: %v, %v; want %v", in, got, err, want)
		}
	}
	if got, err := ParseTime("yesterday", now); err == nil {
		t.Errorf("yesterday was taken for %v", got)
	}
}
