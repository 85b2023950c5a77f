package packaging_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// unit is a systemd unit: section.key to its values in order.
type unit map[string][]string

func readUnit(t *testing.T, name string) unit {
	t.Helper()
	f, err := os.Open(filepath.Join("systemd", name))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	u, section := unit{}, ""
	for lines := bufio.NewScanner(f); lines.Scan(); {
		line := strings.TrimSpace(lines.Text())
		key, value, isSetting := strings.Cut(line, "=")
		switch {
		case line == "" || strings.HasPrefix(line, "#"):
		case strings.HasPrefix(line, "["):
			section = strings.Trim(line, "[]")
		case isSetting:
			u[section+"."+key] = append(u[section+"."+key], value)
		default:
			t.Errorf("%s: %q is neither a section nor a setting", name, line)
		}
	}
	return u
}

func (u unit) has(key, word string) bool {
	return slices.ContainsFunc(u[key], func(v string) bool { return slices.Contains(strings.Fields(v), word) })
}

// TestServiceOrder: what the guarantees of docs/service.md rest on.
func TestServiceOrder(t *testing.T) {
	u := readUnit(t, "snitch.service")
	for key, words := range map[string][]string{
		"Unit.Before":               {"network-pre.target", "shutdown.target"},
		"Unit.Wants":                {"network-pre.target"},
		"Unit.Conflicts":            {"shutdown.target"},
		"Unit.DefaultDependencies":  {"no"},
		"Unit.RequiresMountsFor":    {"/var/lib/snitch"},
		"Service.Type":              {"notify"},
		"Service.Restart":           {"on-failure"},
		"Service.RestartKillSignal": {"SIGUSR2"},
		"Service.ReadWritePaths":    {"/var/lib/snitch", "/sys/fs/bpf"},
		"Install.WantedBy":          {"sysinit.target"},
	} {
		for _, word := range words {
			if !u.has(key, word) {
				t.Errorf("snitch.service: %s is %q, want %s", key, u[key], word)
			}
		}
	}
	for key, word := range map[string]string{"Service.RestartPreventExitStatus": "2", "Service.ProtectKernelTunables": "yes", "Service.RestrictSUIDSGID": "yes"} {
		if u.has(key, word) { // what crashed ends with 2; pins need a bpffs that can be written; openat2 is what compares paths
			t.Errorf("snitch.service: %s has %s", key, word)
		}
	}
	if got := u["Service.ExecStart"]; len(got) != 1 || strings.Contains(got[0], "--mode") {
		t.Errorf("ExecStart is %q: the state directory knows the mode", got)
	}
}

// TestUnitsVerify: systemd finds no fault with them.
func TestUnitsVerify(t *testing.T) {
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skip("missing feature: systemd-analyze")
	}
	dir := t.TempDir()
	for _, name := range []string{"snitch.service", "snitch-closed.service", "snitch-web.service", "snitch-web.socket"} {
		text, err := os.ReadFile(filepath.Join("systemd", name))
		if err != nil {
			t.Fatal(err)
		}
		// The program and its pages are not installed here.
		text = []byte(strings.ReplaceAll(string(text), "/usr/bin/snitch", "/bin/true"))
		text = regexp.MustCompile(`(?m)^Documentation=.*$`).ReplaceAll(text, nil)
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command("systemd-analyze", "verify", "--recursive-errors=no", "--man=no", filepath.Join(dir, name)).CombinedOutput()
		if err != nil || len(out) > 0 {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
}

// ceilings of `systemd-analyze security`; docs/service.md explains what is left.
var ceilings = map[string]float64{"snitch.service": 5.0, "snitch-closed.service": 2.0, "snitch-web.service": 0.5}

func TestUnitsAreHardened(t *testing.T) {
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skip("missing feature: systemd-analyze")
	}
	overall := regexp.MustCompile(`Overall exposure level for \S+: ([0-9.]+)`)
	for name, ceiling := range ceilings {
		out, err := exec.Command("systemd-analyze", "security", "--no-pager", "--offline=true", filepath.Join("systemd", name)).CombinedOutput()
		m := overall.FindSubmatch(out)
		if m == nil {
			t.Fatalf("%s: %v\n%s", name, err, out)
		}
		if level, err := strconv.ParseFloat(string(m[1]), 64); err != nil || level > ceiling {
			t.Errorf("%s: exposure %s, want at most %v\n%s", name, m[1], ceiling, out)
		}
	}
}

// TestScripts: each is what its package manager runs it with, and parses.
func TestScripts(t *testing.T) {
	for _, pattern := range []string{"deb/*", "rpm/*", "arch/*", "apk/*", "openrc/*"} {
		scripts, err := filepath.Glob(pattern)
		if err != nil || len(scripts) == 0 {
			t.Fatalf("%s: %q %v", pattern, scripts, err)
		}
		for _, name := range scripts {
			if out, err := exec.Command("sh", "-n", name).CombinedOutput(); err != nil {
				t.Errorf("%s: %s", name, out)
			}
		}
	}
}

// TestRecipe: every file of the repository that the recipe packs is there, and
// every script of this directory is in it.
func TestRecipe(t *testing.T) {
	text, err := os.ReadFile("nfpm.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`(?:src|install|remove|upgrade): "?([a-z][^@",}]*)`).FindAllStringSubmatch(string(text), -1) {
		if found, err := filepath.Glob(filepath.Join("..", m[1])); err != nil || len(found) == 0 {
			t.Errorf("%s is not there", m[1])
		}
	}
	err = filepath.WalkDir(".", func(name string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() && filepath.Dir(name) != "." && !strings.HasPrefix(name, "guest/") && !strings.Contains(string(text), "packaging/"+name) {
			err = fmt.Errorf("%s is packed by nothing", name)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}
