package broker

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// starts is every way in which Go code starts a process.
var starts = regexp.MustCompile(`"os/exec"|ForkExec|StartProcess|syscall\.Exec\(|unix\.Exec\(|SYS_(V?FORK|CLONE3?|EXECVE(AT)?)\b`)

// mayStart lists the files of the core that may, each with its reason.
var mayStart = []string{
	"cmd/internal/broker/spawn.go",      // the broker itself, first act
	"cmd/internal/broker/serve.go",      // in the broker's process
	"cmd/internal/broker/seal.go",       // names what it forbids
	"cmd/internal/broker/seal_amd64.go", // likewise
	"cmd/internal/broker/seal_arm64.go", // likewise
	"bpf/features/lab.go",               // probes, before the seal
	"cmd/snitch/geoipfetch.go",          // a command of its own, not the daemon
	"cmd/snitch/remotecheck.go",         // likewise
	"cmd/snitch/servicestart.go",        // the command that starts the daemon
	"cmd/snitch/servicesystemd.go",      // the same where systemd is to do it
	"cmd/internal/fleet/exec.go",        // git and gpgv, in a helper's process
}

// ofTests are directories of which nothing is linked into the core: the import
// table is a test.
var ofTests = []string{"bpftest", "notifytest", "servertest", "webtest", "testdata"}

// TestOnlyBrokerStartsProcesses reads all that is linked into the core.
func TestOnlyBrokerStartsProcesses(t *testing.T) {
	root := filepath.Join("..", "..", "..")
	read, used := 0, map[string]bool{}
	for _, room := range []string{"bpf", "monitor", "policy", "enforce", "cmd"} {
		err := filepath.WalkDir(filepath.Join(root, room), func(path string, d fs.DirEntry, err error) error {
			if os.IsNotExist(err) || err == nil && d.IsDir() && slices.Contains(ofTests, d.Name()) {
				return fs.SkipDir
			}
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			read++
			rel, err := filepath.Rel(root, path)
			if err != nil {
				return err
			}
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			if found := starts.Find(text); found != nil {
				used[rel] = true
				if !slices.Contains(mayStart, rel) {
					t.Errorf("%s has %s: only the broker starts processes", rel, found)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, file := range mayStart {
		if !used[file] {
			t.Errorf("%s starts nothing: take it off the list", file)
		}
	}
	if read < 50 {
		t.Errorf("only %d files were read: the walk is broken", read)
	}
}
