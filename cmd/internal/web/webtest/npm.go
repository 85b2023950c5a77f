package webtest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// ErrNoNPM says that a package cannot be had.
var ErrNoNPM = errors.New("npm")

// npmPackage is what only tests need, by its SHA-512.
type npmPackage struct{ name, version, sum string }

var (
	axe        = npmPackage{"axe-core", "4.14.1", "FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ=="}
	typescript = npmPackage{"typescript", "5.9.3", "jl1vZzPDinLr9eUt3J/t7V6FgNEw9QjvBPdysz9KfQDD41fQrC2Y4vKQdiaUpFT4bXlb1RHhLpp8wtm6M5TgSw=="}
)

// files calls f with the files of the package, from a cache or from npm.
func (p npmPackage) files(f func(name string, data io.Reader) error) error {
	archive, err := p.archive()
	if err != nil {
		return err
	}
	z, err := gzip.NewReader(bytes.NewReader(archive))
	if err != nil {
		return fmt.Errorf("unpack %s: %w", p.name, err)
	}
	for t := tar.NewReader(z); ; {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil && h.Typeflag == tar.TypeReg {
			err = f(h.Name, t)
		}
		if err != nil {
			return fmt.Errorf("unpack %s: %w", p.name, err)
		}
	}
}

func (p npmPackage) archive() ([]byte, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	dir := filepath.Join(cache, "snitch-tests")
	file := filepath.Join(dir, p.name+"-"+p.version+".tgz")
	archive, err := os.ReadFile(file)
	if err == nil && p.good(archive) {
		return archive, nil
	}
	if _, err := exec.LookPath("npm"); err != nil {
		return nil, ErrNoNPM
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("make cache: %w", err)
	}
	if out, err := exec.Command("npm", "pack", "--silent", "--pack-destination", dir, p.name+"@"+p.version).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w: pack %s: %w: %s", ErrNoNPM, p.name, err, bytes.TrimSpace(out))
	}
	if archive, err = os.ReadFile(file); err != nil {
		return nil, fmt.Errorf("read package: %w", err)
	}
	if !p.good(archive) {
		return nil, fmt.Errorf("%s %s is another one than it was", p.name, p.version)
	}
	return archive, nil
}

func (p npmPackage) good(archive []byte) bool {
	sum := sha512.Sum512(archive)
	return base64.StdEncoding.EncodeToString(sum[:]) == p.sum
}

// CheckTypes has TypeScript look at the sources below src, unpacked into dir,
// and returns what it complains about.
func CheckTypes(dir, src string) (string, error) {
	node, err := exec.LookPath("node")
	if err != nil {
		return "", ErrNoNPM
	}
	err = typescript.files(func(name string, data io.Reader) error {
		if !strings.HasPrefix(name, "package/lib/") || strings.Count(name, "/") != 2 {
			return nil
		}
		b, err := io.ReadAll(data)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(dir, filepath.Base(name)), b, 0o644)
	})
	if err != nil {
		return "", err
	}
	out, err := exec.Command(node, filepath.Join(dir, "tsc.js"), "-p", src).CombinedOutput()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return string(out), nil
	}
	return string(out), err
}
