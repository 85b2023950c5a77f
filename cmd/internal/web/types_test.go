package web_test

import (
	"errors"
	"testing"

	"snitch/cmd/internal/web/webtest"
)

// TestTypes has TypeScript check what esbuild takes on trust.
func TestTypes(t *testing.T) {
	if testing.Short() {
		t.Skip("short: runs a compiler")
	}
	said, err := webtest.CheckTypes(t.TempDir(), "ui/src")
	if errors.Is(err, webtest.ErrNoNPM) {
		t.Skipf("missing feature: %v", err)
	}
	if err != nil || said != "" {
		t.Errorf("%v\n%s", err, said)
	}
}
