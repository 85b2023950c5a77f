package vm

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// outcome is what tests said of themselves, as `-test.v` prints it.
type outcome struct {
	passed     int      // tests and their parts
	shortfalls []string // "name: reason", of what was not had exactly
	skipped    []string // the same of what a kernel lacks
	reason     string   // of the skip that follows
}

// missing begins a reason to skip, that of a test itself and that of
// bpftest.Need.
var missing = []string{"missing feature: ", "kernel feature "}

// add takes one line. Logs come with their place in front, so the words are
// looked for anywhere; what is said of a skip comes before it.
func (o *outcome) add(line string) {
	if _, text, ok := strings.Cut(line, "shortfall: "); ok {
		o.shortfalls = append(o.shortfalls, text)
		return
	}
	for _, begin := range missing {
		if _, text, ok := strings.Cut(line, ": "+begin); ok {
			o.reason = text
		}
	}
	verb, rest, ok := strings.Cut(strings.TrimSpace(line), ": ")
	if !ok {
		return
	}
	name, _, _ := strings.Cut(rest, " ")
	switch verb {
	case "--- PASS":
		o.passed++
	case "--- SKIP":
		if o.reason != "" { // else it is long, not lacking
			o.skipped = append(o.skipped, name+": "+o.reason)
		}
	case "=== RUN", "--- FAIL":
	default:
		return
	}
	o.reason = ""
}

// enforcement is the part of docs/kernels.md about what denies.
func enforcement(kernels []string, tried map[string]*outcome, lsm map[string]bool) string {
	var b, list strings.Builder
	b.WriteString("| kernel | BPF LSM | tests that passed | shortfalls |\n|---|---|---|---|\n")
	for _, k := range kernels {
		o := tried[k]
		if o == nil {
			continue
		}
		lacks := slices.Concat(o.skipped, o.shortfalls)
		fmt.Fprintf(&b, "| %s | %s | %d | %d |\n", k, map[bool]string{true: "runs", false: "–"}[lsm[k]], o.passed, len(lacks))
		for _, text := range lacks {
			fmt.Fprintf(&list, "* %s: %s\n", k, text)
		}
	}
	if list.Len() > 0 {
		b.WriteString("\n" + list.String())
	}
	return b.String()
}

func TestOutcome(t *testing.T) {
	const said = `=== RUN   TestEvasion
=== RUN   TestEvasion/connect
    attempt_test.go:118: free: 9 packets (<nil>); denied: 0 packets
--- PASS: TestDenied (0.52s)
=== RUN   TestEvasion/packet-denied
    attempt_test.go:104: missing feature: bpf lsm
--- SKIP: TestEvasion/packet-denied (0.00s)
=== RUN   TestScope
    feature.go:62: kernel feature nft socket cgroupv2 is missing: no such file; expected: new in 5.13
--- SKIP: TestScope (0.10s)
=== RUN   TestUnable/full_ring
    fail_test.go:204: short: one fail mode of each is enough
    --- SKIP: TestUnable/full_ring (0.00s)
    --- PASS: TestUnable/no_answer (1.00s)
    twin_test.go:300: shortfall: packet-raw: AF_PACKET: its frames pass no hook of a cgroup
PASS
`
	o := &outcome{}
	for line := range strings.Lines(said) {
		o.add(strings.TrimRight(line, "\n"))
	}
	want := []string{
		"TestEvasion/packet-denied: bpf lsm",
		"TestScope: nft socket cgroupv2 is missing: no such file; expected: new in 5.13",
		"packet-raw: AF_PACKET: its frames pass no hook of a cgroup",
	}
	if diff := cmp.Diff(want, slices.Concat(o.skipped, o.shortfalls)); diff != "" || o.passed != 2 {
		t.Errorf("%d passed, want 2; shortfalls:\n%s", o.passed, diff)
	}
	tried := map[string]*outcome{"6.1": o, "7": {passed: 4}}
	const head = "| kernel | BPF LSM | tests that passed | shortfalls |\n|---|---|---|---|\n"
	got := enforcement(slices.Sorted(maps.Keys(tried)), tried, map[string]bool{"7": true})
	if table := head + "| 6.1 | – | 2 | 3 |\n| 7 | runs | 4 | 0 |\n\n* 6.1: "; !strings.HasPrefix(got, table) || strings.Count(got, "\n* ") != 3 {
		t.Errorf("got\n%s\nwhich is to begin\n%s", got, table)
	}
}
