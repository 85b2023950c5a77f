package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"snitch/bpf/bpftest/report"
)

// Generators that run another generator as somebody else. Everything behind
// their own flags is the other generator and its flags.
func identityGenerators() []generator {
	return []generator{
		{"container", "in other pid and mount namespaces, from a file whose path names another one here", runContainer},
		{"container-init", "the inner half of container", runContainerInit},
		{"unlinked", "the file is removed after the exec", runUnlinked},
		{"deleted", "the file is removed before the exec", runDeleted},
		{"memfd", "the file never had a name", runMemfd},
		{"interpret", "read a generator and its flags from a script", runInterpret},
		{"uid", "as another user", runAsUser},
		{"orphan", "as a process whose parent is gone", runOrphan},
		{"spawn", "start a generator and leave at once", runSpawn},
	}
}

// dispatch runs a generator of this process by name.
func dispatch(args []string) error {
	if len(args) == 0 {
		return errors.New("no generator given")
	}
	all := generators()
	i := slices.IndexFunc(all, func(g generator) bool { return g.name == args[0] })
	if i < 0 {
		return fmt.Errorf("no generator %q", args[0])
	}
	return all[i].run(args[1:])
}

// copySelf writes this program to path with a trailer, which an ELF loader
// does not look at and a hash does.
func copySelf(path, trailer string) (string, error) {
	in, err := os.Open("/proc/self/exe")
	if err != nil {
		return "", fmt.Errorf("open own file: %w", err)
	}
	defer in.Close()
	out, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
	if err != nil {
		return "", fmt.Errorf("make copy: %w", err)
	}
	_, err = io.Copy(out, in)
	if err == nil {
		_, err = out.WriteString(trailer)
	}
	if err = errors.Join(err, out.Close()); err != nil {
		return "", fmt.Errorf("write copy: %w", err)
	}
	return digest(path)
}

func runUnlinked(args []string) error {
	exe, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return err
	}
	if err := os.Remove(exe); err != nil {
		return fmt.Errorf("remove own file: %w", err)
	}
	// The kernel now says deleted, but it was a file with a name when it was
	// executed: either is right.
	return withSelf(args, func(r *report.Report) { r.ExeKind, r.Removed = "file|deleted", true })
}

// withSelf runs the generator with an edited identity.
func withSelf(args []string, edit func(r *report.Report)) error {
	r, err := self("")
	if err != nil {
		return err
	}
	edit(r)
	b, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encode identity: %w", err)
	}
	if err := os.Setenv(envSelf, string(b)); err != nil {
		return err
	}
	return dispatch(args)
}

func runDeleted(args []string) error {
	f := flags("deleted")
	path := f.String("as", "", "path that the file has until shortly before the exec")
	if err := f.Parse(args); err != nil {
		return err
	}
	if _, err := copySelf(*path, "deleted"); err != nil {
		return err
	}
	fd, err := unix.Open(*path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open copy: %w", err)
	}
	if err := os.Remove(*path); err != nil {
		return err
	}
	return execDescriptor(fd, *path, f.Args())
}

func runMemfd(args []string) error {
	fd, err := unix.MemfdCreate("traffic", unix.MFD_CLOEXEC)
	if err != nil {
		return fmt.Errorf("make file: %w", err)
	}
	image, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), "memfd")
	if _, err := f.Write(append(image, "memfd"...)); err != nil {
		return fmt.Errorf("write file: %w", err)
	}
	return execDescriptor(fd, "traffic", args)
}

// execDescriptor is fexecve(3).
func execDescriptor(fd int, name string, args []string) error {
	argv, err := syscall.SlicePtrFromStrings(append([]string{name}, args...))
	if err != nil {
		return err
	}
	env, err := syscall.SlicePtrFromStrings(os.Environ())
	if err != nil {
		return err
	}
	return fmt.Errorf("execute descriptor: %w", execveat(fd, argv, env))
}

// runInterpret is a little interpreter: the script's first line that is no
// comment is a generator with its flags; further arguments follow them.
func runInterpret(args []string) error {
	if len(args) == 0 {
		return errors.New("no script given")
	}
	f, err := os.Open(args[0])
	if err != nil {
		return fmt.Errorf("open script: %w", err)
	}
	defer f.Close()
	s := bufio.NewScanner(f)
	for s.Scan() {
		if line := s.Text(); line != "" && !strings.HasPrefix(line, "#") {
			return runScriptLine(args[0], append(strings.Fields(line), args[1:]...))
		}
	}
	return errors.Join(s.Err(), errors.New("the script is empty"))
}

func runScriptLine(script string, args []string) error {
	path, err := filepath.Abs(script)
	if err != nil {
		return err
	}
	sum, err := digest(path)
	if err != nil {
		return err
	}
	return withSelf(args, func(r *report.Report) { r.Script, r.ScriptSHA256 = path, sum })
}

func runAsUser(args []string) error {
	f := flags("uid")
	uid := f.Int("uid", 12345, "user and group")
	if err := f.Parse(args); err != nil {
		return err
	}
	return withSelfBefore(f.Args(), func() error {
		return errors.Join(syscall.Setgroups(nil), syscall.Setgid(*uid), syscall.Setuid(*uid))
	})
}

// withSelfBefore finds out who the process is before change, which may take
// away the right to do so.
func withSelfBefore(args []string, change func() error) error {
	r, err := self("")
	if err != nil {
		return err
	}
	b, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encode identity: %w", err)
	}
	if err := errors.Join(os.Setenv(envSelf, string(b)), change()); err != nil {
		return err
	}
	return dispatch(args)
}

// runOrphan starts a copy that starts the generator and leaves: the log must
// name the copy as the parent, not who adopted the process.
func runOrphan(args []string) error {
	f := flags("orphan")
	path := f.String("as", "", "path for the file of the parent")
	if err := f.Parse(args); err != nil {
		return err
	}
	if _, err := copySelf(*path, "orphan"); err != nil {
		return err
	}
	r, w, err := blockingPipe()
	if err != nil {
		return err
	}
	defer r.Close()
	p, err := os.StartProcess(*path, append([]string{*path, "spawn"}, f.Args()...),
		&os.ProcAttr{Files: []*os.File{nil, os.Stdout, os.Stderr, w}})
	if err := errors.Join(err, w.Close()); err != nil {
		return fmt.Errorf("start the parent: %w", err)
	}
	if err := join(p); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, r) // ends when the orphan does
	return err
}

func runSpawn(args []string) error {
	r, err := self("spawn")
	if err != nil {
		return err
	}
	b, err := json.Marshal(report.Report{ParentPID: r.PID, ParentExe: r.Exe, ParentSHA256: r.SHA256,
		GrandparentExe: r.ParentExe, GrandparentSHA256: r.ParentSHA256})
	if err != nil {
		return err
	}
	_, err = os.StartProcess(r.Exe, append([]string{r.Exe}, args...), &os.ProcAttr{
		Env: append(os.Environ(), envSelf+"="+string(b)), Files: []*os.File{nil, os.Stdout, os.Stderr, os.NewFile(3, "alive")}})
	return err
}
