package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"snitch/bpf/bpftest/report"
)

// runContainer runs a generator as pid 1 of other pid and mount namespaces with
// a root of its own, where the path of this program names another file.
func runContainer(args []string) error {
	f := flags("container")
	root := f.String("root", "", "empty directory for the root")
	if err := f.Parse(args); err != nil {
		return err
	}
	exe, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return err
	}
	p, err := os.StartProcess(exe, append([]string{exe, "container-init", *root, exe}, f.Args()...), &os.ProcAttr{
		Files: []*os.File{nil, os.Stdout, os.Stderr},
		Sys:   &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWPID | unix.CLONE_NEWNS | unix.CLONE_NEWUTS},
	})
	if err != nil {
		return fmt.Errorf("start in new namespaces: %w", err)
	}
	return join(p)
}

// runContainerInit reads who it is from the old /proc, which still counts in
// the outer pid namespace, and then leaves the old root behind.
func runContainerInit(args []string) error {
	if len(args) < 3 {
		return errors.New("want a root, a path and a generator")
	}
	root, path := args[0], args[1]
	r, err := self("container")
	if err != nil {
		return err
	}
	inner := filepath.Join(root, path)
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := unix.Mount("tmpfs", root, "tmpfs", 0, "mode=755"); err != nil {
		return fmt.Errorf("mount root: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(inner), 0o755); err != nil {
		return err
	}
	sum, err := copySelf(inner, "container")
	if err != nil {
		return err
	}
	if err := enterRoot(root); err != nil {
		return err
	}
	b, err := json.Marshal(report.Report{PID: r.PID, Start: r.Start, Exe: path, ExeKind: "file", SHA256: sum, Name: commOf(path),
		ParentPID: r.ParentPID, ParentExe: r.ParentExe, ParentSHA256: r.ParentSHA256,
		GrandparentExe: r.GrandparentExe, GrandparentSHA256: r.GrandparentSHA256, OtherMounts: true})
	if err != nil {
		return err
	}
	env := append(os.Environ(), envSelf+"="+string(b))
	return fmt.Errorf("execute %s: %w", path, unix.Exec(path, append([]string{path}, args[2:]...), env))
}

func enterRoot(root string) error {
	old := filepath.Join(root, "old")
	proc := filepath.Join(root, "proc")
	if err := errors.Join(os.Mkdir(old, 0o755), os.Mkdir(proc, 0o755)); err != nil {
		return err
	}
	if err := unix.PivotRoot(root, old); err != nil {
		return fmt.Errorf("change root: %w", err)
	}
	if err := os.Chdir("/"); err != nil {
		return err
	}
	if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("mount proc: %w", err)
	}
	if err := unix.Unmount("/old", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("leave old root: %w", err)
	}
	return nil
}

// commOf is the name that the kernel gives a process for its file.
func commOf(path string) string {
	name := filepath.Base(path)
	return name[:min(len(name), 15)]
}
