package scenario

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"snitch/bpf/bpftest"
	"snitch/bpf/bpftest/report"
)

// lab is where scenarios run: two joined namespaces, a cgroup that the daemon
// watches, a directory for files.
type lab struct {
	pair    *bpftest.Pair
	cgroup  *bpftest.Cgroup
	dir     string
	traffic string
	mac     string
	env     []string // of the generators
	// peersApart keeps the peers out of the scenario's cgroup: what is denied
	// there is not denied to them.
	peersApart bool
}

func newLab(tb testing.TB, traffic string) *lab {
	tb.Helper()
	l := &lab{pair: bpftest.NewPair(tb), cgroup: bpftest.NewCgroup(tb), dir: tb.TempDir(), traffic: traffic}
	// Other users (scenario uid) execute from here.
	for dir := l.dir; dir != os.TempDir() && len(dir) > 1; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			tb.Fatal(err)
		}
	}
	mac, err := l.pair.MAC()
	if err != nil {
		tb.Fatal(err)
	}
	l.mac = mac.String()
	l.env = append(os.Environ(), "SNITCH_TRAFFIC_KNOWN="+hashes(tb, traffic))
	return l
}

// hashes are those of the files that nearly every process of the suite has as
// its own, its parent's or its grandparent's.
func hashes(tb testing.TB, traffic string) string {
	tb.Helper()
	self, err := os.Executable()
	if err != nil {
		tb.Fatal(err)
	}
	var b strings.Builder
	files := []string{traffic, self}
	if above, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", os.Getppid())); err == nil {
		files = append(files, above)
	}
	for _, path := range files {
		image, err := os.ReadFile(path)
		if err != nil {
			tb.Fatal(err)
		}
		fmt.Fprintf(&b, "%s=%x\n", path, sha256.Sum256(image))
	}
	return b.String()
}

// run is one scenario's outcome: what its processes say they did.
type run struct {
	reports []report.Report
	missing error // a feature: nothing ran
	err     error // a generator failed
}

// play runs s in a cgroup of its own inside at and collects the reports.
func (l *lab) play(s *scenario, at *bpftest.Cgroup) *run {
	for _, f := range s.needs {
		if err := f.Missing(); err != nil {
			return &run{missing: err}
		}
	}
	r := new(run)
	r.reports, r.err = l.generate(s, at)
	for i := range r.reports {
		if msg := r.reports[i].Error; msg != "" {
			r.err = errors.Join(r.err, fmt.Errorf("%s: %s", r.reports[i].Generator, msg))
		}
	}
	return r
}

// playAll plays one after the other, those in the background meanwhile.
func (l *lab) playAll(list []scenario) []*run {
	runs := make([]*run, len(list))
	var wg sync.WaitGroup
	for i := range list {
		if list[i].background {
			wg.Go(func() { runs[i] = l.play(&list[i], l.cgroup) })
		}
	}
	for i := range list {
		if !list[i].background {
			runs[i] = l.play(&list[i], l.cgroup)
		}
	}
	wg.Wait()
	return runs
}

func (l *lab) generate(s *scenario, at *bpftest.Cgroup) ([]report.Report, error) {
	cg, err := at.Child(s.name)
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(l.dir, s.name)
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, err
	}
	out, err := os.OpenFile(filepath.Join(dir, "reports"), os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o666)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	if s.prepare != nil {
		if err := s.prepare(l, dir); err != nil {
			return nil, err
		}
	}
	here, there := bpftest.Place{Net: l.pair.Client, Cgroup: cg}, bpftest.Place{Net: l.pair.Server, Cgroup: cg}
	local := here
	if l.peersApart {
		local.Cgroup, there.Cgroup = nil, nil
	}
	err = l.withPeer(s.peer, there, out, func() error {
		return l.withPeer(s.local, local, out, func() error { return l.client(s, dir, here, out) })
	})
	reports, readErr := readReports(out)
	return reports, errors.Join(err, readErr)
}

