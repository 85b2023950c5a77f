package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
)

// library is a package of npm and which of its files are kept.
type library struct {
	name, version, what string
	sum                 string // SHA-512 of its archive, as npm writes it
	dir                 string // below npm/
	files               []string
}

var packages = []library{
	{"preact", "11.2.0", "user interface", "/HfHI/7N84e6GrWBJ3J280z3mLaRJiDcSvj/A+y/4AbLnND/1UlGHe1sR6oYuTGwId0nP7dqDU9OnLxMPZ7xBg==", "preact", []string{"LICENSE", "package.json", "dist/preact.mjs",
		"hooks/dist/hooks.mjs", "jsx-runtime/dist/jsxRuntime.mjs", "src/*.d.ts", "hooks/src/index.d.ts", "jsx-runtime/src/index.d.ts"}},
	{"uplot", "1.6.32", "charts", "KIMVnG68zvu5XXUbC4LQEPnhwOxBuLyW1AHtpm6IKTXImkbLgkMy+jabjLgSLMasNuGGzQm/ep3tOkyTxpiQIw==", "uplot", []string{"LICENSE", "package.json", "dist/uPlot.esm.js", "dist/uPlot.min.css", "dist/uPlot.d.ts"}},
	{"world-atlas", "2.0.2", "borders, from Natural Earth, which is in the public domain", "IXfV0qwlKXpckz1FhwXVwKRjiIhOnWttOskm5CtxMsjgE/MXAYRHWJqgXOpM8IkcPBoXnyTU5lFHcYa5ChG0LQ==", "world-atlas", []string{"LICENSE", "countries-50m.json"}},
	{"country-flag-icons", "1.6.20", "flags", "py8JiEKzjhYw6HPJ0L7SxLgCYim36UPRTZX43/kqGueUCZLSvnrqAiwW8HtQibur7mdkFQUkjOgdK+o/9FBtaw==", "flags", []string{"LICENSE", "3x2/*.svg"}},
}

// maxFile bounds a file of a package.
const maxFile = 8 << 20

// fetchAll fills dir with the libraries.
func fetchAll(dir string) error {
	for _, p := range packages {
		if err := p.fetch(filepath.Join(dir, p.dir)); err != nil {
			return fmt.Errorf("fetch %s: %w", p.name, err)
		}
	}
	return nil
}

func (p library) fetch(dir string) error {
	archive, err := p.pack()
	if err != nil {
		return err
	}
	if sum := sha512.Sum512(archive); base64.StdEncoding.EncodeToString(sum[:]) != p.sum {
		return fmt.Errorf("its archive has SHA-512 %s, not %s", base64.StdEncoding.EncodeToString(sum[:]), p.sum)
	}
	files, err := p.unpack(archive)
	if err != nil {
		return err
	}
	if p.dir == "flags" {
		if files, err = joined(files); err != nil {
			return err
		}
	}
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	for name, data := range files {
		to := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(to, data, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// pack has npm download the archive.
func (p library) pack() ([]byte, error) {
	tmp, err := os.MkdirTemp("", "webbuild")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(tmp)
	cmd := exec.Command("npm", "pack", "--silent", "--pack-destination", tmp, p.name+"@"+p.version)
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("npm pack: %w", err)
	}
	return os.ReadFile(filepath.Join(tmp, p.name+"-"+p.version+".tgz"))
}

// unpack returns the files that are kept.
func (p library) unpack(archive []byte) (map[string][]byte, error) {
	z, err := gzip.NewReader(bytes.NewReader(archive))
	if err != nil {
		return nil, err
	}
	out := map[string][]byte{}
	for t := tar.NewReader(z); ; {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		name, ok := strings.CutPrefix(path.Clean(h.Name), "package/")
		if !ok || !p.keeps(name) {
			continue
		}
		data, err := io.ReadAll(io.LimitReader(t, maxFile))
		if err != nil {
			return nil, err
		}
		out[name] = data
	}
}

func (p library) keeps(name string) bool {
	for _, pattern := range p.files {
		if ok, err := path.Match(pattern, name); err == nil && ok {
			return true
		}
	}
	return false
}

// joined makes one file of the flags, by the two letters of the country.
func joined(files map[string][]byte) (map[string][]byte, error) {
	flags := map[string]string{}
	for name, data := range files {
		if code, ok := strings.CutSuffix(path.Base(name), ".svg"); ok && len(code) == 2 {
			flags[code] = string(data)
		}
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	if err := e.Encode(flags); err != nil {
		return nil, err
	}
	return map[string][]byte{"LICENSE": files["LICENSE"], "flags.json": b.Bytes()}, nil
}
