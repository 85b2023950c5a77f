package webtest

// Rules are those that the seeded machine decided by.
const Rules = `version: 1

confine:
  - id: sshd-only-answers
    mode: audit
    reason: sshd begins no connections
    process: {exe: /usr/sbin/sshd}

rules:
  - id: browsers
    action: allow
    reason: people browse
    process: {exe: [/usr/lib/firefox/firefox, /usr/bin/chromium]}
    to: {port: [80, 443]}
    direction: out

  - id: package-mirrors
    action: allow
    reason: updates
    process: {exe: [/usr/lib/apt/methods/http, /usr/bin/dockerd]}

  - id: dns
    action: allow
    to: {port: 53}
    direction: out

  - id: no-paste-sites
    action: deny
    reason: nothing goes to paste sites
    to: {host: [.pastebin.com, .transfer.sh]}

  - id: curl-abroad
    action: alert
    reason: curl talked to the internet
    process: {exe: /usr/bin/curl}
    to: {scope: internet}

  - id: old-proxy
    action: allow
    reason: the proxy that was switched off
    to: {host: proxy.corp.example, port: 3128}

  - id: from-memory
    action: deny
    reason: programs without a file do not talk
    process: {kind: [memfd, deleted]}

  - id: everything-else
    action: allow
    process: {user: [anna, ben, root, postgres, www-data]}
`

// Hostile is what a stranger calls a program, a domain, an argument.
const (
	HostileName   = `<img src=x onerror=alert(1)>`
	HostileDomain = "\u202egpj.example"
	HostileArgs   = "\x1b[31m\"><script>document.title='owned'</script>\x00\u2066'\r\n"
)

// peer is another end.
type peer struct {
	name, addr, country string
	port                uint16
}

func peers() []peer {
	return []peer{
		{"github.com", "140.82.112.5", "US", 443}, {"cdn.jsdelivr.net", "104.16.85.20", "US", 443}, {"www.spiegel.de", "128.65.210.8", "DE", 443},
		{"packages.example.net", "151.101.2.132", "FR", 80}, {"images.example.net", "54.198.86.24", "US", 443}, {"", "203.0.113.77", "RU", 4444},
		{"mail.example.org", "198.51.100.3", "NL", 993}, {"api.openweathermap.org", "192.0.2.14", "GB", 443}, {"pastebin.com", "104.20.3.235", "US", 443},
		{"", "10.0.0.1", "", 53}, {"db.internal", "10.0.0.12", "", 5432}, {"stream.video.example", "203.0.113.20", "SG", 443},
		{"updates.vendor.co.jp", "198.51.100.99", "JP", 443}, {"telemetry.example.com", "192.0.2.200", "IE", 443},
		{"s3.eu-central-1.amazonaws.com", "52.219.47.1", "DE", 443}, {"www.uol.com.br", "200.147.3.157", "BR", 443}, {"", "2001:db8::7", "SE", 443},
		{"time.cloudflare.com", "162.159.200.1", "AU", 123}, {HostileDomain, "192.0.2.66", "IN", 443},
	}
}

// program talks to some of the peers.
type program struct {
	exe, user string
	uid       uint32
	parent    int // index, -1 for none
	args      string
	weight    float64 // how often it talks
	peers     []int
	size      float64 // bytes that it gets, on average
	pkg       string
}

func programs() []program {
	return []program{
		{"/usr/lib/systemd/systemd", "root", 0, -1, "", 0, nil, 0, "systemd"},
		{"/usr/bin/bash", "anna", 1000, 0, "-l", 0, nil, 0, "bash"},
		{"/usr/lib/firefox/firefox", "anna", 1000, 0, "", 40, []int{0, 1, 2, 7, 11, 13, 14, 15}, 200e3, "firefox-esr"},
		{"/usr/bin/chromium", "ben", 1001, 0, "--type=utility", 20, []int{0, 1, 2, 11, 15, 16}, 150e3, "chromium"},
		{"/usr/lib/apt/methods/http", "_apt", 42, 0, "", 3, []int{3}, 4e6, "apt"},
		{"/usr/bin/dockerd", "root", 0, 0, "-H fd://", 4, []int{4, 14}, 8e6, "docker-ce"},
		{"/usr/bin/curl", "anna", 1000, 1, "-s https://api", 5, []int{0, 5, 7, 8}, 9e3, "modified:curl"},
		{"/usr/bin/git", "anna", 1000, 1, "fetch --all", 6, []int{0}, 700e3, "git"},
		{"/usr/lib/thunderbird/thunderbird", "anna", 1000, 0, "", 8, []int{6}, 60e3, "thunderbird"},
		{"/usr/lib/systemd/systemd-resolved", "systemd-resolve", 101, 0, "", 30, []int{9}, 300, "systemd-resolved"},
		{"/usr/lib/postgresql/16/bin/postgres", "postgres", 110, 0, "-D /var/lib/postgresql/16/main", 6, []int{10}, 20e3, "postgresql-16"},
		{"/usr/sbin/nginx", "www-data", 33, 0, "worker process", 10, []int{10, 14}, 30e3, "nginx"},
		{"/usr/lib/systemd/systemd-timesyncd", "systemd-timesync", 102, 0, "", 1, []int{17}, 96, "systemd-timesyncd"},
		{"/opt/vendor/agent/bin/updater", "root", 0, 0, "--daemon", 2, []int{12, 13}, 500e3, "none"},
		{"/usr/bin/python3.11", "ben", 1001, 1, "/home/ben/scrape.py", 4, []int{2, 15, 18}, 90e3, "python3.11"},
		{"/tmp/" + HostileName, "ben", 1001, 1, HostileArgs, 0.5, []int{18, 5}, 1e3, "none"},
	}
}
