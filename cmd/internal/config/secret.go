package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Bounds of files that settings name.
const (
	maxSecret  = 1 << 16
	maxTrusted = 1 << 17
)

// ReadTrusted reads a file that a setting names, which nobody but root can have
// written (a certificate).
func ReadTrusted(file string) ([]byte, error) { return readNamed(file, maxTrusted, 0o022) }

// ReadSecret reads a secret that a setting names: a file that only root may read,
// or a credential of systemd.
func ReadSecret(file string) ([]byte, error) {
	if name, ok := strings.CutPrefix(file, credential); ok {
		dir := os.Getenv("CREDENTIALS_DIRECTORY")
		if dir == "" {
			return nil, fmt.Errorf("read %s: systemd handed over no credentials (LoadCredential=%s:FILE in the unit)", file, name)
		}
		file = filepath.Join(dir, name)
	}
	return readNamed(file, maxSecret, 0o077)
}

func readNamed(file string, limit int64, mode os.FileMode) ([]byte, error) {
	b, err := readTrusted(file, limit+1, mode)
	var problem *trustError
	switch {
	case errors.As(err, &problem):
		return nil, fmt.Errorf("%s: %w", file, err)
	case err != nil:
		return nil, fmt.Errorf("read: %w", err)
	case int64(len(b)) > limit:
		return nil, fmt.Errorf("%s is larger than %d bytes", file, limit)
	}
	return b, nil
}
