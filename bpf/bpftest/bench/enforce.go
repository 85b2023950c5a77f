package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"snitch/bpf/bpftest"
)

// enforceTitle is that of the section which -enforce measures alone.
const enforceTitle = "Enforcement"

// The sizes that the project's aims are about.
const (
	deniedNetworks = 10_000
	reloadedRules  = 10_000
)

// enforceBenchmarks are of single parts.
var enforceBenchmarks = []goBenchmark{
	{"snitch/bpf", "^BenchmarkVerdictHooks$", "0.5s", "", hookRow},
	{"snitch/enforce/verdict", "^BenchmarkKernelLookUp$", "0.5s", "", lookUpRow},
	{"snitch/enforce/verdict", "^BenchmarkHold$", "500x", "", holdRow},
	{"snitch/enforce/nft", "^BenchmarkHold$", "500x", "", queueRow},
	{"snitch/enforce/verdict", "^BenchmarkSet$", "5x", "", setRow},
}

// hookRow takes off what the counting itself costs: an empty program beside.
func hookRow(name string, v map[string]string) []string {
	_, hook, _ := strings.Cut(name, "/")
	run, _ := strconv.ParseFloat(v["ns/run"], 64)
	nothing, _ := strconv.ParseFloat(v["ns/nothing"], 64)
	aim := map[string]string{"connect": "≤ 200 ns", "egress": "≤ 40 ns", "ingress": "≤ 40 ns"}[hook]
	if aim == "" {
		aim = "–"
	}
	return []string{"hook " + hook, "decided by the tables", fmt.Sprintf("%.0f ns (%.0f, an empty program %.0f)", run-nothing, run, nothing), aim}
}

func lookUpRow(name string, v map[string]string) []string {
	_, rest, _ := strings.Cut(name, "/")
	where, n, _ := strings.Cut(rest, "/")
	title := "look-up in the tables of the kernel"
	if where == "remembered" {
		title = "the same, remembered by the processor"
	}
	return []string{title, n + " networks", v["ns/look-up"] + " ns", "–"}
}

func holdRow(name string, v map[string]string) []string {
	_, what, _ := strings.Cut(name, "/")
	answer := ""
	if v["answer-p50-µs"] != "" {
		answer = fmt.Sprintf("; answered after p50 %s µs, p99 %s µs", v["answer-p50-µs"], v["answer-p99-µs"])
	}
	return []string{"TCP connect, " + what, holdBy(what, "SYN held by the cgroup programs"), fmt.Sprintf("p50 %s µs, p99 %s µs%s", v["p50-µs"], v["p99-µs"], answer), holdAim(what)}
}

func queueRow(name string, v map[string]string) []string {
	_, what, _ := strings.Cut(name, "/")
	return []string{"TCP connect, " + what, holdBy(what, "SYN held by NFQUEUE, answered at once"), fmt.Sprintf("p50 %s µs, p99 %s µs", v["p50-µs"], v["p99-µs"]), holdAim(what)}
}

func holdBy(what, how string) string {
	if what == "base" {
		return "not held"
	}
	return how
}

func holdAim(what string) string {
	if what == "base" {
		return "–"
	}
	return "p50 ≤ 80 µs, p99 ≤ 500 µs"
}

func setRow(_ string, v map[string]string) []string {
	ns, _ := strconv.ParseFloat(v["ns/op"], 64)
	return []string{"tables to the kernel, flip", "10000 rules, 100 classes", fmt.Sprintf("%.0f ms", ns/1e6), "–"}
}

