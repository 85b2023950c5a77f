package owner

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
)

// The databases in testdata were made by the real rpm and pacman
// (testdata/make.sh).

func unpack(t testing.TB, file string) []byte {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", file))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// newFedora is a root with rpm's database and the files of its packages.
func newFedora(t *testing.T, dir string) string {
	t.Helper()
	root := t.TempDir()
	writeFile(t, filepath.Join(root, dir, rpmFile), string(unpack(t, "rpmdb.sqlite.gz")))
	writeFile(t, filepath.Join(root, "/usr/bin/hello"), "hello, world\n")
	writeFile(t, filepath.Join(root, "/usr/bin/hello world"), "a name with a space\n")
	writeFile(t, filepath.Join(root, "/opt/other/hello"), "another hello\n")
	writeFile(t, filepath.Join(root, "/usr/share/hello/hello"), "data\n")
	writeFile(t, filepath.Join(root, "/usr/local/bin/hello"), "hello, world\n")
	return root
}

func TestRPM(t *testing.T) {
	for _, dir := range rpmDirs {
		t.Run(dir, func(t *testing.T) {
			h := newHost(t, newFedora(t, dir))
			h.want("/usr/bin/hello", "hello")
			h.want("/usr/bin/hello world", "hello")
			h.want("/opt/other/hello", "other")
			h.want("/usr/share/hello/hello", "hello")
			h.want("/usr/local/bin/hello", None)
			h.write("/opt/other/hello", "hello, world\n")
			h.want("/opt/other/hello", "modified:other")
			stats := h.Stats()
			if len(stats.Databases) != 1 || stats.Databases[0].Packages != 2 || stats.Hashed != 0 || stats.Failed != 0 {
				t.Errorf("stats: %+v", stats)
			}
			left, err := filepath.Glob(filepath.Join(h.root, dir, "*"))
			if err != nil || len(left) != 1 {
				t.Errorf("beside the database: %v, %v", left, err)
			}
		})
	}
}

// TestRPMDamaged: a database that cannot be read knows nothing, and never that
// nobody owns a file.
func TestRPMDamaged(t *testing.T) {
	root := newFedora(t, rpmDirs[0])
	file := filepath.Join(root, rpmDirs[0], rpmFile)
	text := unpack(t, "rpmdb.sqlite.gz")
	for name, damaged := range map[string][]byte{"short": text[:len(text)/2], "empty": {}, "text": []byte("no database"), "zeros": make([]byte, len(text))} {
		writeFile(t, file, string(damaged))
		h := newHost(t, root)
		for _, path := range []string{"/usr/bin/hello", "/usr/local/bin/hello"} {
			if got := h.ask(h.executable(path)); got != "" && (name != "short" || got == None) {
				t.Errorf("%s: %s: got %q", name, path, got)
			}
		}
	}
	// One whose tables are there and whose headers are not.
	text = bytes.ReplaceAll(text, []byte("/usr/bin/\x00"), []byte("/usr/bin/x"))
	writeFile(t, file, string(text))
	h := newHost(t, root)
	_ = h.ask(h.executable("/usr/bin/hello")) // it ends
}

func newArch(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	r := tar.NewReader(bytes.NewReader(unpack(t, "pacman-local.tar.gz")))
	for {
		head, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if head.Typeflag != tar.TypeReg {
			continue
		}
		text, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		writeFile(t, filepath.Join(root, "var/lib/pacman", head.Name), string(text))
	}
	writeFile(t, filepath.Join(root, "/usr/bin/hello"), "hello, world\n")
	writeFile(t, filepath.Join(root, "/usr/bin/hello world"), "a name with a space\n")
	writeFile(t, filepath.Join(root, "/usr/bin/nobodys"), "x")
	return root
}

func TestPacman(t *testing.T) {
	h := newHost(t, newArch(t))
	h.want("/usr/bin/hello", "hello-tool")
	h.want("/usr/bin/hello world", "hello-tool")
	h.want("/usr/bin/nobodys", None)
	h.write("/usr/bin/hello", "hello, me\n")
	h.want("/usr/bin/hello", "modified:hello-tool")
	if stats := h.Stats(); len(stats.Databases) != 1 || stats.Databases[0].Files != 5 || stats.Hashed != 0 || stats.Failed != 0 {
		t.Errorf("stats: %+v", stats)
	}
	// Without digests it is owned and no more.
	mtree, err := filepath.Glob(filepath.Join(h.root, "var/lib/pacman/local/*/mtree"))
	if err != nil || len(mtree) != 1 {
		t.Fatalf("mtree: %v, %v", mtree, err)
	}
	if err := os.Remove(mtree[0]); err != nil {
		t.Fatal(err)
	}
	h.write("/usr/bin/hello", "hello, you\n")
	h.want("/usr/bin/hello", "unverified:hello-tool")
}

func TestMtreeLine(t *testing.T) {
	const sum = "b5bb9d8014a0f9b1d61e21e796d78dccdf1352f23cd32812f4850b878ae4944c"
	for line, want := range map[string]struct {
		path string
		size int
		ok   bool
	}{
		"./usr/bin/x time=1.0 sha256digest=" + sum:                           {"/usr/bin/x", 32, true},
		"./a\\040b md5digest=d41d8cd98f00b204e9800998ecf8427e":               {"/a b", 16, true},
		"./x md5digest=d41d8cd98f00b204e9800998ecf8427e sha256digest=" + sum: {"/x", 32, true},
		"./link type=link link=hello":                                        {"/link", 0, true},
		"./x sha256digest=" + sum[2:]:                                        {"/x", 0, true},
		"./x sha256digest=zz":                                                {"/x", 0, true},
		"/set type=file uid=0":                                               {"", 0, false},
		"#mtree":                                                             {"", 0, false},
		"./bad\\04":                                                          {"", 0, false},
		"./bad\\999":                                                         {"", 0, false},
		"":                                                                   {"", 0, false},
	} {
		path, digest, ok := mtreeLine(line)
		if path != want.path || len(digest) != want.size || ok != want.ok {
			t.Errorf("%q: got %q, %d bytes, %v", line, path, len(digest), ok)
		}
	}
}
