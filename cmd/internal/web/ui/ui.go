package ui

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"path"
	"strconv"
	"strings"
)

//go:generate go run snitch/tools/webbuild -C ../../../..

//go:embed dist
var dist embed.FS

// types of the files; what has no type here is not served.
var types = map[string]string{
	".js":   "text/javascript; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".json": "application/json",
	".svg":  "image/svg+xml",
	".txt":  "text/plain; charset=utf-8",
}

// Assets are the files, ready to be sent. They are immutable and safe for
// concurrent use.
type Assets struct {
	files map[string]file
	flags map[string]string
	sum   string
}

type file struct{ kind, plain, packed string }

// New reads the embedded files.
func New() (*Assets, error) {
	a := &Assets{files: map[string]file{}}
	entries, err := dist.ReadDir("dist")
	if err != nil {
		return nil, fmt.Errorf("read assets: %w", err)
	}
	all := sha256.New()
	for _, e := range entries {
		data, err := dist.ReadFile(path.Join("dist", e.Name()))
		if err != nil {
			return nil, fmt.Errorf("read assets: %w", err)
		}
		_, _ = all.Write(data) // a hash takes everything
		if e.Name() == "flags.json" {
			if err := json.Unmarshal(data, &a.flags); err != nil {
				return nil, fmt.Errorf("read flags: %w", err)
			}
			continue
		}
		packed, err := pack(data)
		if err != nil {
			return nil, fmt.Errorf("pack %s: %w", e.Name(), err)
		}
		a.files[e.Name()] = file{types[path.Ext(e.Name())], string(data), string(packed)}
	}
	a.sum = hex.EncodeToString(all.Sum(nil))[:16]
	return a, nil
}

// Sum names the version of the files: an address with it may be kept forever.
func (a *Assets) Sum() string { return a.sum }

// Packed is the size of a file as it is sent, in bytes; 0 for none.
func (a *Assets) Packed(name string) int { return len(a.files[name].packed) }

// Names lists the files, without flags.
func (a *Assets) Names() (names []string) {
	for n := range a.files {
		names = append(names, n)
	}
	return names
}

// ServeHTTP answers /assets/SUM/NAME and /assets/SUM/flags/CC.svg.
func (a *Assets) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	sum, name, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/assets/"), "/")
	if sum == a.sum {
		w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	if code, ok := strings.CutPrefix(name, "flags/"); ok {
		a.flag(w, r, strings.TrimSuffix(code, ".svg"))
		return
	}
	f, ok := a.files[name]
	if !ok || f.kind == "" {
		w.Header().Set("Cache-Control", "no-store")
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", f.kind)
	w.Header().Set("Vary", "Accept-Encoding")
	body := f.plain
	if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		w.Header().Set("Content-Encoding", "gzip")
		body = f.packed
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	_, _ = w.Write([]byte(body)) // the peer left
}

func (a *Assets) flag(w http.ResponseWriter, r *http.Request, code string) {
	svg, ok := a.flags[code]
	if !ok {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "image/svg+xml")
	_, _ = w.Write([]byte(svg)) // the peer left
}

func pack(data []byte) ([]byte, error) {
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := z.Write(data); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}