// withPeer runs f while a peer with the services runs at its place.
func (l *lab) withPeer(services []string, at bpftest.Place, out *os.File, f func() error) error {
	if len(services) == 0 {
		return f()
	}
	args := []string{"serve", "-ready", "3"}
	for _, s := range services {
		args = append(args, "-on", s)
	}
	cmd := exec.Command(l.traffic, args...)
	cmd.Env = l.env
	p, err := startPeer(cmd, at, out)
	if err != nil {
		return err
	}
	return errors.Join(f(), p.stop())
}

type peer struct {
	cmd    *exec.Cmd
	stdin  *os.File
	stderr *bytes.Buffer
}

// startPeer starts cmd and waits until it says ready on descriptor 3.
func startPeer(cmd *exec.Cmd, at bpftest.Place, out *os.File) (*peer, error) {
	inR, inW, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	readyR, readyW, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer readyR.Close()
	p := &peer{cmd: cmd, stdin: inW, stderr: new(bytes.Buffer)}
	cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = inR, out, p.stderr, []*os.File{readyW}
	err = bpftest.Start(cmd, at)
	if err := errors.Join(err, inR.Close(), readyW.Close()); err != nil {
		return nil, errors.Join(fmt.Errorf("start peer: %w", err), inW.Close())
	}
	if line, err := bufio.NewReader(readyR).ReadString('\n'); line != "ready\n" {
		return nil, errors.Join(fmt.Errorf("peer did not get ready: %w", err), p.stop())
	}
	return p, nil
}

// stop ends the peer's standard input; it drains what has arrived and reports.
func (p *peer) stop() error {
	err := p.stdin.Close()
	if waitErr := waitFor(p.cmd, patience(10*time.Second)); waitErr != nil {
		err = errors.Join(err, fmt.Errorf("peer: %w: %s", waitErr, p.stderr))
	}
	return err
}

// waitFor kills what does not end in time.
func waitFor(cmd *exec.Cmd, limit time.Duration) error {
	timer := time.AfterFunc(limit, func() { _ = cmd.Process.Kill() })
	err := cmd.Wait()
	if !timer.Stop() {
		return errors.Join(err, fmt.Errorf("did not end in %v", limit))
	}
	return err
}

func (l *lab) client(s *scenario, dir string, at bpftest.Place, out *os.File) error {
	expand := func(v string) string {
		switch v {
		case "DIR":
			return dir
		case "MAC":
			return l.mac
		case "TRAFFIC":
			return l.traffic
		}
		return ""
	}
	argv := []string{l.traffic}
	if s.program != "" {
		argv[0] = os.Expand(s.program, expand)
	}
	for _, a := range strings.Fields(s.args) {
		argv = append(argv, os.Expand(a, expand))
	}
	argv = append(argv, s.extraArgs...)
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir, cmd.Env = dir, l.env
	var stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = out, &stderr
	if s.passNamespace {
		ns, err := os.Open(fmt.Sprintf("/proc/self/fd/%d", l.pair.Server.Fd()))
		if err != nil {
			return err
		}
		defer ns.Close()
		cmd.ExtraFiles = []*os.File{ns}
	}
	if err := bpftest.Start(cmd, at); err != nil {
		return fmt.Errorf("start generator: %w", err)
	}
	limit := patience(30 * time.Second)
	if err := waitFor(cmd, limit); err != nil {
		return fmt.Errorf("generator: %w: %s", err, stderr.String())
	}
	return nil
}

func readReports(f *os.File) ([]report.Report, error) {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	var all []report.Report
	for d := json.NewDecoder(f); ; {
		var r report.Report
		if err := d.Decode(&r); errors.Is(err, io.EOF) {
			return all, nil
		} else if err != nil {
			return all, fmt.Errorf("read reports: %w", err)
		}
		all = append(all, r)
	}
}
