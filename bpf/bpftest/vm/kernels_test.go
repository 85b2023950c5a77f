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
	"testing"
	"time"

	"snitch/bpf/features"
)

var (
	kernels = flag.String("kernels", strings.Join(supported, " "), "kernels to boot")
	suites  = flag.String("suites", "", "suites or packages of the module to run instead of all suites")
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

// limit is what one suite may take on one emulated kernel.
const limit = 15 * time.Minute

func TestKernels(t *testing.T) {
	b := newBuilder(t)
	found := &tables{}
	t.Cleanup(func() { found.publish(t, b.root) })
	for _, name := range strings.Fields(*kernels) {
		for _, s := range chosen(strings.Fields(*suites)) {
			if !s.runsOn(name) {
				continue
			}
			files := b.files(t, &s, machine(name))
			t.Run(name+"/"+s.name, func(t *testing.T) {
				t.Parallel()
				runSuite(t, name, &s, files, found)
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

// runSuite boots the kernel with the suite. The last lines of the output are
// repeated when it fails; what the tests say of themselves is for the tables.
func runSuite(t *testing.T, kernel string, s *suite, files map[string]string, found *tables) {
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	var output bytes.Buffer
	log := &lineLog{t: t}
	m := Machine{Kernel: kernel, Files: files, Env: slices.Concat(environment, without[kernel]), Cmdline: s.cmdline(kernel),
		Memory: 1536, Output: io.MultiWriter(log, &output)}
	start := time.Now()
	status, err := m.Run(ctx, "sh", "-c", s.script(strings.Fields(*flags)))
	log.flush()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("kernel %s, %s: status %d after %v", kernel, s.name, status, time.Since(start).Round(time.Second))
	if status != 0 {
		t.Errorf("the tests of %s fail on kernel %s", s.name, kernel)
	}
	o := &outcome{}
	for line := range strings.Lines(output.String()) {
		line = strings.TrimRight(line, "\r\n")
		o.add(line)
		found.read(t, kernel, s, line)
	}
	found.keep(kernel, s, o)
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
