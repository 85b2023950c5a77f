package scenario

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"snitch/bpf/bpftest"
	"snitch/bpf/bpftest/report"
)

// newTwinLab is a lab on a file system of its own, whose programs a daemon can
// hold at their start without holding anybody else's. Peers are not judged.
func newTwinLab(t *testing.T, traffic string) *lab {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("snitch-test", dir, "tmpfs", 0, "mode=755"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	image, err := os.ReadFile(traffic)
	if err != nil {
		t.Fatal(err)
	}
	own := filepath.Join(dir, "traffic")
	if err := os.WriteFile(own, image, 0o755); err != nil {
		t.Fatal(err)
	}
	l := newLab(t, own)
	l.dir, l.peersApart = dir, true
	return l
}

// enforce starts a daemon that denies by rules in the lab's cgroup.
func (l *lab) enforce(t *testing.T, snitch, rules string) *daemon {
	t.Helper()
	return l.enforceIn(t, nil, snitch, rules)
}

// enforceIn does so in a network namespace, nil for the test's own.
func (l *lab) enforceIn(t *testing.T, ns *bpftest.Namespace, snitch, rules string, flags ...string) *daemon {
	t.Helper()
	dir, state := t.TempDir(), t.TempDir()
	config := filepath.Join(dir, "config.yaml")
	ruleDir := filepath.Join(dir, "rules")
	err := errors.Join(os.Mkdir(ruleDir, 0o755), os.WriteFile(filepath.Join(ruleDir, "twins.yaml"), []byte("version: 1\n"+rules), 0o600),
		os.WriteFile(config, fmt.Appendf(nil, "version: 1\nenforce:\n  fail: open\n  hold:\n    programs: %s\n", l.dir), 0o600))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if !t.Failed() {
			return // it stopped in order, which leaves nothing
		}
		if out, err := exec.Command(snitch, "enforce", "panic", "--state", state).CombinedOutput(); err != nil {
			t.Logf("remove what is left: %v\n%s", err, out)
		}
	})
	return startDaemonIn(t, ns, snitch, state, l.cgroup, append([]string{"--mode", "enforce", "--rules", ruleDir, "--config", config}, flags...)...)
}

// twinRun is what became of one denied twin.
type twinRun struct {
	missing error
	reports []report.Report
	err     error
	packets uint64 // that arrived, at whichever end
}

// counters are at both ends: a scenario may have its peer on loopback.
type counters []*arrivals

func (l *lab) counters(t *testing.T) counters {
	t.Helper()
	var all counters
	for _, ns := range []*bpftest.Namespace{l.pair.Client, l.pair.Server} {
		a, err := countArrivals(ns)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, a)
	}
	return all
}

func (c counters) take() (sum uint64, err error) {
	for _, a := range c {
		n, takeErr := a.take()
		sum, err = sum+n, errors.Join(err, takeErr)
	}
	return sum, err
}

func (l *lab) twin(s *scenario, at *bpftest.Cgroup, c counters) *twinRun {
	for _, f := range s.needs {
		if err := f.Missing(); err != nil {
			return &twinRun{missing: err}
		}
	}
	r := new(twinRun)
	_, before := c.take()
	r.reports, r.err = l.generate(s, at)
	var after error
	r.packets, after = c.take()
	if err := errors.Join(before, after); err != nil {
		r.err = err
	}
	return r
}

// TestDeniedTwins plays every scenario while a rule denies its program: nothing
// arrives, the program is told at once, the log names the rule.
func TestDeniedTwins(t *testing.T) { playDenied(t, chosen(t), "rules", (*lab).denial) }

// playDenied plays scenarios, each denied by an entry of its own of a section of
// the rules.
func playDenied(t *testing.T, list []scenario, section string, entry func(*lab, *scenario) (string, error)) {
	t.Helper()
	bpftest.CheckDescriptors(t)
	bin := build(t, t.TempDir())
	l := newTwinLab(t, bin.traffic)
	rules := section + ":\n"
	for i := range list {
		list[i] = denied(list[i])
		rule, err := entry(l, &list[i])
		if err != nil {
			t.Fatal(err)
		}
		rules += rule
	}
	d := l.enforce(t, bin.snitch, rules)
	runs := l.twins(t, list)
	d.awaitNamed(t, l, list, runs)
	d.stop(t, l.cgroup)
	rows := byCgroup(t, d)
	for i := range list {
		s := &list[i]
		t.Run(s.name, func(t *testing.T) {
			played(t, s, runs[i])
			mine := rows[l.cgroup.Path()+"/"+s.name]
			if reason := beyond(s); reason != "" {
				judgeBeyond(t, s, runs[i], mine, reason)
			} else {
				judgeDenied(t, s, runs[i], mine)
			}
			if t.Failed() {
				show(t, runs[i], mine)
			}
		})
	}
}

