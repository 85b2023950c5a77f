package owner

import (
	"bytes"
	"context"
	"database/sql"
	"path/filepath"
	"strings"
	"testing"
)

// realHeader is a header of the fixture.
func realHeader(f testing.TB) []byte {
	dir := f.TempDir()
	writeFile(f, filepath.Join(dir, rpmFile), string(unpack(f, "rpmdb.sqlite.gz")))
	r := &rpm{dir: dir}
	var blob []byte
	err := r.with(context.Background(), func(db *sql.DB) error {
		return db.QueryRow("SELECT blob FROM Packages ORDER BY length(blob) DESC").Scan(&blob)
	})
	if err != nil {
		f.Fatal(err)
	}
	return blob
}

func FuzzHeader(f *testing.F) {
	blob := realHeader(f)
	f.Add(blob, 0)
	f.Add(blob, 3)
	f.Add(blob[:len(blob)/2], 1)
	f.Add([]byte{0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 4, 0x5d, 0, 0, 0, 8, 0, 0, 0, 0, 255, 255, 255, 255, 0}, 0)
	f.Fuzz(func(t *testing.T, blob []byte, i int) {
		h, err := parseHeader(blob)
		if err != nil {
			return
		}
		c, path, err := h.file(i)
		if err != nil {
			return
		}
		if path != "" && len(c.digest) != 0 && len(c.digest) != md5Size && len(c.digest) != 32 {
			t.Errorf("a digest of %d bytes", len(c.digest))
		}
	})
}

func FuzzDpkg(f *testing.F) {
	f.Add("/.\n/usr\n/usr/bin\n/usr/bin/x\n", "d41d8cd98f00b204e9800998ecf8427e  usr/bin/x\n", "/bin/a\n/bin/b\n:\n", "/usr/bin/x")
	f.Add("/bin/a\n", "zz  bin/a\n", "/bin/a\n/usr/bin/x\nother\n", "/usr/bin/x")
	f.Add("\n\n//\n", "  \n", "\n\n\n", "/")
	root := f.TempDir()
	f.Fuzz(func(t *testing.T, list, sums, divert, path string) {
		d := newDpkg(root)
		for name, text := range map[string]string{"info/p.list": list, "info/p.md5sums": sums, "diversions": divert} {
			writeFile(t, d.path(name), text)
		}
		if err := d.load(context.Background(), aliases{"/bin": "/usr/bin"}); err != nil {
			return
		}
		found, err := d.claims(context.Background(), path)
		if err == nil && len(found) > 0 && divert == "" && !strings.Contains(list, filepath.Base(path)) {
			t.Errorf("%q is claimed by a list without it: %q", path, list)
		}
	})
}

func FuzzMtree(f *testing.F) {
	f.Add("./usr/bin/x sha256digest=b5bb9d8014a0f9b1d61e21e796d78dccdf1352f23cd32812f4850b878ae4944c")
	f.Add(`./a\040b md5=d41d8cd98f00b204e9800998ecf8427e`)
	f.Fuzz(func(t *testing.T, line string) {
		path, digest, ok := mtreeLine(line)
		if ok && !strings.HasPrefix(path, "/") || len(digest) != 0 && len(digest) != md5Size && len(digest) != 32 {
			t.Errorf("%q: got %q, %d bytes", line, path, len(digest))
		}
		if !ok && (path != "" || !bytes.Equal(digest, nil)) {
			t.Errorf("%q is no line, and has a path", line)
		}
	})
}
