//go:build vm

package vm

import (
	"bytes"
	"context"
	"flag"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"snitch/bpf/features"
)

var (
	kernels = flag.String("kernels", strings.Join(supported, " "), "kernels to boot")
	suites  = flag.String("suites", "", "packages to test instead of all of them, relative to the module")
	flags   = flag.String("flags", "", "more flags for the tests")
)

// supported are the kernels of the product's promise, and the tier that each
// must run: a kernel that falls back further than it has to fails.
var (
	supported = []string{"5.10", "6.1", "6.12", "7"}
	best      = map[string]features.Tier{
		"5.10":       features.TierCounters,
		"6.1":        features.TierFexit,
		"6.12":       features.TierReference,
		"7":          features.TierReference,
		"6.1-arm64":  features.TierCounters, // no trampolines before 6.4
		"6.12-arm64": features.TierReference,
	}
)

// without excuses what Debian's kernels are built without: they do not show
// their configuration.
var without = map[string][]string{"5.10": {"SNITCH_MISSING=mptcp,ktls"}}

// allSuites are the packages whose tests must pass on every kernel.
var allSuites = []string{"bpf/features", "bpf", "bpf/bpftest/scenario"}

// limit is what one suite may take on one emulated kernel.
const limit = 10 * time.Minute

func TestKernels(t *testing.T) {
	root := moduleRoot(t)
	chosen := allSuites
	if *suites != "" {
		chosen = strings.Fields(*suites)
	}
	found := &tables{}
	t.Cleanup(func() { found.publish(t, root) })
	for _, name := range strings.Fields(*kernels) {
		for _, dir := range chosen {
			s := buildSuite(t, root, dir, machine(name))
			t.Run(name+"/"+dir, func(t *testing.T) {
				t.Parallel()
				runSuite(t, name, s, found)
			})
		}
	}
}

// machine is Go's name for what a kernel runs on.
func machine(kernel string) string {
	if strings.HasSuffix(kernel, "-arm64") {
		return "arm64"
	}
	return "amd64"
}

// suite is a package's tests as a static program, with what they need.
type suite struct {
	dir   string
	files map[string]string
	env   []string
	flags []string
}

func buildSuite(t *testing.T, root, dir, arch string) suite {
	t.Helper()
	into := t.TempDir()
	s := suite{
		dir:   dir,
		files: map[string]string{filepath.Join(dir, "the.test"): filepath.Join(into, "the.test")},
		// emulation is slow, and what is missing must be excused by name
		env: []string{"SNITCH_PATIENCE=10", "SNITCH_CI=1"},
	}
	compile(t, root, arch, "test", "-c", "-o", filepath.Join(into, "the.test"), "./"+dir)
	if data := filepath.Join(root, dir, "testdata"); isDir(data) {
		s.files[filepath.Join(dir, "testdata")] = data
	}
	if dir != "bpf/bpftest/scenario" {
		return s
	}
	// The others hold the generators against each other, or need hours here.
	s.flags = []string{"-test.run=^Test(Scenarios|Existing|Conservation|Filter)$"}
	for _, program := range []struct{ variable, name, dir string }{
		{"SNITCH_BIN", "snitch", "./cmd/snitch"},
		{"SNITCH_TRAFFIC", "traffic", "./bpf/bpftest/traffic"},
	} {
		built := filepath.Join(into, program.name)
		compile(t, root, arch, "build", "-ldflags=-s -w", "-o", built, program.dir)
		s.files["/usr/local/bin/"+program.name] = built
		s.env = append(s.env, program.variable+"=/usr/local/bin/"+program.name)
	}
	return s
}

func compile(t *testing.T, root, arch string, args ...string) {
	t.Helper()
	build := exec.Command("go", args...)
	build.Dir = root
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOARCH="+arch)
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// runSuite boots the kernel with the suite. The last lines of the output are
// repeated when it fails; what begins with "report:" or "shortfall:" is for the
// tables.
func runSuite(t *testing.T, kernel string, s suite, found *tables) {
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	var output bytes.Buffer
	log := &lineLog{t: t}
	m := Machine{Kernel: kernel, Files: s.files, Dir: s.dir, Env: slices.Concat(s.env, without[kernel]),
		Memory: 1536, Output: io.MultiWriter(log, &output)}
	argv := slices.Concat([]string{"./the.test", "-test.v", "-test.timeout=" + limit.String()}, s.flags, strings.Fields(*flags))
	if s.dir == "bpf/features" {
		argv = append(argv, "-report")
	}
	start := time.Now()
	status, err := m.Run(ctx, argv...)
	log.flush()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("kernel %s, %s: status %d after %v", kernel, s.dir, status, time.Since(start).Round(time.Second))
	if status != 0 {
		t.Errorf("the tests of %s fail on kernel %s", s.dir, kernel)
	}
	for line := range strings.Lines(output.String()) {
		found.add(t, kernel, strings.TrimSpace(line))
	}
}

// tables gathers what the guests print.
type tables struct {
	mu         sync.Mutex
	reports    map[string]features.Report // guarded by mu
	shortfalls map[string][]string        // guarded by mu
}

func moduleRoot(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Dir(strings.TrimSpace(string(out)))
}

func isDir(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.IsDir()
}

// complete reports whether every supported kernel has been asked.
func (f *tables) complete() bool {
	return !slices.ContainsFunc(supported, func(k string) bool { _, ok := f.reports[k]; return !ok })
}
