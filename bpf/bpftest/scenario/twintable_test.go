package scenario

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"

	"snitch/bpf/features"
)

// refusesFamilies reports whether BPF LSM runs here.
var refusesFamilies = sync.OnceValue(func() bool { return features.Detect(context.Background()).Has(features.LSM) })

// beyond says why no hook of a cgroup stops a scenario, "" for those that are
// stopped. docs/enforcement.md has the same table.
func beyond(s *scenario) string {
	if refusesFamilies() {
		return "" // such sockets are not made
	}
	switch {
	case strings.HasPrefix(s.name, "packet-"):
		return "AF_PACKET: its frames pass no hook of a cgroup"
	case strings.HasPrefix(s.name, "xdp-"):
		return "AF_XDP: its frames pass no hook of a cgroup"
	case strings.HasPrefix(s.name, "vsock-"):
		return "AF_VSOCK: not a protocol of IP"
	}
	return ""
}

var (
	wanted = regexp.MustCompile(`-want \w+`)
	often  = regexp.MustCompile(`^many -count \d+`)
)

// denied is the twin of s whose program may not do what it does.
func denied(s scenario) scenario {
	s.args = wanted.ReplaceAllString(s.args, "-want denied")
	s.args = often.ReplaceAllString(s.args, "many -count 40")
	return s
}

// succeeds: these programs are told to be refused, and say so when they are not.
func succeeds(s *scenario) bool { return strings.HasPrefix(s.args, "attempt ") }

// refusal is what a program must be told: an error of the call, as C and Go
// programs print it. A short one goes on to write and dies of that.
var refusal = regexp.MustCompile(`operation not permitted|connection refused|software caused connection abort`)

func refused(s *scenario, text string) bool {
	return refusal.MatchString(text) || strings.HasPrefix(s.args, "short ") && strings.Contains(text, "broken pipe")
}

// toldWithin is for the whole program behind its start: a refusal takes
// microseconds, a held connect two seconds at most, a time-out a minute or more.
const toldWithin = 20 * time.Second

// culprit is the condition that names the program of a scenario, in the way in
// which it can be named.
func (l *lab) culprit(s *scenario) (string, error) {
	dir := filepath.Join(l.dir, s.name)
	switch name := strings.TrimSuffix(s.name, "-short"); {
	case name == "memfd":
		return "kind: memfd", nil
	case name == "unlinked":
		return l.marked("gone")
	case name == "deleted" || name == "container":
		return l.marked(name)
	case strings.HasPrefix(name, "script-explicit"):
		return "script: " + filepath.Join(dir, "run.py"), nil
	case name == "script":
		return "script: " + filepath.Join(dir, "run.sh"), nil
	case name == "orphan":
		return "exe: " + filepath.Join(dir, "middle"), nil
	case strings.HasPrefix(name, "name-") || strings.HasPrefix(name, "short-lived"):
		return `exe: "` + dir + `/**"`, nil
	}
	return "exe: " + l.traffic, nil
}

// marked is the generators' file with something behind its end.
func (l *lab) marked(mark string) (string, error) {
	image, err := os.ReadFile(l.traffic)
	return fmt.Sprintf("sha256: %x", sha256.Sum256(append(image, mark...))), err
}

// denial is the rule of one twin.
func (l *lab) denial(s *scenario) (string, error) {
	who, err := l.culprit(s)
	return fmt.Sprintf("  - {id: %s, action: deny, reason: the denied twin, process: {cgroup: %s/%s, %s}}\n", denialID(s), l.cgroup.Path(), s.name, who), err
}

func denialID(s *scenario) string { return "no-" + s.name }

// confinement is what denies one twin by granting nothing.
func (l *lab) confinement(s *scenario) (string, error) {
	who, err := l.culprit(s)
	return fmt.Sprintf("  - {id: %s, reason: the confined twin, process: {cgroup: %s/%s, %s}}\n", denialID(s), l.cgroup.Path(), s.name, who), err
}
