package owner

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"snitch/monitor/event"
)

// BenchmarkLoad400k loads a dpkg database as large as a desktop's: 3,000
// packages of 133 files.
func BenchmarkLoad400k(b *testing.B) {
	root := b.TempDir()
	d := newDpkg(root)
	for p := range 3000 {
		var list strings.Builder
		fmt.Fprintf(&list, "/.\n/usr\n/usr/lib\n/usr/lib/package-%d\n", p)
		for f := range 133 {
			fmt.Fprintf(&list, "/usr/lib/package-%d/some-file-of-it-%d.so\n", p, f)
		}
		name := d.path("info", fmt.Sprintf("package-%d.list", p))
		writeFile(b, name, list.String())
	}
	for b.Loop() {
		if err := d.load(context.Background(), aliases{}); err != nil {
			b.Fatal(err)
		}
	}
	_, files, bytes := d.size()
	b.ReportMetric(float64(files), "files")
	b.ReportMetric(float64(bytes)/1e6, "MB-index")
}

// BenchmarkLookupKnown is what a connection pays.
func BenchmarkLookupKnown(b *testing.B) {
	o := New(Config{Root: b.TempDir()}, Deps{})
	exe := event.Executable{Kind: event.ExecutableFile, Path: "/usr/bin/curl", SHA256: event.Digest{1}}
	o.remember(key{path: exe.Path, sha256: exe.SHA256}, "curl")
	for b.Loop() {
		if _, known := o.Lookup(exe); !known {
			b.Fatal("unknown")
		}
	}
}
