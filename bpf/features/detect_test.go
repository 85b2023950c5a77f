package features

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/google/go-cmp/cmp"
)

var printReport = flag.Bool("report", false, "print the report of Detect as one line of JSON")

func needRoot(t *testing.T) {
	t.Helper()
	if !privileged() {
		t.Skip("missing feature: CAP_SYS_ADMIN")
	}
}

// Root on a kernel with BTF gets an answer to every question, within the time
// that a start may take, and nothing is left behind.
func TestDetect(t *testing.T) {
	needRoot(t)
	before := openFiles(t)
	report := Detect(t.Context())
	t.Logf("%+v, took %v", report.Host, report.Took)
	for _, r := range report.Results {
		t.Log(r)
		if r.Answer == Unknown {
			t.Errorf("%v: no answer", r.Feature)
		}
		if (r.Answer == Yes) != (r.Consequence == "") {
			t.Errorf("%v: the consequence is %q", r, r.Consequence)
		}
		if (r.Answer == Yes) != (r.Reason == "") {
			t.Errorf("%v: the reason is %q", r, r.Reason)
		}
	}
	tier, why := report.Tier()
	t.Log("tier", tier, why)
	if tier == TierInvalid {
		t.Error("no tier runs on this kernel")
	}
	if *printReport {
		line, err := json.Marshal(report)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Printf("report: %s\n", line)
	}
	if left, _ := filepath.Glob(filepath.Join(report.Cgroup2, "snitch-probe-*")); len(left) != 0 {
		t.Errorf("cgroups left behind: %v", left)
	}
	if diff := cmp.Diff(before, openFiles(t)); diff != "" {
		t.Errorf("descriptors left open: %s", diff)
	}
}

// A second question is answered from memory.
func TestDetectRemembers(t *testing.T) {
	needRoot(t)
	first := Detect(t.Context())
	known.mu.Lock()
	kept := known.results[BTF]
	known.results[BTF].Reason = "of memory"
	known.mu.Unlock()
	second := Detect(t.Context())
	known.mu.Lock()
	known.results[BTF] = kept
	known.mu.Unlock()
	at := slices.IndexFunc(second.Results, func(r Result) bool { return r.Feature == BTF })
	if second.Results[at].Reason != "of memory" {
		t.Error("it was asked again")
	}
	second.Results[at].Reason = kept.Reason
	if diff := cmp.Diff(first.Results, second.Results); diff != "" {
		t.Errorf("the second report differs: %s", diff)
	}
}

func TestReportIsJSON(t *testing.T) {
	want := Report{
		Host:    Host{Kernel: "6.1.0", Machine: "x86_64", Lockdown: "none", Cgroup2: "/sys/fs/cgroup"},
		Results: []Result{{FexitSend, No, "locked", "no fexit tier"}, {LSM, Unknown, "", ""}},
		Took:    time.Second,
	}
	text, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var got Report
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// A hook that is attached and that nothing passes is a no; one that nothing
// could pass, because the traffic failed, is unknown.
func TestHookThatNeverRuns(t *testing.T) {
	needRoot(t)
	bind6 := hook{feature: LSM, kind: ebpf.CGroupSock, attach: ebpf.AttachCGroupInet6PostBind, result: 1}
	broken := script{{"dup", 1 << 20, [6]uint64{}}}
	for _, test := range []struct {
		name   string
		script script
		want   Answer
	}{
		{"traffic passes", traffic(), No},
		{"traffic fails", broken, Unknown},
	} {
		t.Run(test.name, func(t *testing.T) {
			inTestLab(t, func(l *lab) error {
				e, err := newExperiment(l)
				if err != nil {
					return err
				}
				e.set(bind6)
				e.judge(l.runOnce(t.Context(), "script", test.script), nil)
				if len(e.results) != 1 || e.results[0].Answer != test.want {
					t.Errorf("got %v, want one %v", e.results, test.want)
				}
				return e.close()
			})
		})
	}
}

func TestWithoutCgroup2(t *testing.T) {
	needRoot(t)
	for _, r := range probeAll(t.Context(), "") {
		cgroup := r.Feature >= CgroupConnect && r.Feature <= NetnsCookie
		if cgroup && (r.Answer != Unknown || r.Reason != "cgroup v2 is not mounted") {
			t.Errorf("%v", r)
		}
		if r.Feature == StateTracepoint && r.Answer != Yes {
			t.Errorf("%v", r)
		}
	}
}

func inTestLab(t *testing.T, f func(*lab) error) {
	t.Helper()
	if err := inLab(readHost().Cgroup2, f); err != nil {
		t.Fatal(err)
	}
}

func openFiles(t *testing.T) map[string]int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	open := map[string]int{}
	for _, entry := range entries {
		if target, err := os.Readlink("/proc/self/fd/" + entry.Name()); err == nil && target != "anon_inode:[eventpoll]" && target != "anon_inode:[eventfd]" {
			open[target]++
		}
	}
	return open
}

// The probes leave no thread of the process elsewhere: the first one would say
// for ever that the process is in a namespace that is gone.
func TestLabComesBack(t *testing.T) {
	needRoot(t)
	home, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	for range 16 {
		running.Go(func() {
			if err := inLab("", func(*lab) error { return nil }); err != nil {
				t.Error(err)
			}
		})
	}
	running.Wait()
	threads, err := filepath.Glob("/proc/self/task/*/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	for _, thread := range threads {
		if now, err := os.Readlink(thread); err == nil && now != home {
			t.Errorf("%s is %s, want %s", thread, now, home)
		}
	}
}
