package text

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"
)

func TestClean(t *testing.T) {
	for name, c := range map[string]struct{ in, want string }{
		"plain":       {"/usr/bin/curl", "/usr/bin/curl"},
		"accents":     {"café ü 漢字", "café ü 漢字"},
		"escape":      {"a\x1b[31mb", `a\x1b[31mb`},
		"c1 csi":      {"a\u009b31m", `a\u009b31m`},
		"bidi":        {"exe\u202egpj.", `exe\u202egpj.`},
		"isolate":     {"a\u2066b\u2069", `a\u2066b\u2069`},
		"zero width":  {"pay\u200bpal", `pay\u200bpal`},
		"line feed":   {"a\nb\tc\r", `a\nb\tc\x0d`},
		"not utf-8":   {"a\xff\xc3", `a\xff\xc3`},
		"replacement": {"a\ufffd", "a\ufffd"},
		"nbsp":        {"a\u00a0b", `a\u00a0b`},
		"tag":         {"a\U000e0041", `a\U000e0041`},
		"nul, del":    {"\x00\x7f", `\x00\x7f`},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Clean(c.in); got != c.want {
				t.Errorf("Clean(%q) = %q, want %q", c.in, got, c.want)
			}
		})
	}
}

func FuzzClean(f *testing.F) {
	f.Add("a\x1b]0;title\x07", 10)
	f.Add("\u202e\xff漢字e\u0301", 3)
	f.Fuzz(func(t *testing.T, s string, width int) {
		got := Clean(s)
		if !utf8.ValidString(got) || strings.ContainsFunc(got, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Fatalf("Clean(%q) = %q is not printable", s, got)
		}
		if width = width % 200; width > 1 {
			for _, tail := range []bool{false, true} {
				if fit := Fit(got, width, tail); Width(fit) != width {
					t.Fatalf("Fit(%q, %d, %v) = %q takes %d cells", got, width, tail, fit, Width(fit))
				}
			}
		}
		line, err := JSON(map[string]string{"k": s})
		if err != nil {
			t.Fatal(err)
		}
		if strings.ContainsFunc(string(line), func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Fatalf("JSON of %q is not printable: %q", s, line)
		}
		var back map[string]string
		if err := json.Unmarshal(line, &back); err != nil {
			t.Fatalf("JSON of %q does not parse: %v", s, err)
		}
		if want := strings.ToValidUTF8(s, "\ufffd"); utf8.ValidString(s) && back["k"] != want {
			t.Fatalf("JSON of %q reads back %q", s, back["k"])
		}
	})
}

func TestFit(t *testing.T) {
	for name, c := range map[string]struct {
		in    string
		width int
		tail  bool
		want  string
	}{
		"pads":       {"ab", 4, false, "ab  "},
		"cuts end":   {"abcdef", 4, false, "abc…"},
		"cuts start": {"abcdef", 4, true, "…def"},
		"wide":       {"漢字漢字", 5, false, "漢字…"},
		"wide start": {"漢字漢字", 4, true, "…字 "},
		"as it is":   {"abcdef", 0, false, "abcdef"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Fit(c.in, c.width, c.tail); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestBytes(t *testing.T) {
	for n, want := range map[uint64]string{0: "0 B", 999: "999 B", 1000: "1.0 kB", 9949: "9.9 kB", 9950: "10 kB",
		12345: "12 kB", 999_499: "999 kB", 999_500: "1.0 MB", 3_400_000_000: "3.4 GB", 1<<64 - 1: "18 EB"} {
		if got := Bytes(n); got != want {
			t.Errorf("Bytes(%d) = %q, want %q", n, got, want)
		}
	}
}

func TestDuration(t *testing.T) {
	for d, want := range map[time.Duration]string{850 * time.Millisecond: "850ms", 12 * time.Second: "12s",
		200 * time.Second: "3m20s", 312 * time.Minute: "5h12m", 99 * time.Hour: "4d3h"} {
		if got := Duration(d); got != want {
			t.Errorf("Duration(%d) = %q, want %q", d, got, want)
		}
	}
}

func TestNearest(t *testing.T) {
	words := []string{"interval", "retention", "state", "log_level"}
	for in, want := range map[string]string{"intervall": "interval", "sate": "state", "satte": "state", "retension": "retention",
		"loglevel": "log_level", "State": "state", "xyz": "", strings.Repeat("a", 100): ""} {
		if got := Nearest(in, words); got != want {
			t.Errorf("Nearest(%q) = %q, want %q", in, got, want)
		}
	}
}
