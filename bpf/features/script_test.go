package features

import (
	"context"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestScript(t *testing.T) {
	needRoot(t)
	closed := script{
		{"socket", unix.SYS_SOCKET, [6]uint64{unix.AF_INET, unix.SOCK_STREAM}},
		{"connect nowhere", unix.SYS_CONNECT, [6]uint64{1, dataBase + headers, sockaddr4}},
		{"exit", unix.SYS_EXIT_GROUP, [6]uint64{}},
	}
	hangs := script{{"sleep for ever", unix.SYS_PPOLL, [6]uint64{}}}
	for _, test := range []struct {
		name   string
		script script
		want   string // part of the error; empty: none
	}{
		{"quiet", quiet(), ""},
		{"traffic", traffic(), ""},
		{"packets", packets(), ""},
		{"names the call that failed", closed, "connect nowhere did not work"},
		{"is ended", hangs, "did not end: context deadline exceeded"},
	} {
		t.Run(test.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
			if test.want == "" {
				ctx = t.Context()
			}
			defer cancel()
			inTestLab(t, func(l *lab) error {
				err := l.runOnce(ctx, "script", test.script)
				if got := errorText(err); (test.want == "") != (err == nil) || !strings.Contains(got, test.want) {
					t.Errorf("got error %q, want %q", got, test.want)
				}
				return nil
			})
		})
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
