package vm

import (
	"bufio"
	"crypto/sha256"
	_ "embed" // init.sh
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// home is the directory of the guest in which files and commands are.
const home = "/work"

//go:embed init.sh
var initScript []byte

// baseLayout counts changes of what addBase packs, as a part of its name.
const baseLayout = 1

// base returns the part of a kernel's initramfs that is the same for every
// run, and makes it when the cache has none. Two makers at once are harmless.
func base(k kernel) (string, error) {
	cache, err := cacheDir()
	if err != nil {
		return "", err
	}
	version := sha256.Sum256(fmt.Append(initScript, baseLayout, k.release, wanted, unwanted))
	name := filepath.Join(cache, "images", fmt.Sprintf("%s-%x.cpio", k.name, version[:6]))
	if _, err := os.Stat(name); err == nil {
		return name, nil
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return "", fmt.Errorf("make the cache of images: %w", err)
	}
	return name, writeBase(name, k)
}

func writeBase(name string, k kernel) (err error) {
	f, err := os.CreateTemp(filepath.Dir(name), "new-")
	if err != nil {
		return fmt.Errorf("make an image: %w", err)
	}
	defer func() {
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	w := bufio.NewWriterSize(f, 1<<20)
	if err := errors.Join(addBase(w, k), w.Flush(), f.Close()); err != nil {
		return fmt.Errorf("pack the image of kernel %s: %w", k.name, err)
	}
	return os.Rename(f.Name(), name)
}

func addBase(w io.Writer, k kernel) error {
	a := newArchive(w)
	for _, dir := range []string{"dev", "proc", "sys", "run", "root", "mnt", "etc", "bin", "sbin", "usr/bin", "usr/sbin", "var/log", "work"} {
		a.dir(dir, 0o755)
	}
	a.dir("tmp", 0o1777)
	a.file("init", 0o755, initScript)
	a.copy("bin/busybox", k.busybox())
	a.link("sbin/modprobe", "../bin/busybox")
	a.file("etc/passwd", 0o644, []byte("root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\nalice:x:1000:1000::/:/bin/sh\n"))
	a.file("etc/group", 0o644, []byte("root:x:0:\nnogroup:x:65534:\nalice:x:1000:\n"))
	a.file("etc/hosts", 0o644, []byte("127.0.0.1 localhost\n::1 localhost\n"))
	a.file("etc/os-release", 0o644, []byte("ID=snitch-vm\n"))
	if err := addModules(a, k); err != nil {
		return err
	}
	return a.close()
}

// addRun packs what is of one run: the caller's files and the command.
func (m Machine) addRun(w io.Writer, ports string, argv []string) error {
	a := newArchive(w)
	for name, from := range m.Files {
		if err := addTree(a, name, from); err != nil {
			return err
		}
	}
	command := "cd " + quote(path.Join(home, m.Dir)) + " || exit 1\n"
	for _, setting := range m.Env {
		command += "export " + quote(setting) + "\n"
	}
	command += "exec"
	for _, arg := range argv {
		command += " " + quote(arg)
	}
	a.file("vm/command", 0o644, []byte(command+"\n"))
	a.file("vm/ports", 0o644, []byte(ports))
	return a.close()
}

// addTree packs a file or a directory of the host as name; a relative name is
// below /work.
func addTree(a *archive, name, from string) error {
	if !path.IsAbs(name) {
		name = path.Join(home, name)
	}
	return filepath.WalkDir(from, func(at string, entry fs.DirEntry, err error) error {
		if err != nil {
			return fmt.Errorf("pack %s: %w", from, err)
		}
		to := path.Join(name, strings.TrimPrefix(at, from))
		if entry.IsDir() {
			a.dir(to, 0o755)
			return nil
		}
		a.copy(to, at)
		return a.err
	})
}

// quote makes a word of a shell's command.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
