package enforce

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestPromote(t *testing.T) {
	for name, c := range map[string]struct{ in, want string }{
		"line of its own": {"rules:\n  - id: a\n    mode: audit\n    action: deny\n", "rules:\n  - id: a\n    action: deny\n"},
		"with a comment":  {"rules:\n  - id: a\n    mode: audit # until Friday\n", "rules:\n  - id: a\n    mode: enforce # until Friday\n"},
		"first key":       {"rules:\n  - mode: audit\n    id: a\n", "rules:\n  - mode: enforce\n    id: a\n"},
		"flow":            {"rules:\n  - {id: a, mode: audit, action: deny}\n", "rules:\n  - {id: a, mode: enforce, action: deny}\n"},
		"quoted":          {"rules:\n  - {id: a, mode: \"audit\"}\n", "rules:\n  - {id: a, mode: \"enforce\"}\n"},
		"single quotes":   {"rules:\n  - id: a\n    mode: 'audit'\n", "rules:\n  - id: a\n    mode: 'enforce'\n"},
		"after umlauts":   {"rules:\n  - {reason: öäü 🙂, id: a, mode: audit}\n", "rules:\n  - {reason: öäü 🙂, id: a, mode: enforce}\n"},
		"next line":       {"rules:\n  - id: a\n    mode:\n      audit\n", "rules:\n  - id: a\n    mode:\n      enforce\n"},
		"confinement":     {"confine:\n  - id: a\n    mode: audit\n    process: any\n", "confine:\n  - id: a\n    process: any\n"},
		"line ends":       {"rules:\r\n  - id: a\r\n    mode: audit\r\n    action: deny\r\n", "rules:\r\n  - id: a\r\n    action: deny\r\n"},
		"no last newline": {"rules:\n  - id: a\n    mode: audit", "rules:\n  - id: a\n"},
		"others stay":     {"rules:\n  - id: b\n    mode: audit\n  - {id: a, mode: audit}\n# mode: audit\n", "rules:\n  - id: b\n    mode: audit\n  - {id: a, mode: enforce}\n# mode: audit\n"},
		"two at once":     {"rules:\n  - id: a\n    mode: audit\n  - id: c\n    mode: audit\n", "rules:\n  - id: a\n  - id: c\n"},
	} {
		t.Run(name, func(t *testing.T) {
			out, done, err := Promote([]byte(c.in), []string{"a", "c"})
			if err != nil || len(done) == 0 {
				t.Fatalf("%v, %v", done, err)
			}
			if diff := cmp.Diff(c.want, string(out)); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
	for name, in := range map[string]string{"enforced": "rules:\n  - id: a\n    mode: enforce\n", "no mode": "rules:\n  - id: a\n", "another": "rules:\n  - {id: b, mode: audit}\n",
		"elsewhere": "lists:\n  - {id: a, mode: audit}\n", "empty": "", "a list": "- {id: a, mode: audit}\n"} {
		out, done, err := Promote([]byte(in), []string{"a"})
		if err != nil || len(done) > 0 || string(out) != in {
			t.Errorf("%s: %q, %v, %v", name, out, done, err)
		}
	}
	if _, _, err := Promote([]byte("rules: ["), []string{"a"}); err == nil {
		t.Error("a file that does not parse is no file without rules")
	}
}

func FuzzPromote(f *testing.F) {
	f.Add([]byte("rules:\n  - {id: a, mode: \"audit\"}\n"))
	f.Add([]byte("rules:\n  - id: a\n    mode: &x audit\n  - id: a\n    mode: *x\n"))
	f.Add([]byte("confine: [{? mode\n: audit, id: a}]"))
	f.Fuzz(func(t *testing.T, src []byte) {
		out, done, err := Promote(src, []string{"a"})
		if err != nil {
			return
		}
		if len(done) == 0 && !slices.Equal(out, src) {
			t.Fatalf("%q changed to %q, and nothing was promoted", src, out)
		}
	})
}
