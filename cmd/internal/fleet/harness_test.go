package fleet

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"snitch/monitor/event"
	"snitch/policy/bundle"
)

// noRules is a machine without rules of its own.
type noRules struct{}

func (noRules) Read() (*bundle.Snapshot, error) { return &bundle.Snapshot{}, nil }

func (noRules) Watch(ctx context.Context, _ *slog.Logger, _ func()) error {
	<-ctx.Done()
	return nil
}

// inProcess is a helper that is no process of its own, but does the same work.
func inProcess(ctx context.Context, _ string) (net.Conn, error) {
	here, there := net.Pipe()
	go func() {
		_ = Work(ctx, there, there) // what it says of errors is in its answer
		_ = there.Close()
	}()
	return here, nil
}

// newSource makes a source whose engine takes every set.
func newSource(t *testing.T, cfg Config) *Source {
	t.Helper()
	cfg.Dir, cfg.HelperDir, cfg.Host, cfg.Interval = t.TempDir(), t.TempDir(), "host", time.Hour
	s := New(cfg, Deps{Start: inProcess, ReadFile: os.ReadFile, Base: noRules{}, Health: func() Health { return Health{} },
		Alert: func(event.Alert) {}, Log: slog.New(slog.DiscardHandler)})
	s.changed = func() {
		set, err := s.Read()
		if err != nil {
			t.Error(err)
			return
		}
		s.Used(set.Digest())
	}
	return s
}

// looks looks once and holds what a person is told against want; "" is that all is
// well.
func looks(t *testing.T, s *Source, want string) {
	t.Helper()
	err := s.look(t.Context())
	if told := s.State().Error; (err == nil) != (want == "") || (told == "") != (want == "") || !strings.Contains(told, want) {
		t.Errorf("told %q (%v), want %q", told, err, want)
	}
}

func write(t *testing.T, name, text string, mode os.FileMode) string {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, []byte(text), mode)); err != nil {
		t.Fatal(err)
	}
	return name
}

func rules(id string) string {
	return "version: 1\nrules:\n  - {id: " + id + ", action: allow, process: any}\n"
}

// newKeys makes a key for bundles and returns the file of its public half.
func newKeys(t *testing.T) (private []byte, file string) {
	t.Helper()
	public, key, err := ed25519.GenerateKey(rand.Reader)
	a, errA := x509.MarshalPKCS8PrivateKey(key)
	b, errB := x509.MarshalPKIXPublicKey(public)
	if err := errors.Join(err, errA, errB); err != nil {
		t.Fatal(err)
	}
	file = write(t, filepath.Join(t.TempDir(), "keys.pem"), string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: b})), 0o644)
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: a}), file
}

// repository is a git repository with a branch main.
type repository struct {
	t        *testing.T
	dir      string // of the repository
	home     string // of who commits
	settings []string
}

func newRepository(t *testing.T) *repository {
	t.Helper()
	home, err := os.MkdirTemp("", "g") // sockets of gpg-agent have short names
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(home); err != nil {
			t.Error(err)
		}
	})
	r := &repository{t: t, home: home, dir: filepath.Join(home, "srv", "rules")}
	r.run("git", "init", "--quiet", "--initial-branch=main", r.dir)
	return r
}

func (r *repository) env() []string {
	return []string{"PATH=" + os.Getenv("PATH"), "HOME=" + r.home, "GNUPGHOME=" + r.home, "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null",
		"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.org", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.org"}
}

func (r *repository) run(name string, args ...string) string {
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

// sshKey makes a key and returns its file, and who it is as a line of signers.
func (r *repository) sshKey(name string) (file, signer string) {
	r.t.Helper()
	file = filepath.Join(r.home, name)
	r.run("ssh-keygen", "-q", "-N", "", "-t", "ed25519", "-f", file)
	public, err := os.ReadFile(file + ".pub")
	if err != nil {
		r.t.Fatal(err)
	}
	return file, name + "@example.org " + string(public)
}

// sign has commits signed from now on: by an SSH key, or one of OpenPGP.
func (r *repository) sign(format, key string) {
	r.settings = []string{"-c", "gpg.format=" + format, "-c", "user.signingKey=" + key}
}

// commit commits a set of one rule and returns its id.
func (r *repository) commit(id string, args ...string) string {
	r.t.Helper()
	write(r.t, filepath.Join(r.dir, "rules", "a.yaml"), rules(id), 0o644)
	r.git("add", "-A")
	r.git(append([]string{"commit", "--quiet", "-m", id}, args...)...)
	return strings.TrimSpace(r.git("rev-parse", "HEAD"))
}

func (r *repository) git(args ...string) string {
	r.t.Helper()
	return r.run("git", append(append([]string{"-C", r.dir}, r.settings...), args...)...)
}
