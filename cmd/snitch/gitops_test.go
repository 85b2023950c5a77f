package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"snitch/bpf/bpftest"
	"snitch/cmd/internal/control"
)

// TestGitOps is docs/gitops from the commit to the host: its script makes releases,
// and a host takes them, a stage at a time.
func TestGitOps(t *testing.T) {
	if testing.Short() {
		t.Skip("short: runs the daemon for long")
	}
	home, group := fleetHome(t), bpftest.NewCgroup(t)
	work, bin := filepath.Join(home, "work"), filepath.Join(home, "bin")
	self, err := os.Executable()
	if err == nil {
		err = os.Mkdir(bin, 0o755)
	}
	if err == nil {
		err = os.Symlink(self, filepath.Join(bin, "snitch"))
	}
	if err == nil {
		err = os.CopyFS(work, os.DirFS("../../docs/gitops"))
	}
	if err == nil {
		err = writeKeys(filepath.Join(work, "release"))
	}
	if err != nil {
		t.Fatal(err)
	}
	r := &gitRemote{t: t, home: home}
	for _, args := range [][]string{{"init", "--quiet"}, {"add", "rules"}, {"commit", "--quiet", "--no-gpg-sign", "-m", "rules"}} {
		r.run("git", append([]string{"-C", work}, args...)...)
	}
	revision := strings.TrimSpace(r.run("git", "-C", work, "rev-parse", "--short=12", "HEAD"))
	script := func(args ...string) (string, error) {
		sh := exec.CommandContext(t.Context(), "./release.sh", append([]string{"release.pem"}, args...)...)
		sh.Dir, sh.Env = work, append(r.env(), "PATH="+bin+":"+os.Getenv("PATH"))
		out, err := sh.CombinedOutput()
		return string(out), err
	}
	release := func(args ...string) {
		t.Helper()
		if out, err := script(args...); err != nil || !strings.Contains(out, revision) || !strings.Contains(out, "rules.tar.gz: serial "+args[0]) {
			t.Fatalf("release.sh %q: %v\n%s", args, err, out)
		}
	}
	release("42")
	d := fleetDaemon(t, home, group, fmt.Sprintf("  source: bundle\n  url: %s/rules.tar.gz\n  keys: %[1]s/release.pub\n  interval: 5s\n", work))
	at := func(serial uint64, why string) func(f *control.Fleet) bool {
		return func(f *control.Fleet) bool {
			return f.Serial == serial && f.Revision == revision && (f.Drift == "") == (why == "") && strings.Contains(f.Drift, why)
		}
	}
	fleetIs(t, d, "the first release", at(42, ""))
	if p := d.status(t).Policy; p.Revision != revision || p.Rules < 4 || p.Error != "" {
		t.Errorf("policy %+v", p)
	}
	late := filepath.Join(work, "rules", "late.yaml")
	put(t, late, oneRule("late"))
	if out, err := script("43"); err == nil || !strings.Contains(out, "the rules fail their tests") {
		t.Errorf("a rule for everybody was released: %v\n%s", err, out)
	}
	put(t, late, "version: 1\nrules:\n  - {id: late, action: allow, process: {exe: /usr/bin/late}, to: {port: 9}}\n")
	release("43", "0")
	fleetIs(t, d, "a stage without this host", at(42, "0 % of the hosts"))
	out, err := snitchCommand("fleet", "status", "--state", d.state).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "NOT AS PUBLISHED: "+revision) {
		t.Errorf("fleet status: %v\n%s", err, out)
	}
	release("44")
	fleetIs(t, d, "the stage with it", at(44, ""))
	if p := d.status(t).Policy; p.Source != filepath.Join(work, "rules.tar.gz") {
		t.Errorf("policy %+v", p)
	}
	d.signal(t, syscall.SIGINT)
	d.end(t)
}
