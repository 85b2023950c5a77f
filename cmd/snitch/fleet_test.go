package main

import (
	"bytes"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"snitch/bpf/bpftest"
	"snitch/cmd/internal/control"
	"snitch/monitor/event"
	"snitch/policy/bundle"
)

// fleetHome is a directory that the fetcher's user can pass through.
func fleetHome(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "fleet")
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func put(t *testing.T, file, text string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(text), 0o644)); err != nil {
		t.Fatal(err)
	}
}

// gitRemote is a git repository, served by git daemon.
type gitRemote struct {
	t      *testing.T
	home   string
	url    string
	server *exec.Cmd
}

func newGitRemote(t *testing.T, home string) *gitRemote {
	t.Helper()
	r := &gitRemote{t: t, home: home}
	r.run("ssh-keygen", "-q", "-N", "", "-t", "ed25519", "-f", filepath.Join(home, "key"))
	public, err := os.ReadFile(filepath.Join(home, "key.pub"))
	if err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(home, "signers"), "release@example.org "+string(public))
	r.run("git", "init", "--quiet", "--initial-branch=main", filepath.Join(home, "srv/rules"))
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	r.url = fmt.Sprintf("git://127.0.0.1:%d/rules", port)
	r.serve(port)
	return r
}

// serve runs git daemon itself, without the git before it: then ending it is
// ending one process.
func (r *gitRemote) serve(port int) {
	r.t.Helper()
	where := strings.TrimSpace(r.run("git", "--exec-path"))
	r.server = exec.Command(filepath.Join(where, "git-daemon"), "--base-path="+filepath.Join(r.home, "srv"), "--export-all", "--listen=127.0.0.1", "--port="+strconv.Itoa(port), "--reuseaddr", "--log-destination=none")
	r.server.Env = r.env()
	r.server.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := r.server.Start(); err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(r.stop)
	eventually(r.t, "git daemon", func() bool {
		c, err := net.Dial("tcp4", fmt.Sprintf("127.0.0.1:%d", port))
		return err == nil && c.Close() == nil
	})
}

func (r *gitRemote) stop() {
	_ = r.server.Process.Kill()
	_ = r.server.Wait() // ended already, the second time
}

func (r *gitRemote) env() []string {
	return []string{"PATH=" + os.Getenv("PATH"), "HOME=" + r.home, "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null",
		"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.org", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.org"}
}

func (r *gitRemote) run(name string, args ...string) string {
	r.t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env = r.env()
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		r.t.Fatalf("%s %q: %v\n%s", name, args, err, said.String())
	}
	return string(out)
}

func (r *gitRemote) git(args ...string) string {
	return r.run("git", append([]string{"-C", filepath.Join(r.home, "srv/rules"), "-c", "gpg.format=ssh", "-c", "user.signingKey=" + filepath.Join(r.home, "key")}, args...)...)
}

// commit commits rules; signed or not.
func (r *gitRemote) commit(rules string, signed bool) string {
	r.t.Helper()
	put(r.t, filepath.Join(r.home, "srv/rules/rules/base.yaml"), rules)
	r.git("add", "-A")
	sign := "--no-gpg-sign"
	if signed {
		sign = "-S"
	}
	r.git("commit", "--quiet", "-m", "rules", sign)
	return strings.TrimSpace(r.git("rev-parse", "HEAD"))
}

func oneRule(id string) string {
	return "version: 1\nrules:\n  - {id: " + id + ", action: allow, process: any}\n"
}

// fleetDaemon runs a daemon with a section `fleet` in its configuration.
func fleetDaemon(t *testing.T, home string, group *bpftest.Cgroup, section string) *daemonProcess {
	t.Helper()
	file := filepath.Join(home, "config.yaml")
	put(t, file, "version: 1\nrules: {dir: "+home+"/local}\ninterval: 1s\nfleet:\n"+section)
	return startDaemonIn(t, filepath.Join(home, "state"), nil, "--config", file, "--quiet", "--cgroup", group.Dir())
}

// fleetIs waits until the daemon's fleet is as wanted.
func fleetIs(t *testing.T, d *daemonProcess, what string, is func(f *control.Fleet) bool) {
	t.Helper()
	var last *control.Fleet
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("%s: %+v", what, last)
		}
	})
	_ = d.client.Reload(t.Context()) // look now; that rules do not load may be what is wanted
	eventually(t, what, func() bool {
		last = d.status(t).Fleet
		return last != nil && is(last)
	})
}

