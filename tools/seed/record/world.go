package record

// hours is when a program talks: the weight of each hour of a day, and of a
// day at the weekend.
type hours struct {
	weights string // one digit for each hour
	weekend float64
}

var (
	always  = hours{"555555555555555555555555", 1}
	evening = hours{"310000013445665555678986", 1.3}
	working = hours{"000000025899979988752110", 0.15}
	nightly = hours{"009900000000000000000000", 1}
	morning = hours{"000000280001000010000000", 0.8}
	seldom  = hours{"000000001101011111101110", 1}
)

// place is a network that hosts names.
type place struct{ v4, v6 string }

// places are networks of which the table of countries knows where they are.
var places = map[string]place{
	"google": {"142.250.0.0/16", "2a00:1450:4001::/48"}, "cloudflare": {"104.16.0.0/14", "2606:4700::/44"}, "fastly": {"151.101.0.0/16", "2a04:4e42::/40"},
	"akamai": {"23.32.0.0/13", "2a02:26f0::/32"}, "github": {"140.82.112.0/22", ""}, "amazon": {"52.16.0.0/14", "2a05:d018::/36"}, "amazon-us": {"3.208.0.0/13", "2600:1f18::/36"},
	"microsoft": {"20.40.0.0/14", "2603:1000::/28"}, "hetzner": {"95.216.0.0/16", "2a01:4f9::/32"}, "hetzner-de": {"5.9.0.0/16", "2a01:4f8::/32"}, "ovh": {"51.68.0.0/16", "2001:41d0::/32"},
	"debian": {"130.89.148.0/24", "2001:67c:2564::/48"}, "ubuntu": {"185.125.188.0/22", "2620:2d:4000::/44"}, "mozilla": {"34.107.0.0/16", "2600:1901::/32"}, "wikimedia": {"185.15.58.0/23", "2a02:ec80:300::/48"},
	"netflix": {"45.57.0.0/17", "2a00:86c0::/32"}, "spotify": {"35.186.224.0/20", ""}, "telegram": {"149.154.160.0/20", "2001:67c:4e8::/48"}, "dropbox": {"162.125.0.0/16", "2620:100:6000::/44"},
	"japan": {"133.11.0.0/16", "2001:200::/32"}, "brazil": {"200.147.0.0/16", "2804:49c::/32"}, "india": {"49.32.0.0/13", ""}, "china": {"47.92.0.0/14", ""}, "russia": {"87.250.224.0/19", "2a02:6b8::/32"},
	"poland": {"212.77.96.0/19", ""}, "korea": {"211.115.96.0/19", ""}, "australia": {"203.2.192.0/20", ""}, "sweden": {"193.10.0.0/16", "2001:6b0::/32"}, "swiss": {"129.132.0.0/16", "2001:67c:10ec::/48"},
	"southafrica": {"196.25.0.0/16", ""}, "mexico": {"148.208.0.0/15", ""}, "canada": {"142.104.0.0/16", ""}, "turkey": {"193.140.0.0/16", ""}, "iran": {"217.218.0.0/15", ""}, "vietnam": {"113.160.0.0/11", ""},
	"lan": {"192.168.1.0/24", ""}, "router": {"192.168.1.1/32", ""}, "pods": {"172.18.0.0/24", ""}, "self": {"127.0.0.1/32", "::1/128"}, "stub": {"127.0.0.53/32", ""},
}

// elsewhere are the places that host the long tail of names, those named more
// often host more.
var elsewhere = []string{"cloudflare", "cloudflare", "cloudflare", "cloudflare", "fastly", "fastly", "amazon", "amazon", "amazon-us", "amazon-us", "akamai", "google", "google",
	"hetzner", "hetzner-de", "hetzner-de", "ovh", "ovh", "microsoft", "japan", "brazil", "india", "china", "russia", "poland", "korea", "australia", "sweden", "swiss", "southafrica", "mexico", "canada", "turkey", "vietnam"}

// dest is somewhere to talk to.
type dest struct {
	name  string // domain, "" for addresses without a name
	place string
	port  uint16
	proto uint16 // 0: TCP
}

// program is one program and how it talks.
type program struct {
	name, exe, pkg string
	parent         string // name of a program, "" for systemd
	unit           string // "" for that of the parent
	container      string
	user           string
	args           []string // alternatives of the command line
	script         string
	when           hours
	weight         float64 // share of all connections
	dests          []dest  // those named first are talked to more
	tail           float64 // share of connections that go to the long tail of names
	in             uint16  // port that it listens at: connections come in
	up, down       float64 // median bytes
	life           float64 // median seconds
	fails          float64 // share of connections that come to nothing
	versions       int     // how many there were in the time of the record
	rule           string  // that decides its connections, "" for none
	would          string  // what that rule says: allow (default), alert, deny
	kind           string  // "": a file; memfd, deleted
	resolves       bool    // it asks a resolver before it talks
}

func web(place string, names ...string) []dest {
	out := make([]dest, len(names))
	for i, n := range names {
		out[i] = dest{n, place, 443, 0}
	}
	return out
}

func join(lists ...[]dest) (out []dest) {
	for _, l := range lists {
		out = append(out, l...)
	}
	return out
}
