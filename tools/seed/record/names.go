package record

import (
	"hash/fnv"
	"math/rand/v2"
	"net/netip"
)

// addresses of the machine itself.
var (
	self4  = netip.MustParseAddr("192.168.1.23")
	self6  = netip.MustParseAddr("2a02:8071:b86:4c00::23")
	loop4  = netip.MustParseAddr("127.0.0.1")
	pod    = netip.MustParseAddr("172.18.0.4")
	stub   = netip.MustParseAddrPort("127.0.0.53:53")
	anyone = netip.IPv4Unspecified()
)

// internet says which names have which addresses.
type internet struct {
	tail []tailName // that nobody knows by heart
	pick *rand.Zipf
	nets map[string][2]netip.Prefix
	rng  *rand.Rand
}

type tailName struct{ name, place string }

func newInternet(rng *rand.Rand) *internet {
	n := &internet{rng: rng, nets: map[string][2]netip.Prefix{}}
	for name, p := range places {
		nets := [2]netip.Prefix{netip.MustParsePrefix(p.v4)}
		if p.v6 != "" {
			nets[1] = netip.MustParsePrefix(p.v6)
		}
		n.nets[name] = nets
	}
	first := []string{"blue", "old", "north", "quick", "happy", "daily", "open", "true", "little", "bright", "metro", "alpha", "cloud", "green", "silver", "micro", "next", "prime", "solid", "urban"}
	second := []string{"harbor", "kitchen", "market", "signal", "garden", "journal", "pixel", "travel", "forum", "radio", "stats", "fonts", "media", "press", "shop", "maps", "weather", "games", "books", "notes", "sensor", "bank", "cinema", "recipes"}
	hosts := []string{"www.", "", "cdn.", "api.", "img.", "static."}
	tlds := []string{".com", ".com", ".com", ".de", ".org", ".net", ".io", ".fr", ".co.uk", ".nl", ".jp", ".br", ".in", ".ch", ".pl"}
	for i := range 4 * len(first) * len(second) {
		name := hosts[rng.IntN(len(hosts))] + first[i%len(first)] + second[i/len(first)%len(second)] + tlds[rng.IntN(len(tlds))]
		n.tail = append(n.tail, tailName{name, elsewhere[rng.IntN(len(elsewhere))]})
	}
	rng.Shuffle(len(n.tail), func(i, j int) { n.tail[i], n.tail[j] = n.tail[j], n.tail[i] })
	n.pick = rand.NewZipf(rng, 1.12, 6, uint64(len(n.tail)-1))
	return n
}

// unknown draws a name of the long tail.
func (n *internet) unknown() dest {
	t := n.tail[n.pick.Uint64()]
	return dest{t.name, t.place, 443, 0}
}

// address is one of the few that a name has, of IPv6 where there is some and v6
// is wished.
func (n *internet) address(d *dest, v6 bool) netip.Addr {
	nets := n.nets[d.place]
	net, few := nets[0], 1
	if d.place != "self" && d.place != "stub" {
		few = 3
	}
	if v6 && nets[1].IsValid() {
		net = nets[1]
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(d.name + d.place))
	if d.name == "" {
		few = 12
	}
	return within(net, h.Sum64()+uint64(n.rng.IntN(few))*0x9e3779b97f4a7c15)
}

// within is the address of a network that a number stands for.
func within(net netip.Prefix, number uint64) netip.Addr {
	b := net.Addr().AsSlice()
	if net.Bits() == 8*len(b) {
		return net.Addr()
	}
	for i := range b {
		free := byte(0xff)
		switch start := i * 8; {
		case start+8 <= net.Bits():
			free = 0
		case start < net.Bits():
			free >>= net.Bits() - start
		}
		if 8 <= i && i < len(b)-4 && len(b) == 16 {
			free = 0 // servers have short addresses
		}
		b[i] |= byte(number>>(8*(i%8))) & free
	}
	if last := len(b) - 1; b[last] == 0 || b[last] == 255 {
		b[last] = 7
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// stranger is an address from anywhere.
func (n *internet) stranger() netip.Addr {
	place := elsewhere[n.rng.IntN(len(elsewhere))]
	return within(n.nets[place][0], n.rng.Uint64()%4096*0x9e3779b97f4a7c15)
}