// played skips what was not played.
func played(t *testing.T, s *scenario, r *twinRun) {
	t.Helper()
	if r == nil {
		t.Skip("short: it holds still for long")
	}
	if r.missing != nil {
		bpftest.Need(t, s.needs...)
		t.Fatalf("a feature came and went: %v", r.missing)
	}
}

// twins plays all; those in the background send no packets, and are left out of
// a short run.
func (l *lab) twins(t *testing.T, list []scenario) []*twinRun {
	t.Helper()
	c := l.counters(t)
	runs := make([]*twinRun, len(list))
	var wg sync.WaitGroup
	for i := range list {
		if list[i].background && !testing.Short() {
			wg.Go(func() { runs[i] = l.twin(&list[i], l.cgroup, nil) })
		}
	}
	for i := range list {
		if !list[i].background {
			runs[i] = l.twin(&list[i], l.cgroup, c)
		}
	}
	wg.Wait()
	return runs
}

// awaitNamed returns when the log names the rule of each twin, or when it has
// had the time to: what is missing then is judged as missing.
func (d *daemon) awaitNamed(t *testing.T, l *lab, list []scenario, runs []*twinRun) {
	t.Helper()
	await(func() bool {
		rows := byCgroup(t, d)
		for i := range list {
			if runs[i] != nil && runs[i].missing == nil && !named(&list[i], rows[l.cgroup.Path()+"/"+list[i].name]) {
				return false
			}
		}
		return true
	})
}

// named: a row says that the rule denied, or would have denied, as it must be.
func named(s *scenario, rows []record) bool {
	for i := range rows {
		row := &rows[i]
		if row.Rule != denialID(s) {
			continue
		}
		if refused := row.Action == "deny" && row.Result == "denied"; refused && beyond(s) == "" || !refused && row.Would == "deny" && beyond(s) != "" {
			return true
		}
	}
	return false
}

func judgeDenied(t *testing.T, s *scenario, r *twinRun, rows []record) {
	t.Helper()
	judgeRefused(t, s, r)
	for i := range rows {
		if rows[i].Rule == denialID(s) && rows[i].Sent+rows[i].Received > 0 {
			t.Errorf("bytes of what is denied: %v", &rows[i])
		}
	}
	if !named(s, rows) {
		t.Errorf("none of %d rows says that %s denied it", len(rows), denialID(s))
	}
}

// judgeRefused: nothing arrived, and the program was told.
func judgeRefused(t *testing.T, s *scenario, r *twinRun) {
	t.Helper()
	if r.packets > 0 {
		t.Errorf("%d packets arrived", r.packets)
	}
	err := r.err
	for i := range r.reports {
		rep := &r.reports[i]
		if rep.Generator == "serve" {
			continue
		}
		if rep.Error != "" { // who started it may not ask how it ended
			err = errors.Join(err, errors.New(rep.Error))
		}
		if took, limit := time.Duration(rep.Took)*time.Microsecond, patience(toldWithin); took > limit {
			t.Errorf("%s took %v to learn it, more than %v", rep.Generator, took, limit)
		}
	}
	switch {
	case err == nil && !succeeds(s):
		t.Error("the program noticed nothing")
	case err != nil && (succeeds(s) || !refused(s, err.Error()) || strings.Contains(err.Error(), "peer: ")):
		t.Errorf("the program was told: %v", err)
	}
}

// judgeBeyond holds a stated limit to what is stated: it passes, and the log
// names the rule that would have denied it.
func judgeBeyond(t *testing.T, s *scenario, r *twinRun, rows []record, reason string) {
	t.Helper()
	if r.err != nil {
		t.Errorf("better than documented (%s), or broken: %v", reason, r.err)
	}
	if !named(s, rows) {
		t.Errorf("%s: none of %d rows says that %s would deny it", reason, len(rows), denialID(s))
		return
	}
	t.Logf("shortfall: %s: %s", s.name, reason)
}

func show(t *testing.T, r *twinRun, rows []record) {
	t.Helper()
	t.Logf("error: %v", r.err)
	for i := range r.reports {
		t.Logf("report: %s pid %d in %d µs: %s", r.reports[i].Generator, r.reports[i].PID, r.reports[i].Took, r.reports[i].Error)
	}
	for i := range rows[:min(8, len(rows))] {
		t.Logf("row: rule %s action %s would %s: %v", rows[i].Rule, rows[i].Action, rows[i].Would, &rows[i])
	}
}
