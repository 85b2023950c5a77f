package vm

import (
	"bytes"
	"testing"
)

// Run boots a kernel and runs argv in it; files maps guest paths (relative:
// below /work) to files of the host. The command's output goes to t's log line
// by line; a status other than 0 fails t.
func Run(t testing.TB, kernel string, files map[string]string, argv ...string) {
	t.Helper()
	log := &lineLog{t: t}
	status, err := Machine{Kernel: kernel, Files: files, Output: log}.Run(t.Context(), argv...)
	log.flush()
	if err != nil {
		t.Fatal(err)
	}
	if status != 0 {
		t.Errorf("kernel %s: %q exited with %d", kernel, argv, status)
	}
}

// lineLog logs whole lines. Machine.Run is done with it when it returns.
type lineLog struct {
	t    testing.TB
	rest []byte
}

func (l *lineLog) Write(p []byte) (int, error) {
	l.rest = append(l.rest, p...)
	for {
		line, rest, found := bytes.Cut(l.rest, []byte("\n"))
		if !found {
			return len(p), nil
		}
		l.t.Logf("%s", bytes.TrimRight(line, "\r"))
		l.rest = rest
	}
}

func (l *lineLog) flush() {
	if len(l.rest) > 0 {
		l.t.Logf("%s", l.rest)
	}
}