// TestFleetGit is the life of a host whose rules come from a git server: what is
// signed and goes on is used, all else is not, and nothing is lost with server
// or daemon.
func TestFleetGit(t *testing.T) {
	if testing.Short() {
		t.Skip("short: runs the daemon for long")
	}
	home, group := fleetHome(t), bpftest.NewCgroup(t)
	r := newGitRemote(t, home)
	first := r.commit(oneRule("first"), true)
	section := fmt.Sprintf("  source: git\n  url: %s\n  keys: %s/signers\n  path: rules\n  interval: 5s\n", r.url, home)
	d := fleetDaemon(t, home, group, section)
	used := func(revision string) func(f *control.Fleet) bool {
		return func(f *control.Fleet) bool { return f.Revision == revision && f.Drift == "" }
	}
	drifts := func(revision, why string) func(f *control.Fleet) bool {
		return func(f *control.Fleet) bool { return f.Revision == revision && strings.Contains(f.Drift, why) }
	}
	fleetIs(t, d, "the first commit", used(first))
	if p := d.status(t).Policy; p.Revision != first || p.Rules != 1 || !strings.HasSuffix(p.Source, "#main:rules") {
		t.Errorf("policy %+v", p)
	}
	eventually(t, "a row of the first commit", func() bool {
		talkIn(t, group, "/proc/self/exe", "10", "10")
		found := false
		eachRow(t, d.state, func(row *event.Record) { found = found || row.Revision == first && row.Rule == "first" })
		return found
	})
	info, err := os.Stat(filepath.Join(d.state, fleetHelperDir, "repo.git"))
	if err != nil || info.Sys().(*syscall.Stat_t).Uid != helperUser().UID {
		t.Errorf("the repository is not the fetcher's: %v", err)
	}

	r.commit(oneRule("unsigned"), false)
	fleetIs(t, d, "an unsigned commit", drifts(first, "not signed"))
	second := r.commit(oneRule("second"), true)
	fleetIs(t, d, "the second commit", used(second))
	r.git("reset", "--quiet", "--hard", first)
	fleetIs(t, d, "a branch that was rewound", drifts(second, "does not go on"))
	r.git("reset", "--quiet", "--hard", second)
	r.commit("version: 1\nrules:\n  - {id: x, action: dany, process: any}\n", true)
	fleetIs(t, d, "rules that do not load", drifts(second, "does not load"))
	if p := d.status(t).Policy; p.Revision != second || !strings.Contains(p.Error, "base.yaml:3") {
		t.Errorf("policy %+v", p)
	}
	if out, err := snitchCommand("fleet", "status", "--state", d.state).CombinedOutput(); err == nil || !strings.Contains(string(out), "NOT AS PUBLISHED") {
		t.Errorf("fleet status: %v\n%s", err, out)
	}
	third := r.commit(oneRule("third"), true)
	fleetIs(t, d, "the third commit", used(third))
	if out, err := snitchCommand("fleet", "sync", "--state", d.state).CombinedOutput(); err != nil || !strings.Contains(string(out), third) {
		t.Errorf("fleet sync: %v\n%s", err, out)
	}

	// The server ends, and the daemon: a new one starts from what was kept.
	r.stop()
	d.signal(t, syscall.SIGKILL)
	_ = d.Wait() // killed
	d = fleetDaemon(t, home, group, section)
	fleetIs(t, d, "what was kept", drifts(third, "ls-remote"))
	if p := d.status(t).Policy; p.Revision != third {
		t.Errorf("policy after a restart without a server: %+v", p)
	}
	d.signal(t, syscall.SIGINT)
	d.end(t)
}

// publisher serves a bundle over HTTPS.
type publisher struct {
	*httptest.Server
	t    *testing.T
	home string

	mu     sync.Mutex
	packed []byte
	tag    string
	served int
	same   int
	users  map[string]bool
}

func newPublisher(t *testing.T, home string) *publisher {
	t.Helper()
	p := &publisher{t: t, home: home, users: map[string]bool{}}
	p.Server = httptest.NewUnstartedServer(p)
	p.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	p.StartTLS()
	t.Cleanup(p.Close)
	put(t, filepath.Join(home, "ca.pem"), string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.Certificate().Raw})))
	if err := writeKeys(filepath.Join(home, "release")); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *publisher) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.users[r.Header.Get("Authorization")] = true
	w.Header().Set("ETag", p.tag)
	if p.tag == "" {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	if r.Header.Get("If-None-Match") == p.tag {
		p.same++
		w.WriteHeader(http.StatusNotModified)
		return
	}
	p.served++
	_, _ = w.Write(p.packed) // a client that went away is its own problem
}

func (p *publisher) seal(rules string, release bundle.Release) []byte {
	p.t.Helper()
	private, err := os.ReadFile(filepath.Join(p.home, "release.pem"))
	if err != nil {
		p.t.Fatal(err)
	}
	packed, err := bundle.Seal(&bundle.Snapshot{Files: []bundle.File{{Path: "base.yaml", Data: []byte(rules)}}}, release, private)
	if err != nil {
		p.t.Fatal(err)
	}
	return packed
}

