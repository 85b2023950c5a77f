//go:build package

package packaging_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// TestReproducible: the same commit, built twice at other places by other
// people, gives the same bytes.
func TestReproducible(t *testing.T) {
	b := builds(t)
	first, second := digests(t, string(b.old)), digests(t, string(b.again))
	if len(first) != 7 { // four packages, tarball, bill of materials, digests
		t.Errorf("made %d files: %q", len(first), slices.Sorted(maps.Keys(first)))
	}
	for name, sum := range first {
		if second[name] != sum {
			t.Errorf("%s differs between two builds", name)
		}
	}
	command(t, "sh", "-c", "cd "+string(b.old)+" && sha256sum --quiet -c SHA256SUMS")
}

// TestSameEverywhere: every package brings the same files, with the same bytes,
// modes and owners, but for what is named here.
func TestSameEverywhere(t *testing.T) {
	old := builds(t).old
	roots := map[string]string{}
	for format, unpack := range map[string][]string{
		".deb":         {"dpkg-deb", "-x", old.deb(t)},
		".apk":         {"tar", "--warning=no-unknown-keyword", "--exclude=.[A-Za-z]*", "-xpzf", old.find(t, ".apk"), "-C"},
		".pkg.tar.zst": {"tar", "--zstd", "--exclude=.[A-Za-z]*", "-xpf", old.find(t, ".pkg.tar.zst"), "-C"},
	} {
		roots[format] = t.TempDir()
		command(t, unpack[0], append(unpack[1:], roots[format])...)
	}
	roots[".rpm"] = t.TempDir()
	command(t, "sh", "-c", "rpm2cpio "+old.rpm(t)+" | cpio --quiet -idm --no-absolute-filenames -D "+roots[".rpm"])
	want := tree(t, roots[".rpm"])
	for _, name := range []string{"usr/bin/snitch", "usr/lib/systemd/system/snitch.service", "usr/share/man/man1/snitch.1.gz", "usr/share/man/man1/snitch-run.1.gz",
		"usr/share/bash-completion/completions/snitch", "usr/share/fish/vendor_completions.d/snitch.fish", "usr/share/zsh/_snitch", "usr/lib/sysusers.d/snitch.conf",
		"usr/lib/tmpfiles.d/snitch.conf", "etc/snitch/rules", "usr/share/doc/snitch/copyright", "usr/share/doc/snitch/third-party-licences.gz", "usr/share/doc/snitch/docs/rules.md"} {
		if _, ok := want[name]; !ok {
			t.Errorf("the packages have no %s", name)
		}
	}
	for format, root := range roots {
		got := tree(t, root)
		if _, ok := got["etc/init.d/snitch"]; ok != (format == ".apk") {
			t.Errorf("%s: /etc/init.d/snitch: %v", format, ok)
		}
		delete(got, "etc/init.d/snitch")
		delete(got, "etc/init.d")
		for name, entry := range want {
			if got[name] != entry {
				t.Errorf("%s: %s is %q, and %q in the rpm", format, name, got[name], entry)
			}
		}
		for name := range got {
			if _, ok := want[name]; !ok {
				t.Errorf("%s: %s is not in the rpm", format, name)
			}
		}
	}
}

// TestControl: what package managers read of each package.
func TestControl(t *testing.T) {
	b := builds(t)
	for query, want := range map[string]string{
		"dpkg-deb -f " + b.old.deb(t) + " Package Version Architecture":                        "Package: snitch\nVersion: 1.0.0-1\nArchitecture: amd64\n",
		"rpm -qp --qf '%{NAME} %{VERSION} %{ARCH} %{LICENSE}' " + b.old.rpm(t):                 "snitch 1.0.0 x86_64 Apache-2.0 AND (GPL-2.0-only OR BSD-2-Clause)",
		"tar -xzOf " + b.old.find(t, ".apk") + " .PKGINFO 2>/dev/null | grep ^pkgver":          "pkgver = 1.0.0-r1\n",
		"tar --zstd -xOf " + b.old.find(t, ".zst") + " .PKGINFO | grep '^pkg\\(ver\\|name\\)'": "pkgname = snitch\npkgver = 1.0.0-1\n",
		"dpkg-deb -I " + b.old.deb(t) + " postinst prerm postrm | grep -c ^#!":                 "3\n",
	} {
		if got := command(t, "sh", "-c", query); got != want {
			t.Errorf("%s\ngot  %q\nwant %q", query, got, want)
		}
	}
}

// TestBill: the bill of materials names every module in the binary, with a
// licence whose text is in the package.
func TestBill(t *testing.T) {
	old := builds(t).old
	data, err := os.ReadFile(old.find(t, ".cdx.json"))
	if err != nil {
		t.Fatal(err)
	}
	var bill struct {
		Components []struct {
			Purl     string
			Licenses []struct{ License struct{ ID string } }
		}
	}
	if err := json.Unmarshal(data, &bill); err != nil {
		t.Fatal(err)
	}
	listed := map[string]bool{}
	for _, c := range bill.Components {
		listed[c.Purl] = len(c.Licenses) == 1 && c.Licenses[0].License.ID != ""
	}
	root := t.TempDir()
	command(t, "dpkg-deb", "-x", old.deb(t), root)
	texts := command(t, "gzip", "-dc", filepath.Join(root, "usr/share/doc/snitch/third-party-licences.gz"))
	modules := 0
	for line := range strings.Lines(command(t, "go", "version", "-m", filepath.Join(root, "usr/bin/snitch"))) {
		if f := strings.Fields(line); len(f) >= 3 && f[0] == "dep" {
			modules++
			if !listed["pkg:golang/"+f[1]+"@"+f[2]] {
				t.Errorf("%s %s is not in the bill of materials, or without a licence", f[1], f[2])
			}
			if !strings.Contains(texts, "\n"+f[1]+" "+f[2]+" (") {
				t.Errorf("%s: no licence text", f[1])
			}
		}
	}
	if modules < 20 || !strings.Contains(string(data), "pkg:npm/preact@") {
		t.Errorf("%d modules; is the web interface's part there?", modules)
	}
}

