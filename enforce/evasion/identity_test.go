package evasion

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"snitch/monitor/event"
)

const (
	onlyGood = `
confine:
  - {id: locked, process: any}
rules:
  - {id: good, action: allow, process: {exe: "{good}"}, to: {host: [10.77.0.9, "fd77::9"]}}
`
	onlyGoodByHash = `
confine:
  - {id: locked, process: any}
rules:
  - {id: good, action: allow, process: {exe: "{good}", sha256: "{good-sha256}"}, to: {host: [10.77.0.9, "fd77::9"]}}
`
	forbidHash = `
rules:
  - {id: forbidden, action: deny, process: {sha256: "{sha256}"}, to: {host: [10.77.0.9, "fd77::9"]}}
`
	byPath = "the path of the file that was executed, as the host sees it"
)

// identityAttempts pretend to be another program.
func identityAttempts() []attempt {
	exists := func(*place) error { return nil }
	return []attempt{
		{name: "names-of-its-own", does: "the name and the arguments of a permitted program (`PR_SET_NAME`, `argv`)", result: stopped, by: byPath, short: true,
			rules: onlyGood, help: exists, act: otherName},
		{name: "bind-mount", does: "its own file mounted over the path of a permitted program, in a mount namespace of its own", result: stopped,
			by: byPath + ": another mount namespace's paths are marked", rules: onlyGood, help: exists, act: bindMount},
		{name: "chroot", does: "its own file at the permitted path below another root", result: stopped, by: byPath, rules: onlyGood, help: exists, act: changeRoot},
		{name: "links", does: "symbolic links and hard links that bear the name of a permitted program", result: stopped, by: byPath, rules: onlyGood, help: exists, act: links},
		{name: "memfd", does: "a program that lies in memory only (`memfd_create`)", result: stopped, by: "kind memfd matches no path of the host", rules: onlyGood, help: exists, act: fromMemory},
		{name: "deleted", does: "a program whose file is deleted before it runs", result: stopped, by: "kind deleted matches no path of the host", rules: onlyGood, help: exists, act: deleted},
		{name: "replaced", does: "the file of a permitted program overwritten by another", result: stopped, by: "`sha256` beside the path", rules: onlyGoodByHash, help: exists, act: replaced},
		{name: "replaced-path", does: "the same, where the rule names the path alone", result: limit, by: "who may write a program's file is that program: add `sha256` or `package`", rules: onlyGood, help: exists, act: replaced},
		{name: "swapped", does: "the file at the permitted path swapped to and fro while it is executed", result: stopped, by: "`sha256` of the file that was executed, not of the path", rules: onlyGoodByHash, undecided: event.ActionDeny,
			help: exists, act: swapped},
		{name: "copies", does: "copies, hard links, memfd and deleted files of a program that is denied by `sha256`", result: stopped, by: "`sha256` of what runs", rules: forbidHash, act: copies},
		{name: "copies-of-path", does: "the same, where the deny names the path", result: limit, by: "a deny by path denies that path: confine instead, or deny by `sha256`", act: copies},
	}
}

func selfPath() (string, error) { return os.Readlink("/proc/self/exe") }

func otherName(p *place) error {
	name := append([]byte(filepath.Base(p.Good)), 0)
	if err := unix.Prctl(unix.PR_SET_NAME, uintptr(unsafe.Pointer(&name[0])), 0, 0, 0); err != nil {
		return err
	}
	self, err := selfPath()
	if err != nil {
		return err
	}
	return each(func() error { return send(p) },
		func() error { return runSend(&exec.Cmd{Path: self, Args: []string{p.Good}}, p) })
}

// ownMounts leaves the namespace to this thread and its children: nobody else
// sees what is mounted there.
func ownMounts() error {
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("unshare mounts: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("keep mounts private: %w", err)
	}
	return nil
}

// mountedOver has this program at path, for itself.
func mountedOver(path string) error {
	self, err := selfPath()
	if err != nil {
		return err
	}
	if err := unix.Mount(self, path, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("bind mount: %w", err)
	}
	return nil
}

