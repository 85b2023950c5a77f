package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const stream = `{"Action":"run","Package":"p","Test":"TestA"}
{"Action":"output","Package":"p","Test":"TestA","Output":"    a_test.go:3: missing feature: sctp: no module\n"}
{"Action":"skip","Package":"p","Test":"TestA"}
{"Action":"output","Package":"p","Test":"TestB","Output":"noise of a test that passed\n"}
{"Action":"pass","Package":"p","Test":"TestB"}
{"Action":"output","Package":"p","Output":"ok  \tp\t0.1s\n"}
{"Action":"pass","Package":"p"}
`

func TestRun(t *testing.T) {
	list := filepath.Join(t.TempDir(), "skips")
	for _, test := range []struct {
		name, in, expect string
		ci               bool
		want, err        string
	}{
		{"expected", stream, "p TestA # no module", true, "skipped (expected): p TestA: missing feature: sctp: no module", ""},
		{"by prefix", stream, "p Test*", true, "skipped (expected)", ""},
		{"unexpected", stream, "q TestA", false, "skipped (UNEXPECTED)", ""},
		{"unexpected in CI", stream, "", true, "skipped (UNEXPECTED)", "1 tests were skipped"},
		{"failed", strings.Replace(stream, `"pass","Package":"p","Test"`, `"fail","Package":"p","Test"`, 1), "p TestA", true, "noise of a test", "tests failed"},
		{"never ended", strings.Replace(stream, `{"Action":"pass","Package":"p","Test":"TestB"}`, "", 1), "p TestA", false, "noise of a test", "did not end"},
		{"bad list", stream, "p", false, "", "want PACKAGE TEST"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if err := os.WriteFile(list, []byte(test.expect), 0o600); err != nil {
				t.Fatal(err)
			}
			var out strings.Builder
			err := run(strings.NewReader(test.in), &out, list, test.ci)
			if (err != nil) != (test.err != "") || err != nil && !strings.Contains(err.Error(), test.err) {
				t.Errorf("error %v, want %q", err, test.err)
			}
			if !strings.Contains(out.String(), test.want) {
				t.Errorf("output lacks %q:\n%s", test.want, out.String())
			}
			if test.err == "" && (!strings.Contains(out.String(), "ok  \tp") || strings.Contains(out.String(), "noise")) {
				t.Errorf("output is not that of go test:\n%s", out.String())
			}
		})
	}
}
