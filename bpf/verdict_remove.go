package bpf

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
)

// RemoveVerdicts switches off, detaches and frees what is pinned in a directory,
// whoever left it there and whoever still holds it, and removes the directory.
// One that is not there is no error.
func RemoveVerdicts(pins string) error {
	entries, err := os.ReadDir(pins)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return fmt.Errorf("list pins: %w", err)
	}
	errs := []error{switchOff(filepath.Join(pins, "controls"))}
	for _, e := range entries {
		path := filepath.Join(pins, e.Name())
		if strings.HasPrefix(e.Name(), linkPrefix) {
			detach(path)
		}
		errs = append(errs, os.Remove(path))
	}
	return errors.Join(append(errs, os.Remove(pins))...)
}

// switchOff lets everything pass that the programs of a control page judge.
func switchOff(path string) error {
	m, err := ebpf.LoadPinnedMap(path, nil)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open control page: %w", err)
	}
	defer m.Close()
	page, err := mapControl(m)
	if err != nil {
		return fmt.Errorf("map control page: %w", err)
	}
	page.off()
	return page.close()
}

// detach ends a link that a process may still hold. Where the kernel cannot
// (tracing; before Linux 5.9), what it runs is switched off.
func detach(path string) {
	l, err := link.LoadPinnedLink(path, nil)
	if err != nil {
		return
	}
	_ = l.Detach()
	_ = l.Close() // it goes with its pin
}
