//go:build vm

package vm

import (
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// suite is what one boot runs, one program after the other.
type suite struct {
	name     string
	programs []program
	kernels  []string          // that run it; nil: all
	lsm      map[string]string // by kernel: the security modules to boot with
	named    bool              // it runs only where it is named
}

// program is the tests of a package.
type program struct {
	dir   string
	run   string // those that are run; "": all
	flags []string
}

const scenarioDir = "bpf/bpftest/scenario"

// With BPF LSM, and without it.
const (
	withLSM    = "lockdown,yama,apparmor,bpf"
	withoutLSM = "lockdown,yama,apparmor"
)

// allSuites must pass on every kernel; that of what denies has not been through
// all of them, so it runs when it is asked for. Tests that are left out hold the
// generators against each other, measure, or need hours on an emulated machine.
func allSuites() []suite {
	return []suite{
		{name: "bpf/features", programs: []program{{dir: "bpf/features", flags: []string{"-report"}}}},
		{name: "bpf", programs: []program{{dir: "bpf"}}},
		{name: scenarioDir, programs: []program{{dir: scenarioDir, run: "^Test(Scenarios|Existing|Conservation|Filter)$"}}},
		{name: "enforce", named: true, programs: enforcing, lsm: map[string]string{"6.1": withoutLSM, "6.12": withLSM, "7": withLSM}},
		{name: "lockout", programs: []program{{dir: "bpf/bpftest/lockout"}}, kernels: []string{"6.12"}},
	}
}

var enforcing = []program{
	{dir: "enforce/verdict", flags: []string{"-test.short"},
		run: "^Test(DeniedAndAllowed|Confined|Cut|CutStaysInScope|PassedAndForked|FlipsLeakNothing|Inbound|HeldConnects|DaemonGoes|Upgrade|NewProgramsAreKnown|DigestsInTime)$"},
	{dir: "enforce/cut", run: "^TestCut"},
	{dir: "enforce/nft", run: "^Test(Denied|Refused|Heartbeat|Restored|Older|CgroupMadeAgain|Scope|NothingLeft|SourceRoutes|Shut|Hold)$"},
	{dir: "enforce/evasion", run: "^TestEvasion$/^(" + attempts + ")$"},
	{dir: scenarioDir, run: "^TestDeniedTwins$", flags: []string{"-test.short", "-only", "^(" + twins + ")$"}},
	{dir: "cmd/snitch", run: "^TestNftDenies$"},
}

// attempts are one or two for each hook that kernels differ in.
const attempts = "packet-socket|packet-denied|packet-confined|connect|datagram|fast-open|mapped|reconnect|segments|mptcp-subflow|translate|deleted|memfd|" +
	"rogue-resolver|raw-udp|raw-protocol|ping|source-route|routing-header|extension-headers|fragments|passed|forks|setns|held|" +
	"older-connections|older-of-the-dead|uring-linked|uring-direct|uring-message|uring-poll-thread|listen|new-programs-held"

// twins are one of each family and of each way to name a program.
const twins = "tcp-v4-write-read|tcp-v6-sendmsg-recvmsg|tcp-lo-write-read|tcp-fast-open-v[46]|tcp-v4-mapped|tcp-v4-uring-.*|mptcp|sctp|" +
	"udp-v4-sendto|udp-v6-sendmsg|udp-v4-connected|udp-gso|udp-multicast|udplite|icmp-.*|raw-253-v[46]|packet-.*|vsock-loopback|" +
	"refused-v4|silent|socket-passed|setns-between|container|unlinked|deleted|memfd|script|name-no-utf8|uid|orphan|short-lived"

func (s *suite) runsOn(kernel string) bool {
	return s.kernels == nil || slices.Contains(s.kernels, kernel)
}

// cmdline are the suite's words for a kernel.
func (s *suite) cmdline(kernel string) string {
	if list := s.lsm[kernel]; list != "" {
		return "lsm=" + list
	}
	return ""
}

// chosen are all suites, or those of a list; a name that is none is that of a
// package.
func chosen(names []string) []suite {
	all := allSuites()
	if len(names) == 0 {
		return slices.DeleteFunc(all, func(s suite) bool { return s.named })
	}
	var out []suite
	for _, name := range names {
		s := suite{name: name, programs: []program{{dir: name}}}
		if at := slices.IndexFunc(all, func(known suite) bool { return known.name == name }); at >= 0 {
			s = all[at]
		}
		out = append(out, s)
	}
	return out
}

// builder compiles each program once for each machine.
type builder struct {
	root, into string
	built      map[string]bool
}

func newBuilder(t *testing.T) *builder {
	t.Helper()
	return &builder{root: moduleRoot(t), into: t.TempDir(), built: map[string]bool{}}
}

// compile runs the Go command for a machine; its last argument is the package.
func (b *builder) compile(t *testing.T, arch, file string, args ...string) string {
	t.Helper()
	file = filepath.Join(b.into, arch, file)
	if b.built[file] {
		return file
	}
	command := exec.Command("go", slices.Concat(args[:len(args)-1], []string{"-o", file}, args[len(args)-1:])...)
	command.Dir = b.root
	command.Env = append(os.Environ(), "CGO_ENABLED=0", "GOARCH="+arch)
	if out, err := command.CombinedOutput(); err != nil {
		t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	b.built[file] = true
	return file
}

// files are what a suite needs in a guest: its programs as static files, what
// they read, snitch and the generators.
func (b *builder) files(t *testing.T, s *suite, arch string) map[string]string {
	t.Helper()
	files := map[string]string{}
	for _, p := range s.programs {
		args := []string{"test", "-c", "-tags=vm", "./" + p.dir}
		if strings.HasPrefix(p.dir, "enforce/") { // they copy themselves into the guest's memory, many times
			args = slices.Insert(args, 3, "-ldflags=-s -w")
		}
		files[filepath.Join(p.dir, "the.test")] = b.compile(t, arch, strings.ReplaceAll(p.dir, "/", "-"), args...)
		if data := filepath.Join(b.root, p.dir, "testdata"); isDir(data) && p.dir != "cmd/snitch" { // its stories are not told here
			files[filepath.Join(p.dir, "testdata")] = data
		}
		if strings.HasPrefix(p.dir, "bpf/bpftest/") {
			maps.Copy(files, map[string]string{
				"/usr/local/bin/snitch":  b.compile(t, arch, "snitch", "build", "-ldflags=-s -w", "./cmd/snitch"),
				"/usr/local/bin/traffic": b.compile(t, arch, "traffic", "build", "-ldflags=-s -w", "./bpf/bpftest/traffic"),
			})
		}
	}
	return files
}

// environment: emulation is slow, and what is missing must be excused by name.
var environment = []string{"SNITCH_PATIENCE=10", "SNITCH_CI=1", "SNITCH_BIN=/usr/local/bin/snitch", "SNITCH_TRAFFIC=/usr/local/bin/traffic"}

// script runs all programs, and fails when one of them did.
func (s *suite) script(more []string) string {
	lines := []string{"failed=0", "modprobe -q tun", "echo \"lsm: $(cat /sys/kernel/security/lsm)\""}
	for _, p := range s.programs {
		words := []string{"./the.test", "-test.v", "-test.timeout=" + limit.String()}
		if p.run != "" {
			words = append(words, "-test.run="+p.run)
		}
		words = slices.Concat(words, p.flags, more)
		for i := range words {
			words[i] = quote(words[i])
		}
		lines = append(lines, "echo \"program: "+p.dir+"\"", "cd "+quote(path.Join(home, p.dir)), strings.Join(words, " ")+" || failed=1")
	}
	return strings.Join(append(lines, "exit $failed"), "\n")
}
