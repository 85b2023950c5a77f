package broker

import (
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestHelperReadsNoRecord: what everybody may read in a directory of the
// state's kind, a helper may not.
func TestHelperReadsNoRecord(t *testing.T) {
	if _, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION); errno != 0 || builtWithCgo() {
		t.Skip("missing feature: Landlock (Linux 5.13), in a binary without cgo")
	}
	h := startHelper(t, startBroker(t))
	record := filepath.Join(t.TempDir(), "snitch.db")
	if err := os.WriteFile(record, []byte("the record"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := strings.TrimSpace(ask(t, h, "read "+record)); !strings.HasSuffix(got, "permission denied") {
		t.Errorf("reading the record: %s", got)
	}
	if got := strings.TrimSpace(ask(t, h, "read /etc/hosts")); got != "<nil>" {
		t.Errorf("reading /etc/hosts: %s", got)
	}
}

// builtWithCgo: Go does not know all threads of such a binary (the race detector
// needs it).
func builtWithCgo() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.ContainsFunc(info.Settings, func(s debug.BuildSetting) bool { return s.Key == "CGO_ENABLED" && s.Value == "1" })
}
