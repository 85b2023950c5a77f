package webtest

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
	"path/filepath"
	"strings"

	"github.com/chromedp/chromedp"
)

// The accessibility checker, which only tests need: npm has it.
const (
	axePackage = "axe-core-4.14.1.tgz"
	axeName    = "axe-core@4.14.1"
	axeSum     = "FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ=="
)

// ErrNoNPM says that the checker cannot be had.
var ErrNoNPM = errors.New("npm")

// Axe returns the source of the checker, from a cache or from npm.
func Axe() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	dir := filepath.Join(cache, "snitch-tests")
	archive, err := os.ReadFile(filepath.Join(dir, axePackage))
	if err != nil || !axeGood(archive) {
		if archive, err = fetchAxe(dir); err != nil {
			return "", err
		}
	}
	if !axeGood(archive) {
		return "", fmt.Errorf("%s is another one than it was", axePackage)
	}
	z, err := gzip.NewReader(bytes.NewReader(archive))
	if err != nil {
		return "", fmt.Errorf("unpack %s: %w", axePackage, err)
	}
	for t := tar.NewReader(z); ; {
		h, err := t.Next()
		if err != nil {
			return "", fmt.Errorf("find the checker in %s: %w", axePackage, err)
		}
		if h.Name == "package/axe.min.js" {
			text, err := io.ReadAll(t)
			return string(text), err
		}
	}
}

func axeGood(archive []byte) bool {
	sum := sha512.Sum512(archive)
	return base64.StdEncoding.EncodeToString(sum[:]) == axeSum
}

func fetchAxe(dir string) ([]byte, error) {
	if _, err := exec.LookPath("npm"); err != nil {
		return nil, ErrNoNPM
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("make cache: %w", err)
	}
	if out, err := exec.Command("npm", "pack", "--silent", "--pack-destination", dir, axeName).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w: pack %s: %w: %s", ErrNoNPM, axeName, err, bytes.TrimSpace(out))
	}
	return os.ReadFile(filepath.Join(dir, axePackage))
}

// Check runs the checker on the page and returns what is serious: rule, help,
// and where.
func (b *Browser) Check(axe string) ([]string, error) {
	// The protocol's evaluation is not bound by the page's policy.
	if err := b.Do(chromedp.Action[chromedp.Void](chromedp.Evaluate[chromedp.Void](axe + ";0"))); err != nil {
		return nil, fmt.Errorf("load checker: %w", err)
	}
	text, err := Eval[string](b, `axe.run(document, {resultTypes: ["violations"], runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]})
		.then((r) => JSON.stringify(r.violations.map((v) => ({id: v.id, impact: v.impact, help: v.help, at: v.nodes.slice(0, 4).map((n) => n.target.join(" ") + " " + (n.any[0]?.message ?? ""))}))))`)
	if err != nil {
		return nil, fmt.Errorf("run checker: %w", err)
	}
	var found []struct {
		ID, Impact, Help string
		At               []string
	}
	if err := json.Unmarshal([]byte(text), &found); err != nil {
		return nil, fmt.Errorf("read result of checker: %w", err)
	}
	var out []string
	for _, v := range found {
		if v.Impact == "serious" || v.Impact == "critical" {
			out = append(out, fmt.Sprintf("%s (%s): %s: %s", v.ID, v.Impact, v.Help, strings.Join(v.At, "; ")))
		}
	}
	return out, nil
}
