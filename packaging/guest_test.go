//go:build package

package packaging_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// guestWithin bounds all boots of the guest: it is emulated, as in
// bpf/bpftest/vm, and takes some ten minutes on two processors.
const guestWithin = 40 * time.Minute

// coreCapabilities are CHOWN, DAC_OVERRIDE, DAC_READ_SEARCH, FOWNER, NET_ADMIN,
// SYS_PTRACE, SYS_ADMIN, PERFMON and BPF.
const coreCapabilities = "000000c00028100f"

// TestGuest installs, upgrades, removes and purges the Debian package on a real
// Debian with systemd; guest/phases.sh is what happens there.
func TestGuest(t *testing.T) {
	release := builds(t)
	image := guestImage(t)
	work := t.TempDir()
	for from, to := range map[string]string{release.old.deb(t): "old.deb", release.new.deb(t): "new.deb"} {
		copyFile(t, from, filepath.Join(work, to))
	}
	for _, name := range []string{"run.sh", "phases.sh", "web.pl", "config.yaml", "rules.yaml"} {
		copyFile(t, filepath.Join("guest", name), filepath.Join(work, name))
	}
	write(t, filepath.Join(work, "capabilities"), coreCapabilities)
	tar := filepath.Join(t.TempDir(), "run.tar")
	command(t, "tar", "-C", work, "-cf", tar, ".")

	ctx, cancel := context.WithTimeout(t.Context(), guestWithin)
	defer cancel()
	console := filepath.Join(t.TempDir(), "console")
	cmd := exec.CommandContext(ctx, "qemu-system-x86_64", "-M", "pc,vmport=off,hpet=off", "-accel", "tcg", "-icount", "shift=1", "-cpu", "max,la57=off,pmu=off", "-smp", "1", "-m", "1024",
		"-nographic", "-nodefaults", "-kernel", filepath.Join(image, "vmlinuz"), "-initrd", filepath.Join(image, "initrd"),
		"-append", "root=/dev/vda rw console=ttyS0 net.ifnames=0 systemd.show_status=1 nowatchdog random.trust_cpu=on",
		"-drive", "file="+filepath.Join(image, "disk.ext4")+",format=raw,if=virtio,snapshot=on",
		"-drive", "file="+tar+",format=raw,if=virtio,readonly=on",
		"-serial", "file:"+console, "-serial", "stdio",
		"-netdev", "user,id=net,restrict=on,guestfwd=tcp:10.0.2.100:80-cmd:echo hello", "-device", "virtio-net-pci,netdev=net,romfile=")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatalf("start the emulator: %v; run tools/setup.sh package", err)
	}
	passed, ended := 0, false
	for lines := bufio.NewScanner(out); lines.Scan(); {
		line := strings.TrimRight(lines.Text(), "\r")
		switch {
		case strings.HasPrefix(line, "ok "):
			passed++
			t.Log(line)
		case line == "end":
			ended = true
		case strings.HasPrefix(line, "not ok "):
			t.Error(strings.ReplaceAll(line, "|", "\n\t"))
		default:
			t.Log(line)
		}
	}
	if err := cmd.Wait(); err != nil || !ended {
		text, _ := os.ReadFile(console) // what cannot be read cannot be shown
		t.Fatalf("the guest did not come to its end: %v (%v)\n%s", err, ctx.Err(), text[max(0, len(text)-8000):])
	}
	t.Logf("%d checks passed", passed)
}

// guestImage is the directory of a Debian to boot, made once.
func guestImage(t *testing.T) string {
	t.Helper()
	cache := os.Getenv("SNITCH_VM")
	if cache == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			t.Fatal(err)
		}
		cache = filepath.Join(user, "snitch-vm")
	}
	dir := filepath.Join(cache, "debian12")
	command(t, "guest/image.sh", dir)
	return dir
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	write(t, to, string(data))
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// command runs a program that must not fail, and returns what it says.
func command(t *testing.T, name string, args ...string) string {
	t.Helper()
	return commandIn(t, ".", nil, name, args...)
}

func commandIn(t *testing.T, dir string, env []string, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", fmt.Sprint(append([]string{name}, args...)), err, out)
	}
	return string(out)
}
