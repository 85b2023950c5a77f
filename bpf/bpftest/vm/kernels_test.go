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
		"5.10": features.TierCounters,
		"6.1":  features.TierFexit,
		"6.12": features.TierReference,
		"7":    features.TierReference,
	}
)

// allSuites are the packages whose tests must pass on every kernel. Those that
// are not there yet have no tests to run.
var allSuites = []string{"bpf/features", "bpf", "bpf/bpftest/scenario"}

// limit is what one suite may take on one emulated kernel.
const limit = 10 * time.Minute

func TestKernels(t *testing.T) {
	root := moduleRoot(t)
	chosen := allSuites
	if *suites != "" {
		chosen = strings.Fields(*suites)
	}
	var built []suite
	for _, dir := range chosen {
		if s, ok := buildSuite(t, root, dir); ok {
			built = append(built, s)
		}
	}
	found := &tables{}
	t.Cleanup(func() { found.publish(t, root) })
	for _, name := range strings.Fields(*kernels) {
		for _, s := range built {
			t.Run(name+"/"+s.dir, func(t *testing.T) {
				t.Parallel()
				runSuite(t, name, s, found)
			})
		}
	}
}

// suite is a package's tests as a static program.
type suite struct {
	dir    string
	binary string
	files  map[string]string
}

func buildSuite(t *testing.T, root, dir string) (suite, bool) {
	t.Helper()
	if tests, _ := filepath.Glob(filepath.Join(root, dir, "*_test.go")); len(tests) == 0 {
		t.Logf("%s has no tests", dir)
		return suite{}, false
	}
	s := suite{dir: dir, binary: filepath.Join(t.TempDir(), filepath.Base(dir)+".test")}
	build := exec.Command("go", "test", "-c", "-o", s.binary, "./"+dir)
	build.Dir = root
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the tests of %s: %v\n%s", dir, err, out)
	}
	s.files = map[string]string{filepath.Join(dir, "the.test"): s.binary}
	if data := filepath.Join(root, dir, "testdata"); isDir(data) {
		s.files[filepath.Join(dir, "testdata")] = data
	}
	return s, true
}

// runSuite boots the kernel with the suite. The last lines of the output are
// repeated when it fails; what begins with "report:" or "shortfall:" is for the
// tables.
func runSuite(t *testing.T, kernel string, s suite, found *tables) {
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	var output bytes.Buffer
	log := &lineLog{t: t}
	m := Machine{Kernel: kernel, Files: s.files, Dir: s.dir, Output: io.MultiWriter(log, &output)}
	argv := append([]string{"./the.test", "-test.v", "-test.timeout=" + limit.String()}, strings.Fields(*flags)...)
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
