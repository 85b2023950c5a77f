package rule

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"pgregory.net/rapid"
)

// TestListFile reads every form at once.
func TestListFile(t *testing.T) {
	const src = "# comment\r\na.example # another\n*.b.example\n.C.example.\n\n; also a comment\n10.0.0.0/8\n10.1.0.0/16\n2001:db8::1\n" +
		"127.0.0.1 localhost\n0.0.0.0 d.example\tE.example # two\n:: f.example\n255.255.255.255 broadcasthost\na.example\n*.a.example\nbücher.example"
	var c collector
	l := readList(&c, "l", "l.txt", []byte(src))
	if err := c.err(); err != nil {
		t.Fatal(err)
	}
	var got []string
	for h := range l.Names() {
		got = append(got, h.String())
	}
	for p := range l.Nets() {
		got = append(got, p.String())
	}
	want := []string{".a.example", "*.b.example", ".c.example", "d.example", "e.example", "f.example", "xn--bcher-kva.example", "10.0.0.0/8", "2001:db8::1/128"}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if names, nets := l.Len(); names != 7 || nets != 2 {
		t.Errorf("Len is %d, %d, want 7, 2", names, nets)
	}
	for name, want := range map[string]bool{
		"a.example": true, "x.a.example": true, "b.example": false, "x.y.b.example": true, "c.example": true, "x.c.example": true,
		"d.example": true, "x.d.example": false, "ample": false, "example": false, "": false, "localhost": false, "broadcasthost": false,
	} {
		if got := l.MatchName(name); got != want {
			t.Errorf("MatchName(%q) = %v, want %v", name, got, want)
		}
	}
	for addr, want := range map[string]bool{
		"10.0.0.0": true, "10.255.255.255": true, "11.0.0.0": false, "9.255.255.255": false, "::ffff:10.2.3.4": true,
		"2001:db8::1": true, "2001:db8::2": false, "2001:db8::1%eth0": true, "::": false,
	} {
		if got := l.MatchAddr(netip.MustParseAddr(addr)); got != want {
			t.Errorf("MatchAddr(%s) = %v, want %v", addr, got, want)
		}
	}
	if l.MatchAddr(netip.Addr{}) {
		t.Error("an unknown address is on the list")
	}
}

// TestListMatchesReference compares the tables with a walk over the items.
func TestListMatchesReference(t *testing.T) {
	names := []string{"a", "b.a", "c.b.a", "d.c.b.a", "b", "ab.a", "a.b"}
	rapid.Check(t, func(t *rapid.T) {
		var hosts []Host
		for range rapid.IntRange(0, 12).Draw(t, "items") {
			if rapid.Bool().Draw(t, "net") {
				a := netip.AddrFrom4([4]byte{10, rapid.Byte().Draw(t, "b"), 0, rapid.Byte().Draw(t, "d")})
				p, _ := a.Prefix(rapid.IntRange(0, 32).Draw(t, "bits"))
				hosts = append(hosts, Host{Kind: HostNet, Net: p})
				continue
			}
			kind := rapid.SampledFrom([]HostKind{HostName, HostBelow, HostSuffix}).Draw(t, "kind")
			hosts = append(hosts, Host{Kind: kind, Name: rapid.SampledFrom(names).Draw(t, "name")})
		}
		l := NewList("l", hosts)
		for _, n := range append(names, "x.a", "x.d.c.b.a", "xa", "") {
			want := slices.ContainsFunc(hosts, func(h Host) bool {
				below := strings.HasSuffix(n, "."+h.Name)
				return h.Kind == HostName && n == h.Name || h.Kind == HostBelow && below || h.Kind == HostSuffix && (n == h.Name || below)
			})
			if got := l.MatchName(n); got != want {
				t.Fatalf("MatchName(%q) = %v, want %v of %v", n, got, want, hosts)
			}
		}
		a := netip.AddrFrom4([4]byte{10, rapid.Byte().Draw(t, "b"), 0, rapid.Byte().Draw(t, "d")})
		want := slices.ContainsFunc(hosts, func(h Host) bool { return h.Kind == HostNet && h.Net.Contains(a) })
		if got := l.MatchAddr(a); got != want {
			t.Fatalf("MatchAddr(%s) = %v, want %v of %v", a, got, want, hosts)
		}
	})
}

// TestListDoesNotAllocate holds that asking a list costs no memory.
func TestListDoesNotAllocate(t *testing.T) {
	l := NewList("l", []Host{{Kind: HostSuffix, Name: "a.example"}, {Kind: HostNet, Net: netip.MustParsePrefix("10.0.0.0/8")}})
	a := netip.MustParseAddr("10.1.1.1")
	if n := testing.AllocsPerRun(100, func() { l.MatchName("x.y.a.example"); l.MatchAddr(a) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// bigList is a hosts file of n names, unsorted, as such lists are.
func bigList(n int) []byte {
	var b bytes.Buffer
	for i := range n {
		fmt.Fprintf(&b, "0.0.0.0 ad%07d.tracker%d.example\n", (i*7919)%n, i%1000)
	}
	return b.Bytes()
}

func BenchmarkListLoad(b *testing.B) {
	src := bigList(1_000_000)
	fsys := fstest.MapFS{"a.yaml": {Data: []byte("version: 1\nlists: {l: {file: l.txt}}\n")}, "l.txt": {Data: src}}
	for b.Loop() {
		l, err := Load(fsys, Options{})
		if err != nil {
			b.Fatal(err)
		}
		if names, _ := l.Set.Lists["l"].Len(); names != 1_000_000 {
			b.Fatalf("%d names", names)
		}
		b.ReportMetric(float64(l.Set.Lists["l"].names.size())/1e6, "MB-kept")
	}
}

func BenchmarkListMatchName(b *testing.B) {
	var c collector
	l := readList(&c, "l", "l.txt", bigList(1_000_000))
	for _, bench := range []struct{ name, domain string }{{"hit", "ad0000042.tracker42.example"}, {"miss", "www.api.github.com"}} {
		b.Run(bench.name, func(b *testing.B) {
			for b.Loop() {
				l.MatchName(bench.domain)
			}
		})
	}
}

func BenchmarkListMatchAddr(b *testing.B) {
	var hosts []Host
	for i := range 1_000_000 {
		hosts = append(hosts, Host{Kind: HostNet, Net: netip.PrefixFrom(netip.AddrFrom4([4]byte{byte(i >> 15), byte(i >> 7), byte(i << 1)}), 24)})
	}
	l := NewList("l", hosts)
	a := netip.MustParseAddr("20.30.40.50")
	for b.Loop() {
		l.MatchAddr(a)
	}
}
