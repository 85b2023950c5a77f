//go:build vm

package vm

import (
	"context"
	"strings"
	"testing"
	"time"
)

// What happens in the guest is what the caller is told.
func TestMachine(t *testing.T) {
	for _, test := range []struct {
		name    string
		command string
		status  int
		output  string
		err     string
	}{
		{"status", "echo to stdout; echo to stderr >&2; exit 7", 7, "to stdout\nto stderr\n", ""},
		{"death", "echo c >/proc/sysrq-trigger; sleep 9", 0, "", "died"},
		{"time", "sleep 600", 0, "", "was stopped: context deadline exceeded"},
	} {
		t.Run(test.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			var output strings.Builder
			status, err := Machine{Kernel: strings.Fields(*kernels)[0], Output: &output}.Run(ctx, "sh", "-c", test.command)
			if status != test.status || output.String() != test.output {
				t.Errorf("got status %d and %q, want %d and %q", status, output.String(), test.status, test.output)
			}
			if (test.err == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), test.err) {
				t.Errorf("got error %v, want %q", err, test.err)
			}
		})
	}
}
