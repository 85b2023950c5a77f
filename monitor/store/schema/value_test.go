package schema

import (
	"math"
	"net/netip"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestListRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		bytes := rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) })
		want := rapid.SliceOf(bytes).Draw(t, "list")
		got, err := ToList(FromList(want))
		if err != nil || !slices.Equal(got, want) {
			t.Fatalf("%q came back as %q (%v)", want, got, err)
		}
	})
}

func FuzzToList(f *testing.F) {
	for _, s := range []string{"", `"a"`, `"a","b"`, `"a"x`, `"a",`, "`raw`", `'c'`, `"`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		list, err := ToList(s)
		if err != nil {
			return
		}
		if again, err := ToList(FromList(list)); err != nil || !slices.Equal(again, list) {
			t.Fatalf("%q is %q, and then %q (%v)", s, list, again, err)
		}
	})
}

func TestAddrRoundTrip(t *testing.T) {
	for in, want := range map[string]string{"192.0.2.1": "192.0.2.1", "::ffff:192.0.2.1": "192.0.2.1", "2001:db8::1": "2001:db8::1", "fe80::1%eth0": "fe80::1%eth0"} {
		got, err := ToAddr(FromAddr(netip.MustParseAddr(in)))
		if err != nil || got.String() != want {
			t.Errorf("%s came back as %v (%v)", in, got, err)
		}
	}
	for n := range 16 {
		if a, err := ToAddr(make([]byte, n)); err == nil && n != 4 {
			t.Errorf("%d bytes are address %v", n, a)
		}
	}
	if FromAddr(netip.Addr{}) != nil {
		t.Error("no address is not nil")
	}
}

func TestTimes(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 123456789, time.FixedZone("x", 3600))
	if got := ToTime(FromTime(now)); !got.Equal(now) || got.Location() != time.UTC {
		t.Errorf("%v came back as %v", now, got)
	}
	if got := ToTime(FromTime(time.Time{})); !got.IsZero() {
		t.Errorf("no time came back as %v", got)
	}
	if FromTime(time.Date(3000, 1, 1, 0, 0, 0, 0, time.UTC)) != math.MaxInt64 || FromTime(time.Date(1000, 1, 1, 0, 0, 0, 0, time.UTC)) != math.MinInt64 {
		t.Error("times that do not fit are not clamped")
	}
	if FromCount(math.MaxUint64) != math.MaxInt64 {
		t.Error("counts that do not fit are not clamped")
	}
}

// TestDims: every dimension has a name, and the numbers are the stored ones.
func TestDims(t *testing.T) {
	seen := map[string]bool{}
	for i, d := range Dims() {
		if int(d) != i+1 || seen[d.String()] || d.String() == "invalid" {
			t.Errorf("dimension %d is %d, %q", i+1, d, d)
		}
		seen[d.String()] = true
	}
	if DimAction != 12 || DimRule != 11 || DimAddress != 7 {
		t.Error("a stored number changed")
	}
	if f, p, n := SplitServiceKey(ServiceKey(10, 262, 65535)); f != 10 || p != 262 || n != 65535 {
		t.Errorf("service key came back as %d %d %d", f, p, n)
	}
}

func TestName(t *testing.T) {
	for _, c := range []struct {
		source  string
		trusted bool
		domain  string
	}{{"dns", true, "example.org"}, {"dns-other", false, "example.org"}, {"", false, "a b!"}, {"", true, ""}} {
		source, trusted, domain, err := ToName(FromName(c.source, c.trusted, c.domain))
		if err != nil || source != c.source || trusted != c.trusted || domain != c.domain {
			t.Errorf("%+v came back as %q %v %q (%v)", c, source, trusted, domain, err)
		}
	}
	if _, _, _, err := ToName("example.org"); err == nil {
		t.Error("a name without a source was read")
	}
}
