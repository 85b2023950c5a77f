package features

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/rlimit"
)

// known remembers conclusive answers: they are facts of the running kernel,
// which a process cannot outlive.
var known struct {
	mu      sync.Mutex
	results [featureCount]Result // guarded by mu
}

// Detect asks for every feature. It takes some tens of milliseconds the first
// time and starts three processes of a few instructions each, so a process
// that answers fanotify permission events calls it before it marks anything.
// Whatever goes wrong is an unknown in the report, never an error.
func Detect(ctx context.Context) Report {
	known.mu.Lock()
	defer known.mu.Unlock()
	start := time.Now()
	report := Report{Host: readHost()}
	if !allKnown() {
		remember(probeHere(ctx))
	}
	for _, f := range All() {
		r := known.results[f]
		r.Feature = f
		if r.Answer != Yes {
			r.Consequence = facts[f].consequence
		}
		report.Results = append(report.Results, r)
	}
	report.Took = time.Since(start)
	return report
}

// allKnown is called with known.mu held, as is remember.
func allKnown() bool {
	for _, f := range All() {
		if known.results[f].Answer == Unknown {
			return false
		}
	}
	return true
}

func remember(results []Result) {
	for _, r := range results {
		if known.results[r.Feature].Answer == Unknown {
			known.results[r.Feature] = r
		}
	}
}

// probeHere probes with this host's cgroups. Without them their hooks stay
// unknown, the rest does not.
func probeHere(ctx context.Context) []Result {
	root, err := OpenCgroupRoot()
	if err != nil {
		return probeAll(ctx, "")
	}
	defer root.Close()
	return probeAll(ctx, root.Path)
}

func probeAll(ctx context.Context, cgroup2 string) []Result {
	if err := rlimit.RemoveMemlock(); err != nil {
		return allUnknown(fmt.Errorf("lift the limit on locked memory: %w", err))
	}
	results := append(testRun(), kernelTypes())
	err := inLab(cgroup2, func(l *lab) error {
		found, err := runExperiment(ctx, l)
		results = append(results, found...)
		return err
	})
	if err != nil {
		results = append(results, allUnknown(err)...) // what has an answer keeps it
	}
	return results
}

func allUnknown(err error) []Result {
	var results []Result
	for _, f := range All() {
		results = append(results, Result{Feature: f, Reason: err.Error()})
	}
	return results
}

// kernelTypes reads the kernel's own description of its types.
func kernelTypes() Result {
	spec, err := btf.LoadKernelSpec()
	if err != nil {
		return refused(BTF, err)
	}
	var sock *btf.Struct
	if err := spec.TypeByName("sock", &sock); err != nil {
		return refused(BTF, errors.Join(err, errors.New("it does not know struct sock")))
	}
	return Result{Feature: BTF, Answer: Yes}
}