// TestTarball: the binary in it runs, and is static.
func TestTarball(t *testing.T) {
	dir := t.TempDir()
	command(t, "tar", "--strip-components=1", "-xzf", builds(t).old.find(t, ".tar.gz"), "-C", dir)
	if got := command(t, filepath.Join(dir, "snitch"), "version"); !strings.HasPrefix(got, "snitch v1.0.0 ") {
		t.Errorf("version: %q", got)
	}
	if out, err := exec.Command("ldd", filepath.Join(dir, "snitch")).CombinedOutput(); err == nil {
		t.Errorf("it is linked with\n%s", out)
	}
	for _, name := range []string{"README.md", "LICENSE", "man/snitch.1.gz", "systemd/snitch.service", "docs/rules.md"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Error(err)
		}
	}
}

// TestRPM: rpm installs, verifies, upgrades and erases it in a root of its own,
// with scripts that really run there.
func TestRPM(t *testing.T) {
	b := builds(t)
	root := t.TempDir()
	for _, dir := range []string{"bin", "etc", "var/lib/rpm", "dev", "tmp"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	command(t, "sh", "-c", "cp \"$(command -v busybox)\" "+root+"/bin/busybox && for tool in sh mkdir chgrp; do ln -s busybox "+root+"/bin/$tool; done")
	write(t, filepath.Join(root, "etc/passwd"), "root:x:0:0::/:/bin/sh\n")
	write(t, filepath.Join(root, "etc/group"), "root:x:0:\nsnitch:x:990:\n")
	before := tree(t, root)
	rpm := func(args ...string) string {
		t.Helper()
		// In a network of its own: what its scripts take out of the kernel is not the host's.
		return command(t, "unshare", append([]string{"-n", "rpm", "--root", root, "--define", "_dbpath /var/lib/rpm"}, args...)...)
	}
	rpm("-i", "--nodeps", b.old.rpm(t))
	rpm("-V", "--nodeps", "snitch")
	if got := rpm("-q", "--qf", "%{VERSION}", "snitch"); got != "1.0.0" {
		t.Errorf("installed %s", got)
	}
	if info, err := os.Stat(filepath.Join(root, "var/lib/snitch")); err != nil || info.Mode().Perm() != 0o750 || info.Sys().(*syscall.Stat_t).Gid != 990 {
		t.Errorf("state directory: %v %v", info, err)
	}
	write(t, filepath.Join(root, "etc/snitch/config.yaml"), "version: 1\n")
	write(t, filepath.Join(root, "var/lib/snitch/snitch.db"), "the record")
	rpm("-U", "--nodeps", b.new.rpm(t))
	rpm("-V", "--nodeps", "snitch")
	if got := rpm("-q", "--qf", "%{VERSION}", "snitch"); got != "1.0.1" {
		t.Errorf("upgraded to %s", got)
	}
	rpm("-e", "snitch")
	after := tree(t, root)
	for name := range after {
		kept := strings.HasPrefix(name, "var/lib/snitch") || strings.HasPrefix(name, "etc/snitch") || strings.HasPrefix(name, "var/lib/rpm") || strings.HasPrefix(name, "dev/")
		if _, was := before[name]; !was && !kept {
			t.Errorf("erased, and %s is left", name)
		}
	}
	for _, name := range []string{"etc/snitch/config.yaml", "var/lib/snitch/snitch.db"} {
		if _, ok := after[name]; !ok {
			t.Errorf("erased, and %s went as well", name)
		}
	}
}

// digests are those of a directory's files.
func digests(t *testing.T, dir string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		out[e.Name()] = fmt.Sprintf("%x", sha256.Sum256(data))
	}
	return out
}

// tree is what an unpacked package has below root: mode, owner and digest, by
// names on which the distributions agree.
func tree(t *testing.T, root string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil || name == root {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		short := strings.TrimPrefix(name, root+"/")
		if d.IsDir() {
			if dirs := []string{"etc/snitch", "etc/snitch/rules"}; slices.Contains(dirs, short) {
				out[short] = info.Mode().String()
			}
			return nil
		}
		var data []byte
		if d.Type().IsRegular() {
			if data, err = os.ReadFile(name); err != nil {
				return err
			}
		}
		owner := info.Sys().(*syscall.Stat_t)
		out[agreed(short)] = fmt.Sprintf("%s %d:%d %x", info.Mode(), owner.Uid, owner.Gid, sha256.Sum256(bytes.TrimSpace(data)))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func agreed(name string) string {
	if rest, ok := strings.CutPrefix(name, "lib/systemd/"); ok {
		return "usr/lib/systemd/" + rest
	}
	if strings.HasSuffix(name, "/_snitch") {
		return "usr/share/zsh/_snitch"
	}
	return name
}
