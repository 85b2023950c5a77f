package main

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const ui = "../../" + uiDir

// TestDistIsOfTheSources holds the committed files against the sources.
func TestDistIsOfTheSources(t *testing.T) {
	files, err := Build(ui)
	if err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(filepath.Join(ui, "dist"))
	if err != nil {
		t.Fatal(err)
	}
	var there []string
	for _, e := range entries {
		there = append(there, e.Name())
	}
	if want := slices.Sorted(maps.Keys(files)); !slices.Equal(there, want) {
		t.Fatalf("dist holds %q, the sources make %q: run make web", there, want)
	}
	for name, want := range files {
		got, err := os.ReadFile(filepath.Join(ui, "dist", name))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s is not what the sources make: run make web", name)
		}
	}
}

// TestBudget holds the JavaScript below its budget, as it is sent.
func TestBudget(t *testing.T) {
	const budget = 150_000
	files, err := Build(ui)
	if err != nil {
		t.Fatal(err)
	}
	total := 0
	for name, data := range files {
		if !strings.HasSuffix(name, ".js") {
			continue
		}
		var b bytes.Buffer
		z, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := z.Write(data); err != nil {
			t.Fatal(err)
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		total += b.Len()
	}
	t.Logf("%d bytes of JavaScript, gzip", total)
	if total == 0 || total > budget {
		t.Errorf("%d bytes of JavaScript, want 1 to %d", total, budget)
	}
}

// TestSourcesObeyThePolicy finds what the content security policy forbids, and
// what loads from elsewhere.
func TestSourcesObeyThePolicy(t *testing.T) {
	files, err := Build(ui)
	if err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{"eval(", "new Function", ".insertAdjacentHTML", "document.write", "importScripts"} {
		if bytes.Contains(files["app.js"], []byte(word)) {
			t.Errorf("app.js has %q", word)
		}
	}
	err = filepath.WalkDir(filepath.Join(ui, "src"), func(path string, _ os.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".tsx") {
			return err
		}
		text, err := os.ReadFile(path)
		for _, word := range []string{"dangerouslySetInnerHTML", "innerHTML", " style=\"", "setAttribute(\"style\""} {
			if strings.Contains(string(text), word) {
				t.Errorf("%s has %q", path, word)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestWorld looks for countries that must be on the map, at about where they
// are, and for outlines that leave it.
func TestWorld(t *testing.T) {
	data, err := world(filepath.Join(ui, "npm"))
	if err != nil {
		t.Fatal(err)
	}
	var m worldMap
	if err := json.Unmarshal(data, &m); err != nil {
		t.Fatal(err)
	}
	for _, code := range []string{"US", "DE", "CN", "BR", "ZA", "AU", "RU", "SG", "HK", "MT", "XK", "TW"} {
		if m.Paths[code] == "" && m.Dots[code] == [2]int{} {
			t.Errorf("%s is not on the map", code)
		}
	}
	if m.Paths["AQ"] != "" {
		t.Error("Antarctica is on the map")
	}
	for code, at := range m.Dots {
		if at[0] < 0 || at[0] > m.Width || at[1] < 0 || at[1] > m.Height {
			t.Errorf("%s lies at %v, beside the map of %d×%d", code, at, m.Width, m.Height)
		}
	}
	if at := m.Dots["SG"]; at[0] < 1500 || at[0] > 1650 || at[1] < 420 || at[1] > 520 {
		t.Errorf("Singapore lies at %v", at)
	}
}

// TestCut cuts land that goes on behind the 180th meridian into two.
func TestCut(t *testing.T) {
	ring := []point{{170, 60}, {190, 60}, {190, 70}, {170, 70}}
	parts := cut(ring)
	if len(parts) != 2 {
		t.Fatalf("%d parts: %v", len(parts), parts)
	}
	for _, part := range parts {
		for _, p := range part {
			if p.x < -180 || p.x > 180 {
				t.Errorf("%v leaves the map", p)
			}
		}
		if got := area(part); got != 100 {
			t.Errorf("a part of %v square degrees, want 100", got)
		}
	}
}
