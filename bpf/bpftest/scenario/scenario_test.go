package scenario

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"snitch/bpf/bpftest"
)

// outcome is one line of the table in docs/kernels.md.
type outcome struct {
	Kernel   string `json:"kernel"`
	Tier     string `json:"tier"`
	Scenario string `json:"scenario"`
	Outcome  string `json:"outcome"` // exact, shortfall, skipped, failed
	Reason   string `json:"reason,omitempty"`
}

// TestScenarios plays all scenarios under one daemon, stops it, and holds the
// log against what the generators counted themselves.
func TestScenarios(t *testing.T) {
	bpftest.CheckDescriptors(t)
	bin := build(t, t.TempDir())
	l := newLab(t, bin.traffic)
	list := chosen(t)
	d := startDaemon(t, bin.snitch, filepath.Join(l.dir, "state"), l.cgroup)
	tier := tierOf(t, d)
	runs := l.playAll(list)
	lost := lossesOf(t, d)
	missed := missedRuns(t, d)
	d.stop(t, l.cgroup)
	rows := byCgroup(t, d)
	var all []outcome
	for i := range list {
		s := &list[i]
		o := outcome{Kernel: release(), Tier: tier, Scenario: s.name, Outcome: "failed"}
		t.Run(s.name, func(t *testing.T) { judge(t, s, runs[i], rows[l.cgroup.Path()+"/"+s.name], tier, &missed, &o) })
		all = append(all, o)
	}
	if lost.Sent+lost.Received > 0 { // an event without bytes is logged above: each row is judged anyway
		t.Errorf("the daemon lost %+v while the scenarios ran, and should have had room for all", lost)
	}
	write(t, all)
}

// skipped is why a row may be wrong on a kernel that counted missed runs; each
// of them excuses one scenario that does not heal.
const skipped = "the kernel skipped a call of a program that was interrupted (preemptible trace points); status says missed-run"

func judge(t *testing.T, s *scenario, r *run, rows []record, tier string, missed *uint64, o *outcome) {
	if r.missing != nil {
		o.Outcome, o.Reason = "skipped", r.missing.Error()
		bpftest.Need(t, s.needs...)
		t.Fatalf("a feature came and went: %v", r.missing)
	}
	if r.err != nil {
		t.Fatalf("the generators failed, nothing can be judged: %v", r.err)
	}
	excuse := s.shortfall(tier)
	v := compare(s, r, rows, excuse)
	if len(v.faults) > 0 && *missed > 0 && !heals(s, r) {
		*missed--
		o.Outcome, o.Reason = "shortfall", skipped
		t.Logf("shortfall: %s: %s", s.name, skipped)
		t.Logf("what is wrong: %q", v.faults)
		return
	}
	for _, f := range v.faults {
		t.Error(f)
	}
	if len(v.faults) > 0 {
		for i := range rows {
			if i == 8 {
				t.Logf("… %d rows", len(rows))
				break
			}
			t.Logf("row: %v", &rows[i])
		}
		return
	}
	o.Outcome = "exact"
	if v.used {
		o.Outcome, o.Reason = "shortfall", excuse.reason
		t.Logf("shortfall: %s: %s", s.name, excuse.reason) // docs/kernels.md is made of these lines
	} else if excuse != nil {
		t.Logf("better than promised: %q was not needed here", excuse.reason)
	}
}

// heals reports whether the bytes of skipped calls are found when the sockets
// are closed: of TCP without kernel TLS, whose sockets each had one process.
func heals(s *scenario, r *run) bool {
	if strings.Contains(s.args, "ktls") {
		return false
	}
	used := map[string]bool{}
	for i := range r.reports {
		for k := range r.reports[i].Flows {
			f := &r.reports[i].Flows[k]
			at := fmt.Sprint(f.Direction, f.LAddr, f.LPort, f.RAddr, f.RPort)
			if f.Proto != "tcp" || used[at] {
				return false
			}
			used[at] = true
		}
	}
	return true
}

func byCgroup(t *testing.T, d *daemon) map[string][]record {
	t.Helper()
	all, err := d.log()
	if err != nil {
		t.Fatal(err)
	}
	rows := make(map[string][]record)
	for _, r := range all {
		rows[r.Cgroup] = append(rows[r.Cgroup], r)
	}
	return rows
}

func release() string {
	var uts unix.Utsname
	if err := unix.Uname(&uts); err != nil {
		return "unknown"
	}
	return unix.ByteSliceToString(uts.Release[:])
}

// write keeps the outcomes for the table of docs/kernels.md.
func write(t *testing.T, all []outcome) {
	t.Helper()
	if *tableOut == "" {
		return
	}
	var b strings.Builder
	enc := json.NewEncoder(&b)
	for _, o := range all {
		if err := enc.Encode(o); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(*tableOut, []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}
