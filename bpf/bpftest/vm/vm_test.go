package vm

import (
	"bytes"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestClosure(t *testing.T) {
	const dep = `kernel/drivers/net/veth.ko.xz:
kernel/drivers/usb/storage.ko.xz: kernel/drivers/usb/core.ko.xz
kernel/net/bluetooth/bt.ko.xz: kernel/lib/x.ko.xz
kernel/net/sctp/sctp.ko.xz: kernel/arch/x86/crc.ko.xz kernel/drivers/usb/core.ko.xz
kernel/drivers/usb/core.ko.xz:
kernel/arch/x86/crc.ko.xz:
`
	want := []string{
		"kernel/drivers/net/veth.ko.xz", "kernel/net/sctp/sctp.ko.xz",
		"kernel/drivers/usb/core.ko.xz", "kernel/arch/x86/crc.ko.xz",
	}
	if diff := cmp.Diff(want, closure(dep)); diff != "" {
		t.Error(diff)
	}
}

// What the archive holds is what cpio unpacks.
func TestArchive(t *testing.T) {
	if _, err := exec.LookPath("cpio"); err != nil {
		t.Skip("missing feature: cpio (tools/setup.sh vm installs it)")
	}
	host := t.TempDir()
	for name, content := range map[string]string{"a": "alpha", "d/b": "", "d/odd length": "12345"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(host, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(host, name), []byte(content), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	var image bytes.Buffer
	m := Machine{Files: map[string]string{"in": host, "/etc/one": filepath.Join(host, "a")}, Env: []string{"A=it's"}}
	if err := m.addRun(&image, "OUT=x\n", []string{"echo", "$HOME", "it's"}); err != nil {
		t.Fatal(err)
	}
	into := t.TempDir()
	unpack := exec.Command("cpio", "-idm", "--quiet", "--no-absolute-filenames")
	unpack.Dir, unpack.Stdin = into, &image
	if out, err := unpack.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	got := map[string]string{}
	err := fs.WalkDir(os.DirFS(into), ".", func(name string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			content, _ := os.ReadFile(filepath.Join(into, name))
			got[name] = string(content)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"work/in/a": "alpha", "work/in/d/b": "", "work/in/d/odd length": "12345", "etc/one": "alpha",
		"vm/ports":   "OUT=x\n",
		"vm/command": "cd '/work' || exit 1\nexport 'A=it'\\''s'\nexec 'echo' '$HOME' 'it'\\''s'\n",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestArchiveMissingFile(t *testing.T) {
	m := Machine{Files: map[string]string{"in": filepath.Join(t.TempDir(), "none")}}
	if err := m.addRun(&bytes.Buffer{}, "", nil); err == nil {
		t.Error("a file that does not exist was packed")
	}
}

func TestUnknownKernel(t *testing.T) {
	t.Setenv("SNITCH_VM", t.TempDir())
	_, err := Machine{Kernel: "2.4"}.Run(t.Context(), "true")
	if err == nil || !strings.Contains(err.Error(), "getkernels 2.4") {
		t.Errorf("got error %v, want one that names the command to run", err)
	}
}

func TestTail(t *testing.T) {
	l := &tail{max: 4}
	for _, s := range []string{"ab", "cdef", "g"} {
		if n, err := l.Write([]byte(s)); n != len(s) || err != nil {
			t.Errorf("Write(%q) is %d, %v", s, n, err)
		}
	}
	if got := l.String(); got != "defg" {
		t.Errorf("got %q, want defg", got)
	}
}
