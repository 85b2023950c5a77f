package ruletest

import (
	"net/netip"

	"snitch/monitor/event"
)

// The values that facts take, and the patterns that rules use for them. Each
// pattern matches some of the values and narrowly misses others.
var (
	exes = []string{
		"/usr/bin/git", "/usr/bin/sh", "/usr/bin/curl", "/usr/bin/git-lfs", "/opt/a/bin/Worker", "/opt/a/b/bin/Worker",
		"/opt/bin/Worker", "/tmp/x", "/tmp/a/x", "/memfd:x", "/axb/y/cz", "/axb/cz", "/ab/c", "/ax/b/c",
		"container:c1:/usr/bin/git", "mnt:4026531841:/usr/bin/sh", "unverified:/tmp/x",
	}
	exePatterns = []string{
		"/usr/bin/git", "/usr/bin/sh", "/tmp/x", "/usr/bin/*", "/usr/*/git", "/usr/bin/git*", "/usr/bin/*t", "/opt/*/bin/Worker",
		"/opt/**/Worker", "/opt/**", "/tmp/*", "/**", "**/git", "**", "/a*b/**c*", "/a*/*/c*", "/**/*b/**", "container:*:/usr/bin/git",
		"container:c1:/**", "mnt:**", "unverified:/tmp/*", "/memfd:*",
	}
	words         = []string{"git", "gitk", "sh", "a", "ab", "aab", "none-such", "git push"}
	wordPatterns  = []string{"git", "git*", "*", "*b", "a*b", "*i*", "sh", "a"}
	scripts       = []string{"none", "/opt/s.py", "/opt/d/s.py", "-m pip", "container:c1:/opt/s.py"}
	scriptGlobs   = []string{"none", "/opt/s.py", "/opt/*.py", "/opt/**", "-m pip", "-m *"}
	cmdlines      = []string{"git push origin", "git pull", "sh -c a", "curl https://x/y"}
	cmdlineGlobs  = []string{"git *", "git push origin", "* -c *", "*push*", "*/*"}
	users         = []string{"root", "ci", "alice"}
	cgroups       = []string{"/", "/system.slice/ssh.service", "/system.slice/a/b", "/user.slice/u"}
	cgroupGlobs   = []string{"/", "/system.slice/*", "/system.slice/**", "/user.slice/u", "/**"}
	units         = []string{"none", "ssh.service", "cron.service", "user@1000.service"}
	unitGlobs     = []string{"none", "ssh.service", "*.service", "user@*.service"}
	containers    = []string{"none", "c1", "c2"}
	containerGlob = []string{"none", "c1", "c*"}
	packages      = []string{"none", "git", "git-lfs", "modified:git", "modified:curl"}
	packageGlobs  = []string{"none", "git", "git*", "modified:git", "modified:*"}
	countries     = []string{"DE", "US", "NO"}
	names         = []string{
		"github.com", "api.github.com", "a.api.github.com", "xgithub.com", "example.org", "www.example.org", "pastebin.com", "com", "localhost",
	}
	hostNames = []string{"github.com", "api.github.com", "example.org", "com", "pastebin.com"}
	addrs     = parseAll(netip.MustParseAddr, "127.0.0.1", "10.0.0.1", "10.0.0.2", "10.1.0.1", "192.168.1.1", "140.82.112.5", "8.8.8.8",
		"::1", "fe80::1", "2001:db8::1", "2001:db8:1::1", "0.0.0.0")
	nets = parseAll(netip.MustParsePrefix, "10.0.0.0/8", "10.0.0.0/31", "10.0.0.1/32", "127.0.0.0/8", "0.0.0.0/0", "::/0",
		"2001:db8::/48", "2001:db8::1/128", "140.82.112.0/20", "::1/128")
	ports      = []uint16{0, 22, 53, 80, 443, 8000, 8001, 65535}
	protos     = []string{"tcp", "udp", "icmp", "icmpv6", "sctp", "raw", "packet", "ip-47"}
	kinds      = []event.ExecutableKind{event.ExecutableFile, event.ExecutableDeleted, event.ExecutableMemfd, event.ExecutableKernel, event.ExecutableUnknown}
	directions = []event.Direction{event.Out, event.In, event.Listen}
	uids       = []uint32{0, 1, 999, 1000, 1001, 65534, 4294967295}
	digests    = []event.Digest{{1}, {2}, {2, 1}, {31: 1}}
)

func parseAll[T any](parse func(string) T, texts ...string) []T {
	out := make([]T, len(texts))
	for i, t := range texts {
		out[i] = parse(t)
	}
	return out
}
