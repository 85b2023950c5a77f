package bpf

import (
	"errors"
	"fmt"
	"os"
	"strings"
)

var errNoCgroup = errors.New("no cgroup v2 is mounted")

// cgroupRoot finds where cgroup v2 is mounted: the usual place, or beside the
// v1 hierarchies of a hybrid host.
func cgroupRoot() (string, error) {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return "", fmt.Errorf("read mounts: %w", err)
	}
	for line := range strings.Lines(string(mounts)) {
		fields, types, ok := strings.Cut(line, " - ")
		at := strings.Fields(fields)
		if ok && len(at) > 4 && strings.HasPrefix(types, "cgroup2 ") {
			return unescape(at[4]), nil
		}
	}
	return "", errNoCgroup
}

// unescape undoes mountinfo's octal escapes.
func unescape(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}
