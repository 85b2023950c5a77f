//go:build pictures

package main

import (
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"snitch/tools/seed/record"
)

var pictures = flag.String("pictures", "", "directory to write pictures of the web interface into")

// TestWebPictures takes the pictures of the documentation (make screenshots).
func TestWebPictures(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	ok(t, record.Make(t.Context(), record.Config{Dir: dir, Connections: 60_000, Days: 14, Seed: 1, End: time.Now()}))
	w := startWeb(t, "--state", dir)
	b := browser(t)
	ok(t, b.Open(w.address))
	for _, p := range []struct {
		name, path, click string
		width, height     int64
		dark              bool
	}{
		{"overview", "/?last=24h", "", 1440, 1240, false},
		{"overview-dark", "/?last=7d", "", 1440, 1240, true},
		{"explore", "/explore?last=7d&by=domain", "", 1440, 900, false},
		{"program", "/explore?last=7d&by=exe", ".groups tbody .row-open", 1440, 900, true},
		{"alerts", "/alerts?last=7d", ".alert-open", 1440, 800, false},
		{"policy", "/policy?last=7d", ".rules .row-open", 1440, 800, true},
		{"phone", "/?last=24h", "", 390, 844, true},
	} {
		ok(t, b.Screen(p.width, p.height, p.dark))
		ok(t, b.Open(w.origin+p.path))
		if p.click != "" {
			ok(t, b.Click(p.click))
			ok(t, b.Settled())
		}
		png, err := b.Picture(false)
		ok(t, err)
		ok(t, os.WriteFile(filepath.Join(*pictures, "web-"+p.name+".png"), png, 0o644))
	}
	b.Complaints() // the pictures are of a machine without a daemon
}