// enforce measures what denying costs: its parts, rates under a daemon that
// denies in the cgroup of the benchmark, and reloads.
func (b *bench) enforce(doc *document) (err error) {
	before := loadAverage()
	table := [][]string{{"what", "of", "result", "aim"}}
	place, err := b.newEnforcePlace()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, place.close()) }()
	for _, part := range []func() ([][]string, error){
		func() ([][]string, error) { return rows(enforceBenchmarks) },
		func() ([][]string, error) { return b.deniedRates(place) },
		func() ([][]string, error) { return b.reloads(place) },
	} {
		found, err := part()
		if err != nil {
			return err
		}
		table = append(table, found...)
	}
	doc.section(enforceTitle, fmt.Sprintf("`make bench-enforce`; load average %s before and %s after. Hooks by the kernel's own clock, less what an empty program costs "+
		"beside it. Rates are medians of %d pairs of runs of %v, with a daemon that denies %d networks, holds the start of programs and lets these through by rules about "+
		"their path, and without one. A held SYN goes out with TCP's next one, a tick or two of the kernel's clock after the first: that misses the aim, however soon the answer "+
		"was there. A queue meets it; the daemon does not use one.", before, loadAverage(), b.pairs, b.length, deniedNetworks))
	doc.table(table)
	return nil
}

// enforcePlace is a file system of its own, so that only its programs are held
// at their start, and a configuration.
type enforcePlace struct {
	b       *bench
	dir     string // of programs
	rules   string
	config  string
	traffic string // that the benchmark had
	runs    int
}

func (b *bench) newEnforcePlace() (*enforcePlace, error) {
	p := &enforcePlace{b: b, dir: filepath.Join(b.dir, "held"), rules: filepath.Join(b.dir, "rules"), config: filepath.Join(b.dir, "config.yaml"),
		traffic: b.traffic, runs: b.runs}
	if err := errors.Join(os.Mkdir(p.dir, 0o755), os.Mkdir(p.rules, 0o755)); err != nil {
		return nil, err
	}
	if err := unix.Mount("snitch-bench", p.dir, "tmpfs", 0, "mode=755"); err != nil {
		return nil, fmt.Errorf("mount place for programs: %w", err)
	}
	b.traffic, b.programs = filepath.Join(p.dir, "traffic"), p.dir
	image, err := os.ReadFile(p.traffic)
	if err == nil {
		err = os.WriteFile(b.traffic, image, 0o755)
	}
	if err == nil {
		err = os.WriteFile(p.config, fmt.Appendf(nil, "version: 1\nenforce: {fail: open, hold: {programs: %s}}\n", p.dir), 0o600)
	}
	if err != nil {
		return nil, errors.Join(err, p.close())
	}
	return p, nil
}

// close gives the benchmark back what it had. A daemon that ended badly may
// have left its programs.
func (p *enforcePlace) close() error {
	var left error
	for i := p.runs; i < p.b.runs; i++ {
		if out, err := exec.Command(p.b.snitch, "enforce", "panic", "--state", p.b.state(i+1)).CombinedOutput(); err != nil {
			left = errors.Join(left, fmt.Errorf("remove what denies: %w: %s", err, out))
		}
	}
	p.b.traffic, p.b.programs = p.traffic, p.b.dir
	return errors.Join(left, unix.Unmount(p.dir, unix.MNT_DETACH))
}

func (p *enforcePlace) flags() []string {
	return []string{"--mode", "enforce", "--rules", p.rules, "--config", p.config}
}

// write replaces the rules in one step.
func (p *enforcePlace) write(text string) error {
	file := filepath.Join(p.rules, "rules.yaml")
	if err := os.WriteFile(file+".new", []byte(text), 0o600); err != nil {
		return err
	}
	return os.Rename(file+".new", file)
}

