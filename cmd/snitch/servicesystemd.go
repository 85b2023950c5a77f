package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"strings"
)

// unitName is the service that packages install.
const unitName = "snitch.service"

// hasUnit reports whether systemd runs this machine and has the service.
func hasUnit() bool {
	if info, err := os.Stat("/run/systemd/system"); err != nil || !info.IsDir() {
		return false
	}
	for _, dir := range []string{"/etc/systemd/system", "/run/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"} {
		if _, err := os.Stat(path.Join(dir, unitName)); err == nil {
			return true
		}
	}
	return false
}

// ofUnit reports whether systemd started a process as the service.
func ofUnit(pid int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(text)) {
		if path.Base(strings.TrimSpace(line)) == unitName {
			return true
		}
	}
	return false
}

// systemctl has systemd do it, and waits for it.
func systemctl(ctx context.Context, io stdio, verb string) error {
	cmd := exec.CommandContext(ctx, "systemctl", verb, unitName)
	cmd.Stdout, cmd.Stderr = io.out, io.err
	err := cmd.Run()
	var status *exec.ExitError
	switch {
	case errors.As(err, &status):
		return errorWithHint(fmt.Errorf("systemctl %s %s ended with %d", verb, unitName, status.ExitCode()), "'journalctl -u snitch' says why")
	case err != nil:
		return fmt.Errorf("ask systemd: %w", err)
	}
	return nil
}
