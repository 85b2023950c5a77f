package rule

import (
	"fmt"
	"strings"
)

// otherWords are what people write who come from another tool.
var otherWords = map[string]string{
	"path": "exe", "binary": "exe", "program": "exe", "executable": "exe", "comm": "name", "command": "cmdline", "args": "cmdline",
	"hash": "sha256", "checksum": "sha256", "service": "unit", "cgroup_path": "cgroup", "username": "user", "grandparent": "ancestor",
	"destination": "to", "dest": "to", "dst": "to", "remote": "to", "target": "to", "source": "from", "src": "from",
	"domain": "host", "ip": "host", "addr": "host", "address": "host", "cidr": "host", "net": "host", "hosts": "host", "names": "host",
	"ports": "port", "dport": "port", "protocol": "proto", "ttl": "expires", "until": "expires", "description": "reason", "comment": "reason",
	"unless": "except", "exceptions": "except", "verdict": "action", "process_name": "name",
	"outbound": "out", "egress": "out", "inbound": "in", "ingress": "in", "listening": "listen", "bind": "listen",
	"block": "deny", "drop": "deny", "reject": "deny", "accept": "allow", "permit": "allow", "pass": "allow", "warn": "alert", "log": "alert", "ask": "alert",
	"local": "lan", "private": "lan", "localhost": "loopback", "public": "internet", "wan": "internet",
	"dry_run": "audit", "monitor": "audit", "on": "enforce",
}

// didYouMean is a hint that ends an error about word, "" when nothing is near.
func didYouMean(word string, known []string) string {
	low := strings.ToLower(strings.ReplaceAll(word, "-", "_"))
	best, distance := "", 3
	if len(low) <= 4 {
		distance = 2 // of so short a word two changes leave nothing
	}
	for _, k := range known {
		if otherWords[low] == k || low == k || len(low) > 2 && strings.HasPrefix(k, low) {
			return fmt.Sprintf("did you mean %q?", k)
		}
		if d := editDistance(low, k, distance); d < distance {
			best, distance = k, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf("did you mean %q?", best)
}

// editDistance counts insertions, deletions, replacements and swaps of
// neighbours between a and b; what is at least limit is limit.
func editDistance(a, b string, limit int) int {
	if max(len(a)-len(b), len(b)-len(a)) >= limit {
		return limit
	}
	before, row := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		next := make([]int, len(b)+1)
		next[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			next[j] = min(row[j]+1, next[j-1]+1, row[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				next[j] = min(next[j], before[j-2]+1)
			}
		}
		before, row = row, next
	}
	return min(row[len(b)], limit)
}

// oneOf says what may be written.
func oneOf(known []string) string {
	switch n := len(known); n {
	case 0:
		return ""
	case 1:
		return known[0]
	default:
		return strings.Join(known[:n-1], ", ") + " or " + known[n-1]
	}
}