// deniedRates are of what rules allow, under a daemon that denies the rest.
func (b *bench) deniedRates(p *enforcePlace) ([][]string, error) {
	list := slices.DeleteFunc(workloads(), func(w workload) bool { return w.what == "tcp-bulk" })
	for i := range list {
		list[i].aim = 0
	}
	if err := p.write(p.networks()); err != nil {
		return nil, err
	}
	base, attached, err := b.sweeps(list, p.flags()...)
	if err != nil {
		return nil, err
	}
	var found [][]string
	for i, w := range list {
		ratios := ratiosOf(attached[i], base[i])
		more := 1e6/median(attached[i]) - 1e6/median(base[i])
		what := "with verdicts"
		if w.what == "exec" {
			what = "held at its start"
		}
		found = append(found, []string{w.title, what, fmt.Sprintf("%.0f of %.0f %s, **%.3f** (%.2f–%.2f), %.2f µs more each", median(attached[i]), median(base[i]), w.unit,
			median(ratios), slices.Min(ratios), slices.Max(ratios), more), "–"})
	}
	return found, nil
}

// networks denies a list of them, and the workloads everything but their peers.
func (p *enforcePlace) networks() string {
	var t strings.Builder
	fmt.Fprintf(&t, `version: 1
confine:
  - {id: locked, process: {exe: "%[1]s/**"}}
rules:
  - {id: peers, action: allow, process: {exe: "%[1]s/**"}, to: {host: [10.77.0.0/24, 127.0.0.0/8]}, direction: [out, in, listen]}
  - {id: networks, action: deny, to: {host: "@networks"}}
lists:
  networks: [`, p.dir)
	for i := range deniedNetworks {
		fmt.Fprintf(&t, "11.%d.%d.0/24,", i>>8, i&255)
	}
	return t.String() + "]\n"
}

// reloads measures how long it takes from a changed file to the kernel.
func (b *bench) reloads(p *enforcePlace) ([][]string, error) {
	if err := p.write(p.many(0)); err != nil {
		return nil, err
	}
	var took, compiled []float64
	err := b.attached(func(d *bpftest.Daemon) error {
		for n := range 3 {
			took1, compiled1, err := p.reload(d, n+1)
			if err != nil {
				return err
			}
			took, compiled = append(took, took1), append(compiled, compiled1)
		}
		return nil
	}, p.flags()...)
	if err != nil {
		return nil, err
	}
	return [][]string{{"reload, from the changed file to the kernel", strconv.Itoa(reloadedRules) + " rules",
		fmt.Sprintf("%.0f ms, of which %.0f ms to compile (medians of 3, seen every 50 ms)", median(took), median(compiled)), "–"}}, nil
}

// many are the rules of a hundred programs.
func (p *enforcePlace) many(turn int) string {
	var t strings.Builder
	fmt.Fprintf(&t, "version: 1\nrules:\n  - {id: turn, action: deny, process: {exe: /opt/turn}, to: {port: %d}}\n", 1+turn)
	for i := range reloadedRules - 1 {
		fmt.Fprintf(&t, "  - {id: r%05d, action: deny, process: {exe: /opt/p%d}, to: {host: 11.%d.%d.0/24, port: %d}}\n", i, i%100, i>>8, i&255, 1000+i)
	}
	return t.String()
}

// reload changes a rule and waits until the kernel has it.
func (p *enforcePlace) reload(d *bpftest.Daemon, turn int) (took, compiled float64, err error) {
	before, err := ask(d)
	if err != nil {
		return 0, 0, err
	}
	began := time.Now()
	if err := p.write(p.many(turn)); err != nil {
		return 0, 0, err
	}
	if err := syscall.Kill(d.PID(), syscall.SIGHUP); err != nil {
		return 0, 0, err
	}
	for deadline := began.Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		now, err := ask(d)
		if err != nil {
			return 0, 0, err
		}
		if now.Policy.Error != "" || now.Enforce.Problem != "" {
			return 0, 0, fmt.Errorf("reload: %s%s", now.Policy.Error, now.Enforce.Problem)
		}
		if now.Enforce.Backend.Generation != before.Enforce.Backend.Generation {
			return float64(time.Since(began).Milliseconds()), 1000 * now.Policy.LoadTime, nil
		}
	}
	return 0, 0, errors.New("the kernel never had the new rules")
}