func bindMount(p *place) error {
	if err := errors.Join(ownMounts(), mountedOver(p.Good)); err != nil {
		return err
	}
	defer func() { _ = unix.Unmount(p.Good, unix.MNT_DETACH) }()
	return runSend(exec.Command(p.Good), p)
}

// changeRoot has all of the host's files below another root, but for one.
func changeRoot(p *place) error {
	root := filepath.Join(p.Dir, "root")
	if err := errors.Join(ownMounts(), os.Mkdir(root, 0o755)); err != nil {
		return err
	}
	if err := unix.Mount("/", root, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("bind mount: %w", err)
	}
	defer func() { _ = unix.Unmount(root, unix.MNT_DETACH) }()
	if err := mountedOver(filepath.Join(root, p.Good)); err != nil {
		return err
	}
	return runSend(&exec.Cmd{Path: p.Good, SysProcAttr: &syscall.SysProcAttr{Chroot: root}, Dir: "/"}, p)
}

func links(p *place) error {
	self, err := selfPath()
	if err != nil {
		return err
	}
	dir := filepath.Join(p.Dir, "links")
	symbolic, hard := filepath.Join(dir, "good"), filepath.Join(dir, "hard", "good")
	if err := errors.Join(os.MkdirAll(filepath.Dir(hard), 0o755), os.Symlink(self, symbolic), os.Link(self, hard)); err != nil {
		return err
	}
	return each(func() error { return runSend(exec.Command(symbolic), p) }, func() error { return runSend(exec.Command(hard), p) })
}

// fromMemory runs a copy of this program that has no file.
func fromMemory(p *place) error {
	fd, err := unix.MemfdCreate(filepath.Base(p.Good), 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		return err
	}
	defer self.Close()
	if _, err := io.Copy(fdWriter(fd), self); err != nil {
		return err
	}
	return runSend(exec.Command(fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), fd)), p)
}

type fdWriter int

func (fd fdWriter) Write(b []byte) (int, error) { return unix.Write(int(fd), b) }

func deleted(p *place) error {
	path := filepath.Join(p.Dir, "short-lived")
	if err := copySelf(path, "another"); err != nil {
		return err
	}
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	if err := os.Remove(path); err != nil {
		return err
	}
	return runSend(exec.Command(fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), file.Fd())), p)
}

// replaced puts this program where the permitted one was.
func replaced(p *place) error {
	self, err := selfPath()
	if err != nil {
		return err
	}
	next := p.Good + ".next"
	if err := errors.Join(os.Link(self, next), os.Rename(next, p.Good)); err != nil {
		return err
	}
	return runSend(exec.Command(p.Good), p)
}

// swapped exchanges the two files all the time while it executes the path. What
// runs is sometimes one and sometimes the other: only this one sends.
func swapped(p *place) error {
	self, err := selfPath()
	if err != nil {
		return err
	}
	other := filepath.Join(p.Dir, "other")
	if err := os.Link(self, other); err != nil {
		return err
	}
	stop := make(chan struct{})
	var running sync.WaitGroup
	running.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				_ = unix.Renameat2(unix.AT_FDCWD, other, unix.AT_FDCWD, p.Good, unix.RENAME_EXCHANGE)
			}
		}
	})
	defer running.Wait()
	defer close(stop)
	var errs []error
	for bad, tries := 0, 0; bad < 3; tries++ {
		if tries == 100 {
			return errors.New("the permitted program ran each time")
		}
		err := runPart(exec.Command(p.Good), order{Part: "send-if-bad", Place: *p})
		if err != nil && strings.Contains(err.Error(), goodMark) {
			continue
		}
		bad++
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func copies(p *place) error {
	self, err := selfPath()
	if err != nil {
		return err
	}
	hard, whole := filepath.Join(p.Dir, "hard"), filepath.Join(p.Dir, "copy")
	if err := errors.Join(os.Link(self, hard), copySelf(whole, "")); err != nil {
		return err
	}
	return each(func() error { return runSend(exec.Command(hard), p) }, func() error { return runSend(exec.Command(whole), p) },
		func() error { return fromMemory(p) })
}

// copySelf writes this program to another file, with more at its end.
func copySelf(path, more string) error {
	text, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(text, more...), 0o755)
}
