package owner

import (
	"crypto/md5"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"snitch/monitor/event"
)

// debian is a root directory that the real dpkg manages.
type debian struct {
	t    *testing.T
	root string
}

func newDebian(t *testing.T) *debian {
	t.Helper()
	if _, err := exec.LookPath("dpkg"); err != nil {
		t.Skip("missing feature: dpkg is not here")
	}
	d := &debian{t, t.TempDir()}
	for _, dir := range []string{"usr/bin", "var/lib/dpkg/info", "var/lib/dpkg/updates", "var/lib/dpkg/triggers"} {
		if err := os.MkdirAll(filepath.Join(d.root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	writeFile(t, filepath.Join(d.root, "var/lib/dpkg/status"), "")
	if err := os.Symlink("usr/bin", filepath.Join(d.root, "bin")); err != nil {
		t.Fatal(err)
	}
	return d
}

func (d *debian) run(name string, args ...string) {
	d.t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C", "DPKG_MAINTSCRIPT_PACKAGE=")
	if out, err := cmd.CombinedOutput(); err != nil {
		d.t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
}

// install builds and installs a package of some files; those in /etc are
// configuration files.
func (d *debian) install(name, version string, files map[string]string) {
	d.t.Helper()
	tree := d.t.TempDir()
	if err := os.Chmod(tree, 0o755); err != nil {
		d.t.Fatal(err)
	}
	writeFile(d.t, filepath.Join(tree, "DEBIAN/control"), fmt.Sprintf("Package: %s\nVersion: %s\nArchitecture: all\nMaintainer: Nobody <n@example.com>\nDescription: test\n", name, version))
	var sums, conf strings.Builder
	for _, path := range slices.Sorted(maps.Keys(files)) {
		writeFile(d.t, filepath.Join(tree, path), files[path])
		if strings.HasPrefix(path, "/etc/") {
			fmt.Fprintln(&conf, path)
		} else {
			fmt.Fprintf(&sums, "%x  %s\n", md5.Sum([]byte(files[path])), path[1:])
		}
	}
	writeFile(d.t, filepath.Join(tree, "DEBIAN/md5sums"), sums.String())
	writeFile(d.t, filepath.Join(tree, "DEBIAN/conffiles"), conf.String())
	deb := tree + ".deb"
	d.run("dpkg-deb", "--root-owner-group", "-Znone", "-b", tree, deb)
	d.run("dpkg", "--root="+d.root, "--force-all", "--log=/dev/null", "-i", deb)
}

func TestDpkg(t *testing.T) {
	d := newDebian(t)
	d.install("hello", "1", map[string]string{"/usr/bin/hello": "hello\n", "/bin/tool": "tool\n", "/etc/init.d/hello": "script\n", "/usr/bin/two words": "x\n"})
	h := newHost(t, d.root)
	h.want("/usr/bin/hello", "hello")
	h.want("/usr/bin/tool", "hello") // shipped as /bin/tool
	h.want("/usr/bin/two words", "hello")
	h.want("/etc/init.d/hello", "unverified:hello") // configuration: dpkg lists it without a digest
	h.write("/usr/bin/evil", "evil\n")
	h.want("/usr/bin/evil", None)
	h.want("/usr/bin/hello", "hello")
	h.write("/usr/bin/hello", "hello, changed\n")
	h.want("/usr/bin/hello", "modified:hello")
	if stats := h.Stats(); len(stats.Databases) != 1 || stats.Databases[0].Packages != 1 || stats.Databases[0].Files != 4 || stats.Failed != 0 {
		t.Errorf("stats: %+v", stats)
	}
}

// TestExecutedIsNotThere asks for bytes that were executed under a path where
// others are now.
func TestExecutedIsNotThere(t *testing.T) {
	d := newDebian(t)
	d.install("hello", "1", map[string]string{"/usr/bin/hello": "hello\n"})
	h := newHost(t, d.root)
	exe := h.executable("/usr/bin/hello")
	other := exe
	other.SHA256[0]++
	if got := h.ask(other); got != "unverified:hello" {
		t.Errorf("other bytes: got %q", got)
	}
	deleted := exe
	deleted.Kind = event.ExecutableDeleted
	if got := h.ask(deleted); got != "unverified:hello" {
		t.Errorf("a deleted file: got %q", got)
	}
	deleted.Path = "/tmp/x"
	if got := h.ask(deleted); got != None {
		t.Errorf("a deleted file of nobody: got %q", got)
	}
	unread := exe
	unread.SHA256, unread.Reason = event.Digest{}, event.HashTooLarge
	if got := h.ask(unread); got != "unverified:hello" {
		t.Errorf("a file without a digest: got %q", got)
	}
	// A pipe where a file was must not be waited for.
	if err := os.Remove(filepath.Join(d.root, "usr/bin/hello")); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(filepath.Join(d.root, "usr/bin/hello"), 0o755); err != nil {
		t.Fatal(err)
	}
	exe.SHA256[1]++
	if got := h.ask(exe); got != "unverified:hello" {
		t.Errorf("a pipe: got %q", got)
	}
}

func TestDiversions(t *testing.T) {
	d := newDebian(t)
	d.run("dpkg-divert", "--root="+d.root, "--package", "wrapper", "--add", "--divert", "/usr/bin/hello.real", "--no-rename", "/usr/bin/hello")
	d.run("dpkg-divert", "--root="+d.root, "--local", "--add", "--divert", "/usr/bin/local.distrib", "--no-rename", "/usr/bin/local")
	d.install("hello", "1", map[string]string{"/usr/bin/hello": "hello\n", "/usr/bin/local": "packaged\n"})
	d.install("wrapper", "1", map[string]string{"/usr/bin/hello": "wrapper\n"})
	h := newHost(t, d.root)
	h.want("/usr/bin/hello", "wrapper")
	h.want("/usr/bin/hello.real", "hello")
	h.want("/usr/bin/local.distrib", "hello")
	h.write("/usr/bin/local", "the administrator's\n")
	h.want("/usr/bin/local", None)
}

// TestUpgrade: every answer is of the database as it is.
func TestUpgrade(t *testing.T) {
	d := newDebian(t)
	d.install("hello", "1", map[string]string{"/usr/bin/hello": "one\n"})
	d.install("stays", "1", map[string]string{"/usr/bin/stays": "x\n"})
	h := newHost(t, d.root)
	h.want("/usr/bin/hello", "hello")
	old := h.executable("/usr/bin/hello")
	d.install("hello", "2", map[string]string{"/usr/bin/hello": "two\n", "/usr/bin/more": "more\n"})
	h.want("/usr/bin/hello", "hello")
	h.want("/usr/bin/more", "hello")
	if got := h.ask(old); got != "unverified:hello" {
		t.Errorf("the old version's bytes: got %q", got)
	}
	d.run("dpkg", "--root="+d.root, "--log=/dev/null", "--purge", "hello")
	h.write("/usr/bin/more", "of nobody\n")
	h.want("/usr/bin/more", None)
}

// TestPackageManagerAtWork: a file that is in place before the database says so
// is not called modified meanwhile.
func TestPackageManagerAtWork(t *testing.T) {
	d := newDebian(t)
	d.install("hello", "1", map[string]string{"/usr/bin/hello": "one\n"})
	h := newHost(t, d.root)
	h.want("/usr/bin/hello", "hello")
	lock := lockAsOther(t, filepath.Join(d.root, "var/lib/dpkg/lock"))
	h.write("/usr/bin/hello", "two\n")
	exe := h.executable("/usr/bin/hello")
	for range 20 {
		if fact, known := h.Lookup(exe); known {
			t.Fatalf("while dpkg works: %q", fact)
		}
		time.Sleep(10 * time.Millisecond)
	}
	lock()
	d.install("hello", "2", map[string]string{"/usr/bin/hello": "two\n"})
	if got := h.ask(exe); got != "hello" {
		t.Errorf("afterwards: got %q", got)
	}
}

// searchDpkg returns the packages by path, as dpkg-query says it. It does not
// know the paths of merged directories, nor diverted ones.
func searchDpkg(paths []string) map[string][]string {
	out, _ := exec.Command("dpkg-query", append([]string{"-S"}, paths...)...).Output() // it fails for each path that has no owner
	found := map[string][]string{}
	for line := range strings.Lines(string(out)) {
		packages, path, ok := strings.Cut(strings.TrimSpace(line), ": ")
		if !ok || strings.HasPrefix(line, "diversion ") || strings.HasPrefix(line, "local diversion ") {
			continue
		}
		for name := range strings.SplitSeq(packages, ", ") {
			name, _, _ = strings.Cut(name, ":")
			found[path] = append(found[path], name)
		}
	}
	return found
}

// lockAsOther has another process hold a lock, until the result is called.
func lockAsOther(t *testing.T, file string) func() {
	t.Helper()
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestMain$")
	cmd.Env = append(os.Environ(), "OWNER_TEST_LOCK="+file)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	end := func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }
	t.Cleanup(end)
	for deadline := time.Now().Add(10 * time.Second); !lockedByOther(file); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("no lock within 10 s")
		}
	}
	return end
}

func TestMain(m *testing.M) {
	if file := os.Getenv("OWNER_TEST_LOCK"); file != "" {
		f, err := os.OpenFile(file, os.O_RDWR|os.O_CREATE, 0o600)
		if err == nil {
			err = unix.FcntlFlock(f.Fd(), unix.F_SETLK, &unix.Flock_t{Type: unix.F_WRLCK})
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		time.Sleep(time.Minute)
	}
	os.Exit(m.Run())
}

// TestThisMachine compares with dpkg-query -S, for every program of this
// machine.
func TestThisMachine(t *testing.T) {
	if _, err := os.Stat("/var/lib/dpkg/info"); err != nil {
		t.Skip("missing feature: this machine has no dpkg database")
	}
	h := newHost(t, "")
	programs, err := filepath.Glob("/usr/bin/*")
	if err != nil {
		t.Fatal(err)
	}
	facts, search := map[string]int{}, searchDpkg(programs)
	for i, path := range programs {
		info, err := os.Lstat(path)
		if err != nil || !info.Mode().IsRegular() || testing.Short() && i%20 != 0 {
			continue
		}
		fact := h.ask(h.executable(path))
		kind, _, marked := strings.Cut(fact, ":")
		switch {
		case fact == None:
			facts[None]++
		case marked:
			facts[kind]++
			t.Logf("%s: %s", path, fact)
		default:
			facts["owned"]++
			if owners := search[path]; owners != nil && !slices.Contains(owners, fact) {
				t.Errorf("%s: got %q, dpkg-query says %q", path, fact, owners)
			}
		}
	}
	t.Logf("%d programs: %v; %+v", len(programs), facts, h.Stats())
	if facts["owned"] < 10 || len(search) < 10 {
		t.Errorf("facts: %v", facts)
	}
	h.want("/usr/bin/dpkg", "dpkg")
}
