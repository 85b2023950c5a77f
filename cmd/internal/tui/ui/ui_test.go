package ui

import (
	"fmt"
	"strings"
	"testing"
	"unicode"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"
	"pgregory.net/rapid"
)

// TestCleanAndFit: whatever goes in, what comes out is printable and of one
// width, however a terminal measures.
func TestCleanAndFit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.OneOf(rapid.String(), rapid.StringOf(rapid.SampledFrom([]rune("a漢\u0301👍🏽🇩🇪❤\ufe0f\u200d\x1b\u202e각ก็")))).Draw(t, "text")
		clean := Clean(s)
		for _, r := range clean {
			if !unicode.IsPrint(r) {
				t.Fatalf("%q became %q", s, clean)
			}
		}
		if again := Clean(clean); again != clean {
			t.Fatalf("%q becomes %q", clean, again)
		}
		width := rapid.IntRange(1, 40).Draw(t, "width")
		for _, form := range [][2]bool{{}, {true, false}, {false, true}, {true, true}} {
			fit := Fit(clean, width, form[0], form[1])
			if a, b := ansi.StringWidth(fit), ansi.StringWidthWc(fit); a != width || b != width {
				t.Fatalf("%q in %d cells is %q: %d or %d", clean, width, fit, a, b)
			}
		}
	})
}

func FuzzClean(f *testing.F) {
	f.Add("e\u0301\u0302\u0303\u0304 \x1b]0;x\x07 👩\u200d🚀", 7)
	f.Add("\ud7d1", -19)
	f.Fuzz(func(t *testing.T, s string, width int) {
		width = 1 + (width&0x7fffffff)%100
		if line := ansi.Strip(NewTheme(true).Line(width, Span{Text: s}, Span{Text: s, Width: 5, Right: true}, Span{Text: s, Tail: true})); ansi.StringWidthWc(line) != width || ansi.StringWidth(line) != width {
			t.Errorf("%q in %d cells: %q", s, width, line)
		}
	})
}

// TestTableFits: the columns of a table fill its width exactly, whatever the
// width and whatever is left out.
func TestTableFits(t *testing.T) {
	th := NewTheme(false)
	rapid.Check(t, func(t *rapid.T) {
		var table Table
		for i := range rapid.IntRange(1, 9).Draw(t, "columns") {
			table.Columns = append(table.Columns, Column{Title: fmt.Sprint("C", i), Width: rapid.IntRange(1, 20).Draw(t, "width"),
				Flex: rapid.IntRange(0, 3).Draw(t, "flex"), Max: rapid.SampledFrom([]int{0, 10, 30}).Draw(t, "max"), Drop: rapid.IntRange(0, 4).Draw(t, "drop")})
		}
		table.Row = func(i int, cells []Cell) {
			for j := range cells {
				cells[j].Text = strings.Repeat("漢x", i)
			}
		}
		table.SetRows(rapid.IntRange(0, 50).Draw(t, "rows"))
		width, height := rapid.IntRange(20, 150).Draw(t, "screen width"), rapid.IntRange(2, 20).Draw(t, "screen height")
		for _, key := range rapid.SliceOf(rapid.SampledFrom([]string{"up", "down", "pgup", "pgdown", "home", "end"})).Draw(t, "keys") {
			table.Key(key)
			lines := table.Lines(th, width, height)
			if len(lines) != height {
				t.Fatalf("%d lines, want %d", len(lines), height)
			}
			seen := table.Len() == 0
			for _, l := range lines {
				if n := ansi.StringWidthWc(l); n != width {
					t.Fatalf("%d cells, want %d: %q", n, width, ansi.Strip(l))
				}
				seen = seen || strings.HasPrefix(ansi.Strip(l), "▌")
			}
			if !seen {
				t.Fatal("the cursor's row is not drawn")
			}
		}
	})
}

func TestTableFind(t *testing.T) {
	words := []string{"Anna", "bob", "cleo", "BOB again"}
	var table Table
	table.SetRows(len(words))
	text := func(i int) string { return words[i] }
	for _, step := range []struct {
		forward, here bool
		want          int
	}{{true, true, 1}, {true, true, 1}, {true, false, 3}, {true, false, 1}, {false, false, 3}} {
		if !table.Find("bob", step.forward, step.here, text) || table.Cursor() != step.want {
			t.Errorf("%+v: at %d", step, table.Cursor())
		}
	}
	if table.Find("dora", true, true, text) || table.Cursor() != 3 {
		t.Error("found what is not there")
	}
}

