package scenario

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"snitch/bpf/bpftest"
	"snitch/bpf/features"
)

// oneOfEach are scenarios of every protocol and of the ways that differ in how
// they are denied.
var oneOfEach = []string{
	"tcp-v4-write-read", "tcp-v6-sendmsg-recvmsg", "tcp-v4-uring-send-uring-recv", "tcp-fast-open-v4", "tcp-fast-open-v6", "tcp-v4-mapped", "tcp-bound",
	"tcp-many", "mptcp", "sctp", "udp-v4-sendto", "udp-v4-sendmmsg-recvmmsg", "udp-v4-connected", "udp-v4-connected-uring", "udp-v6-sendmsg", "udp-v4-mapped",
	"udp-gso", "udp-multicast", "udplite", "icmp-ping-v4", "icmp-raw-v4", "icmp-raw-v6", "raw-253-v4", "raw-253-v6", "fork-both-send", "socket-passed",
}

// of the chosen ones those with these names; each must be there.
func these(t *testing.T, names []string) []scenario {
	t.Helper()
	list := slices.DeleteFunc(chosen(t), func(s scenario) bool { return !slices.Contains(names, s.name) })
	if *only == "" && len(list) != len(names) {
		t.Fatalf("of %d names %d are of scenarios", len(names), len(list))
	}
	return list
}

func notShort(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("short: TestDeniedTwins is played")
	}
}

// TestConfinedTwins: what no rule allows to a confined program ends as what a
// rule denies; the log names the confinement.
func TestConfinedTwins(t *testing.T) {
	notShort(t)
	local := []string{"tcp-lo-sendto-recvfrom", "udp-lo-connected", "refused-lo", "memfd", "script", "icmp-ping-v6"}
	playDenied(t, these(t, append(local, oneOfEach...)), "confine", (*lab).confinement)
}

// TestNftTwins: the second backend denies by what packets show: the cgroup. What
// arrives is counted at the peer alone, for a reset passes the program's own
// loopback. The log names the rule of TCP, and that multipath TCP would be denied
// by it; of the others the table counts what it refused (docs/nftables.md).
func TestNftTwins(t *testing.T) {
	notShort(t)
	if !features.Detect(context.Background()).Has(features.NftCgroup) {
		t.Skip("missing feature: nft socket cgroupv2")
	}
	bpftest.CheckDescriptors(t)
	bin := build(t, t.TempDir())
	l := newTwinLab(t, bin.traffic)
	list := these(t, oneOfEach)
	places := make([]*bpftest.Cgroup, len(list))
	rules := "rules:\n"
	for i := range list {
		s := &list[i]
		list[i] = denied(*s)
		var err error
		if places[i], err = l.cgroup.Child(s.name); err != nil { // there when the table is made
			t.Fatal(err)
		}
		rules += fmt.Sprintf("  - {id: %s, action: deny, process: {cgroup: %s/**}, direction: out}\n", denialID(s), places[i].Path())
	}
	d := l.enforceIn(t, l.pair.Client, bin.snitch, rules, "--backend", "nft")
	peer := l.counters(t)[1:]
	runs := make([]*twinRun, len(list))
	counted := make([]bool, len(list))
	refused := refusals(t, d)
	for i := range list {
		runs[i] = l.twin(&list[i], places[i], peer)
		before := refused
		refused = refusals(t, d)
		counted[i] = refused > before
	}
	toldOf := func(rows map[string][]record, i int) bool {
		return !isTCP(&list[i]) && counted[i] || inferred(&list[i], rows[places[i].Path()+"/"+list[i].name])
	}
	await(func() bool {
		rows := byCgroup(t, d)
		for i := range list {
			if runs[i].missing == nil && isTCP(&list[i]) && !toldOf(rows, i) {
				return false
			}
		}
		return true
	})
	d.stop(t, l.cgroup)
	rows := byCgroup(t, d)
	for i := range list {
		s := &list[i]
		t.Run(s.name, func(t *testing.T) {
			played(t, s, runs[i])
			judgeRefused(t, s, runs[i])
			mine := rows[places[i].Path()+"/"+s.name]
			if !toldOf(rows, i) {
				t.Errorf("none of %d rows says that %s denied it, and the table counted: %t", len(mine), denialID(s), counted[i])
			}
			if t.Failed() {
				show(t, runs[i], mine)
			}
		})
	}
}

func isTCP(s *scenario) bool {
	return len(s.peer) > 0 && (strings.HasPrefix(s.peer[0], "tcp ") || strings.HasPrefix(s.peer[0], "mptcp "))
}

// inferred: the table tells of no attempt, but a TCP connection that got a reset
// is known to be denied.
func inferred(s *scenario, rows []record) bool {
	if s.name == "mptcp" {
		return slices.ContainsFunc(rows, func(r record) bool { return r.Rule == denialID(s) && r.Would == "deny" })
	}
	return named(s, rows)
}

// await returns when done says so, or when it had the time to.
func await(done func() bool) {
	for deadline := time.Now().Add(patience(time.Minute)); !done() && time.Now().Before(deadline); {
		time.Sleep(500 * time.Millisecond)
	}
}

// refusals are what the table counted.
func refusals(t *testing.T, d *daemon) uint64 {
	t.Helper()
	out, err := d.Command("status", "--json")
	if err != nil {
		t.Fatal(err)
	}
	var s struct {
		Enforce struct {
			Problem string `json:"problem"`
			Backend struct {
				Denied uint64 `json:"denied"`
			} `json:"backend"`
		} `json:"enforce"`
	}
	if err := json.Unmarshal(out, &s); err != nil {
		t.Fatal(err)
	}
	if s.Enforce.Problem != "" {
		t.Errorf("status: %s", s.Enforce.Problem)
	}
	return s.Enforce.Backend.Denied
}
