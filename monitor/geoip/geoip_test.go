package geoip

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

func mustOpen(t testing.TB, dir string) *DB {
	t.Helper()
	db, err := Open(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	return db
}

func put(t testing.TB, dir string, kind Kind, data []byte) {
	t.Helper()
	if _, err := Install(dir, kind, bytes.NewReader(data), false); err != nil {
		t.Fatal(err)
	}
}

// TestCountries: the table in the binary is the one that its README describes.
func TestCountries(t *testing.T) {
	db := mustOpen(t, "")
	for addr, want := range map[string]string{
		"8.8.8.8": "US", "193.0.6.139": "NL", "5.9.1.1": "DE", "133.1.1.1": "JP", "2a01:4f8::1": "DE", "2001:4860:4860::8888": "US", "::ffff:8.8.8.8": "US",
		"64:ff9b::808:808": "US", "2002:808:808::1": "US",
		"10.1.2.3": "", "192.168.1.1": "", "172.16.0.1": "", "127.0.0.1": "", "169.254.1.1": "", "224.0.0.251": "", "100.64.1.1": "", "0.0.0.0": "", "255.255.255.255": "",
		"192.0.2.1": "", "::1": "", "::": "", "fe80::1%eth0": "", "fc00::1": "", "ff02::fb": "", "2001:db8::1": "", "64:ff9b::a00:1": "", "2002:a00:1::1": "",
	} {
		if got := db.Country(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s is in %q, want %q", addr, got, want)
		}
	}
	if got := db.Country(netip.Addr{}); got != "" {
		t.Errorf("no address is in %q", got)
	}
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	if sum := fmt.Sprintf("%x", sha256.Sum256(countries)); !strings.Contains(string(readme), sum) {
		t.Errorf("README.md does not name the digest %s of country.mmdb", sum)
	}
	s := db.Sources()
	if len(s) != 1 || s[0].Path != "" || s[0].Credit != "" || !strings.Contains(string(readme), "made\non "+s[0].Built.Format(time.DateOnly)) {
		t.Errorf("sources: %+v", s)
	}
}

func TestScope(t *testing.T) {
	db := mustOpen(t, "")
	for addr, want := range map[string]string{"10.0.0.1": "private", "fd00::1": "private", "127.0.0.53": "loopback", "::1": "loopback", "fe80::1%2": "link local",
		"224.0.0.1": "multicast", "100.127.255.255": "carrier NAT", "198.51.100.7": "documentation", "255.255.255.255": "broadcast", "240.0.0.1": "reserved",
		"::": "unspecified", "8.8.8.8": "", "2606:4700::1": "", "64:ff9b::7f00:1": "loopback"} {
		if got := db.Scope(netip.MustParseAddr(addr)); got != want {
			t.Errorf("scope of %s is %q, want %q", addr, got, want)
		}
	}
}

// TestInstalled: files in both layouts come before the table in the binary,
// and take effect and vanish with Refresh.
func TestInstalled(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "geoip")
	db := mustOpen(t, dir)
	addr := netip.MustParseAddr("8.8.8.8")
	if got := db.Place(addr); got != (Place{Country: "US"}) {
		t.Fatalf("before: %+v", got)
	}
	put(t, dir, KindCountry, countryTable(t, madeAt))
	put(t, dir, KindCity, cityTable(t))
	put(t, dir, KindASN, asnTable(t))
	if got := db.Country(addr); got != "US" {
		t.Errorf("before Refresh: %q", got)
	}
	db.Refresh()
	for a, want := range map[string]Place{"8.8.8.8": {Country: "CH", City: "Zürich", ASN: 15169, Network: "Google LLC"}, "1.1.1.1": {City: "Sydney"},
		"9.9.9.9": {}, "10.0.0.1": {Scope: "private"}, "2a00::1": {Country: "FR"}} {
		if got := db.Place(netip.MustParseAddr(a)); got != want {
			t.Errorf("%s: %+v, want %+v", a, got, want)
		}
	}
	sources := db.Sources()
	if len(sources) != 3 || sources[0].Credit == "" || sources[0].CreditURL == "" || !sources[1].Built.Equal(madeAt) {
		t.Errorf("sources: %+v", sources)
	}
	if err := os.Remove(filepath.Join(dir, "country.mmdb")); err != nil {
		t.Fatal(err)
	}
	db.Refresh()
	if got := db.Country(addr); got != "CH" {
		t.Errorf("a city's table alone says %q", got)
	}
	if got := db.Country(netip.MustParseAddr("193.0.6.139")); got != "NL" {
		t.Errorf("what the city's table lacks is in %q", got)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	db.Refresh()
	if got := db.Place(addr); got != (Place{Country: "US"}) {
		t.Errorf("after removal: %+v", got)
	}
}

// TestBroken: a file that is no table leaves the one in the binary in use.
func TestBroken(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "country.mmdb"), []byte("no table"), 0o600); err != nil {
		t.Fatal(err)
	}
	db := mustOpen(t, dir)
	if got := db.Country(netip.MustParseAddr("8.8.8.8")); got != "US" {
		t.Errorf("country %q", got)
	}
}

// TestRefreshWhileAsked looks addresses up while files come and go.
func TestRefreshWhileAsked(t *testing.T) {
	dir := t.TempDir()
	db := mustOpen(t, dir)
	done := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				if got := db.Place(netip.MustParseAddr("8.8.8.8")).Country; got != "US" && got != "CH" {
					t.Errorf("country %q", got)
					return
				}
			}
		})
	}
	for i := range 20 {
		put(t, dir, KindCountry, countryTable(t, madeAt.AddDate(0, 0, i)))
		put(t, dir, KindCity, cityTable(t))
		db.Refresh()
		if i%3 == 0 {
			if err := os.Remove(filepath.Join(dir, "city.mmdb")); err != nil {
				t.Error(err)
			}
			db.Refresh()
		}
	}
	close(done)
	wg.Wait()
}

func BenchmarkCountry(b *testing.B) {
	db := mustOpen(b, "")
	addrs := []netip.Addr{netip.MustParseAddr("8.8.8.8"), netip.MustParseAddr("193.0.6.139"), netip.MustParseAddr("2a01:4f8::1"), netip.MustParseAddr("10.1.2.3")}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		db.Country(addrs[i&3])
		i++
	}
}

// FuzzTable opens what may be anything and asks it.
func FuzzTable(f *testing.F) {
	f.Add(countryTable(f, madeAt), uint8(1))
	f.Add(cityTable(f), uint8(2))
	f.Add(asnTable(f), uint8(3))
	f.Add([]byte("\xab\xcd\xefMaxMind.com\xe0"), uint8(1))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, data []byte, kind uint8) {
		src, err := Install(dir, Kind(1+kind%3), bytes.NewReader(data), true)
		if err != nil {
			return
		}
		defer os.Remove(src.Path)
		db := mustOpen(t, dir)
		for _, a := range []string{"8.8.8.8", "::1", "2a00::1", "1.1.1.1"} {
			p := db.Place(netip.MustParseAddr(a))
			if len(p.Country) != 0 && len(p.Country) != 2 {
				t.Errorf("country %q", p.Country)
			}
		}
	})
}