func TestUnits(t *testing.T) {
	for _, c := range []struct {
		units Units
		n     uint64
		want  string
	}{{Decimal, 1_234_567, "1.2 MB"}, {Binary, 1_234_567, "1.2 MiB"}, {Binary, 1023, "1023 B"}, {Binary, 1<<64 - 1, "16 EiB"}, {Exact, 1_234_567, "1,234,567"},
		{Exact, 999, "999"}, {Exact, 1000, "1,000"}, {Kilo, 1_234_567, "1,234.6"}, {Mega, 50, "<0.1"}, {Mega, 0, "0.0"}, {Giga, 1_234_567_890_123, "1,234.6"}} {
		if got := c.units.Bytes(c.n); got != c.want {
			t.Errorf("%d in %s: %q, want %q", c.n, c.units, got, c.want)
		}
	}
	u := Decimal
	for range units {
		u = u.Next().Next().Prev()
	}
	if u != Decimal {
		t.Errorf("once round: %s", u)
	}
}

func TestDrawings(t *testing.T) {
	for got, want := range map[string]string{
		Spark([]uint64{0, 1, 50, 100}, 6, 100): "   ▁▄█",
		Spark([]uint64{7, 8}, 1, 8):            "█",
		Spark([]uint64{5}, 2, 0):               "  ",
		Bar(0.5, 4):                            "██  ",
		Bar(0.0001, 3):                         "▏  ",
		Bar(2, 2):                              "██",
		strings.Join(Chart([]uint64{0, 1, 16, 8}, 4, 2), "|"):      "  █ | ▁██",
		fmt.Sprint(Resample([]uint64{1, 9, 2, 3}, 2)):              "[9 3]",
		fmt.Sprint(Resample([]uint64{1, 2}, 4)):                    "[1 1 2 2]",
		Shorten("exe=/usr/lib/a/very/long/path/to/program", 20):    "exe=/usr/…o/program",
		Filter("exe", "=", `a,b*c\d`):                              `exe=a\,b\*c\\d`,
		KeyMap{{Keys: []string{"tab"}, Action: "x"}}.Action("tab"): "x",
		(&Binding{Keys: []string{"enter", "space", "f"}}).Names():  "⏎ space f",
		strings.Join(Wrap("漢字abc", 3), "|"):                        "漢|字a|bc",
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestPrompt(t *testing.T) {
	var p Prompt
	p.Open("filter", "nam")
	for _, k := range []tea.KeyPressMsg{{Text: "e", Code: 'e'}, {Code: tea.KeyHome}, {Text: "!", Code: '!'}, {Code: tea.KeyEnd}, {Text: "=漢", Code: '='}, {Code: tea.KeyBackspace},
		{Text: "x", Code: 'x'}, {Code: tea.KeyLeft}, {Code: tea.KeyDelete}} {
		if p.Key(k) != Editing {
			t.Fatalf("%v ends it", k)
		}
	}
	p.Paste("a\nb\x1b[2J")
	if got := p.Text(); got != "!name=a b[2J" {
		t.Errorf("typed %q", got)
	}
	p.Paste(strings.Repeat("x", 10_000))
	if n := len(p.Text()); n != maxPrompt {
		t.Errorf("%d characters were taken", n)
	}
	if n := ansi.StringWidthWc(p.Line(NewTheme(true), 50)); n != 50 {
		t.Errorf("a long text is drawn in %d cells", n)
	}
	p.Key(tea.KeyPressMsg{Code: 'u', Mod: tea.ModCtrl})
	if p.Text() != "" {
		t.Errorf("ctrl+u leaves %q", p.Text())
	}
	if p.Key(tea.KeyPressMsg{Code: tea.KeyBackspace}) != Canceled || p.Key(tea.KeyPressMsg{Code: tea.KeyEnter}) != Accepted {
		t.Error("backspace in an empty prompt, enter")
	}
}
