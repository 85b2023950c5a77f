package vm

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// kernel is one that getkernels fetched.
type kernel struct {
	name    string // "6.1", "7", "6.12-arm64"
	dir     string
	release string // as uname gives it
}

// cacheDir is where kernels and images lie.
func cacheDir() (string, error) {
	if dir := os.Getenv("SNITCH_VM"); dir != "" {
		return dir, nil
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find the cache of kernels: %w; set SNITCH_VM", err)
	}
	return filepath.Join(dir, "snitch-vm"), nil
}

func findKernel(name string) (kernel, error) {
	cache, err := cacheDir()
	if err != nil {
		return kernel{}, err
	}
	dir := filepath.Join(cache, "kernels", name)
	release, err := os.ReadFile(filepath.Join(dir, "RELEASE"))
	if errors.Is(err, os.ErrNotExist) {
		return kernel{}, fmt.Errorf("kernel %s is not in %s: run bpf/bpftest/vm/getkernels %s", name, cache, name)
	}
	if err != nil {
		return kernel{}, fmt.Errorf("read kernel %s: %w", name, err)
	}
	return kernel{name, dir, strings.TrimSpace(string(release))}, nil
}

func (k kernel) arm64() bool { return strings.HasSuffix(k.name, "-arm64") }

func (k kernel) modules() string { return filepath.Join(k.dir, "lib/modules", k.release) }

func (k kernel) image() string { return filepath.Join(k.dir, "vmlinuz") }

// busybox is the guest's only program of its own.
func (k kernel) busybox() string {
	if k.arm64() {
		return filepath.Join(k.dir, "busybox")
	}
	return "/bin/busybox"
}
