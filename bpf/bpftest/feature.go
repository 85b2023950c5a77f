package bpftest

import (
	"bufio"
	"compress/gzip"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Feature is something of the kernel that a test needs, by name. The probe
// runs the thing; Since and Config are the independent witnesses that say
// whether it ought to be there.
type Feature struct {
	Name   string
	Since  string // first kernel release that has it, "" if older than the floor
	Until  string // first release that no longer has it
	Config string // its configuration symbol, "" if it cannot be left out
	Probe  func() error
}

// Missing returns why the kernel lacks f, or nil.
func (f *Feature) Missing() error {
	if err := f.Probe(); err != nil {
		return fmt.Errorf("kernel feature %s is missing: %w", f.Name, err)
	}
	return nil
}

// Need skips the test when the kernel lacks one of the features, naming it.
// In CI it fails instead when the kernel ought to have it.
func Need(tb testing.TB, features ...*Feature) {
	tb.Helper()
	for _, f := range features {
		err := f.Missing()
		if err == nil {
			continue
		}
		if why := f.expectedMissing(); inCI() && why == "" {
			tb.Fatalf("unexpected: %v (release, configuration and SNITCH_MISSING all say it should be here)", err)
		} else if why != "" {
			err = fmt.Errorf("%w; expected: %s", err, why)
		}
		tb.Skip(err)
	}
}

func inCI() bool { return os.Getenv("SNITCH_CI") == "1" || os.Getenv("CI") == "true" }

// expectedMissing says what explains that f is not there, "" for nothing.
// SNITCH_MISSING lists names for kernels that do not show their configuration.
func (f *Feature) expectedMissing() string {
	if slices.Contains(strings.Split(os.Getenv("SNITCH_MISSING"), ","), f.Name) {
		return "listed in SNITCH_MISSING"
	}
	var uts unix.Utsname
	if unix.Uname(&uts) == nil {
		release := unix.ByteSliceToString(uts.Release[:])
		if f.Since != "" && olderThan(release, f.Since) {
			return "new in " + f.Since
		}
		if f.Until != "" && !olderThan(release, f.Until) {
			return "gone since " + f.Until
		}
	}
	if value, err := kernelConfig(f.Config); err == nil && value == "" {
		return f.Config + " is not set"
	}
	return ""
}

// olderThan compares major and minor numbers.
func olderThan(release, than string) bool {
	a, b := majorMinor(release), majorMinor(than)
	return slices.Compare(a[:], b[:]) < 0
}

func majorMinor(release string) [2]int {
	var v [2]int
	for i, part := range strings.SplitN(release, ".", 3)[:min(2, strings.Count(release, ".")+1)] {
		digits := strings.IndexFunc(part, func(r rune) bool { return r < '0' || r > '9' })
		if digits >= 0 {
			part = part[:digits]
		}
		v[i], _ = strconv.Atoi(part) // what is no number counts as 0
	}
	return v
}

var errNoConfig = errors.New("the kernel does not show its configuration")

// kernelConfig returns the value of a symbol, "" when it is not set.
func kernelConfig(symbol string) (string, error) {
	if symbol == "" {
		return "", errNoConfig
	}
	f, err := os.Open("/proc/config.gz")
	if err != nil {
		return "", errNoConfig
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return "", fmt.Errorf("read kernel configuration: %w", err)
	}
	s := bufio.NewScanner(z)
	for s.Scan() {
		if value, ok := strings.CutPrefix(s.Text(), symbol+"="); ok {
			return value, nil
		}
	}
	return "", s.Err()
}
