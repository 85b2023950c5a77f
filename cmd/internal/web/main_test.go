package web_test

import (
	"os"
	"testing"
)

// TestMain makes the directory that the tests share.
func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "snitch-web")
	if err != nil {
		panic(err)
	}
	seedDir = dir
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}
