package commit

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// repository is a real one, made by git, with keys of ssh-keygen.
type repository struct {
	t   testing.TB
	dir string
}

func newRepository(t testing.TB, format string) *repository {
	t.Helper()
	r := &repository{t: t, dir: t.TempDir()}
	r.run("git", "init", "--quiet", "--initial-branch=main", "--object-format="+format, "repo")
	return r
}

// run runs a command in the directory beside the repository, or in it for git,
// with nothing of the machine's configuration.
func (r *repository) run(name string, args ...string) string {
	r.t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = r.dir
	if name == "git" && args[0] != "init" {
		cmd.Dir = filepath.Join(r.dir, "repo")
	}
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + r.dir, "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null",
		"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.org", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.org"}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		r.t.Fatalf("%s %q: %v\n%s", name, args, err, stderr.String())
	}
	return string(out)
}

// key makes a key and returns its line for allowed signers.
func (r *repository) key(name, kind string) string {
	r.t.Helper()
	args := []string{"-q", "-N", "", "-t", kind, "-f", name}
	if kind == "rsa" {
		args = append(args, "-b", "2048")
	}
	r.run("ssh-keygen", args...)
	public, err := os.ReadFile(filepath.Join(r.dir, name+".pub"))
	if err != nil {
		r.t.Fatal(err)
	}
	return "release@example.org " + string(public)
}

// commit writes a file, commits everything, and signs with the key, if any.
func (r *repository) commit(file, text, key, message string) string {
	r.t.Helper()
	path := filepath.Join(r.dir, "repo", file)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		r.t.Fatal(err)
	}
	r.run("git", "add", "-A")
	args := []string{"commit", "--quiet", "--allow-empty", "-m", message, "--no-gpg-sign"}
	if key != "" {
		args = append([]string{"-c", "gpg.format=ssh", "-c", "user.signingKey=" + filepath.Join(r.dir, key)}, append(args[:5:5], "-S")...)
	}
	r.run("git", args...)
	return r.head()
}

func (r *repository) head() string { return strings.TrimSpace(r.run("git", "rev-parse", "HEAD")) }

// objects is everything in the repository.
func (r *repository) objects() string {
	return r.run("git", "cat-file", "--batch", "--batch-all-objects")
}

func (r *repository) read(stream, tip string) *Objects {
	r.t.Helper()
	o, err := ReadObjects(strings.NewReader(stream), tip)
	if err != nil {
		r.t.Fatal(err)
	}
	return o
}

func signers(t testing.TB, lines ...string) *Signers {
	t.Helper()
	s, err := ReadSigners([]byte(strings.Join(lines, "\n")), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	return s
}