func (p *publisher) publish(packed []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.packed, p.tag = packed, fmt.Sprintf("%q", time.Now())
}

// TestFleetBundle is the life of a host whose rules come as signed bundles.
func TestFleetBundle(t *testing.T) {
	if testing.Short() {
		t.Skip("short: runs the daemon for long")
	}
	home, group := fleetHome(t), bpftest.NewCgroup(t)
	p := newPublisher(t, home)
	put(t, filepath.Join(home, "local/base.yaml"), oneRule("local"))
	put(t, filepath.Join(home, "token"), "sesame\n")
	if err := os.Chmod(filepath.Join(home, "token"), 0o600); err != nil {
		t.Fatal(err)
	}
	d := fleetDaemon(t, home, group, fmt.Sprintf("  source: bundle\n  url: %s/rules.tar.gz\n  keys: %s/release.pub\n  ca: %[2]s/ca.pem\n  token: %[2]s/token\n  interval: 5s\n  trial: 10m\n  trial_alerts: 1\n", p.URL, home))
	at := func(serial uint64, why string) func(f *control.Fleet) bool {
		return func(f *control.Fleet) bool {
			return f.Serial == serial && (f.Drift == "") == (why == "") && strings.Contains(f.Drift, why)
		}
	}
	fleetIs(t, d, "no bundle yet", at(0, "404"))
	if policy := d.status(t).Policy; policy.Source != home+"/local" {
		t.Errorf("before the first bundle: %+v", policy)
	}
	one := p.seal(oneRule("one"), bundle.Release{Serial: 1, Percent: 100, Revision: "v1"})
	p.publish(one)
	fleetIs(t, d, "the first bundle", at(1, ""))
	if policy := d.status(t).Policy; policy.Revision != "v1" {
		t.Errorf("policy %+v", policy)
	}
	p.publish(p.seal(oneRule("two"), bundle.Release{Serial: 2, Percent: 0}))
	fleetIs(t, d, "a stage without this host", at(1, "0 % of the hosts"))
	p.publish(p.seal(oneRule("two"), bundle.Release{Serial: 2, Percent: 100}))
	fleetIs(t, d, "the stage with it", at(2, ""))
	p.publish(one)
	fleetIs(t, d, "a replay", at(2, "not newer"))
	p.publish(append(one[:len(one)-8:len(one)-8], "tampered"...))
	fleetIs(t, d, "a damaged bundle", at(2, "read bundle"))
	p.publish(p.seal(oneRule("late"), bundle.Release{Serial: 3, Percent: 100, Expires: time.Now().Add(-time.Hour)}))
	fleetIs(t, d, "a bundle that has expired", at(2, "its time is over"))
	p.publish(p.seal(oneRule("one"), bundle.Release{Serial: 1, Replaces: 2, Percent: 100, Revision: "v1"}))
	fleetIs(t, d, "a signed way back", at(1, ""))

	// A set that alerts about everything goes by itself.
	loud := "version: 1\nrules:\n"
	for _, way := range []string{"out", "in", "listen"} {
		loud += "  - {id: loud." + way + ", action: alert, process: any, direction: " + way + "}\n"
	}
	p.publish(p.seal(loud, bundle.Release{Serial: 4, Percent: 100}))
	fleetIs(t, d, "the loud set", at(4, ""))
	eventually(t, "the return", func() bool {
		talkIn(t, group, "/proc/self/exe", "10", "10")
		f := d.status(t).Fleet
		return f.Returns == 1 && f.Serial == 1 && f.Held == "4" && strings.Contains(f.Drift, "alerts in")
	})
	p.publish(p.seal(oneRule("five"), bundle.Release{Serial: 5, Percent: 100}))
	fleetIs(t, d, "the set after it", at(5, ""))
	eventually(t, "an answer that nothing changed", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.same > 0
	})
	p.mu.Lock()
	if !p.users["Bearer sesame"] || len(p.users) != 1 {
		t.Errorf("users %v", p.users)
	}
	p.mu.Unlock()
	alerts := 0
	for _, a := range fleetAlerts(t, d.state) {
		if a == "fleet.returned" || a == "fleet.refused" {
			alerts++
		}
	}
	if alerts < 2 {
		t.Errorf("%d alerts of the fleet", alerts)
	}
	d.signal(t, syscall.SIGINT)
	d.end(t)
}

// fleetAlerts are the rules of recorded alerts.
func fleetAlerts(t *testing.T, state string) (rules []string) {
	t.Helper()
	out, err := snitchCommand("alerts", "--state", state, "--json").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(string(out), "\n") {
		if _, rest, found := strings.Cut(line, `"rule":"`); found {
			rule, _, _ := strings.Cut(rest, `"`)
			rules = append(rules, rule)
		}
	}
	return rules
}
