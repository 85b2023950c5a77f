package fleet

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
)

// programDirs are where programs are looked for: a helper has no PATH.
var programDirs = []string{"/usr/bin", "/usr/local/bin", "/bin"}

// ErrMissing says that a program is not installed.
var ErrMissing = errors.New("it is not installed")

// program finds one.
func program(name string) (string, error) {
	for _, dir := range programDirs {
		path := filepath.Join(dir, name)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return path, nil
		}
	}
	return "", fmt.Errorf("%s: %w", name, ErrMissing)
}

// command is a program that a helper runs. It dies with the helper.
type command struct {
	name  string
	args  []string
	dir   string
	env   []string
	in    io.Reader
	out   io.Writer
	files []*os.File // from descriptor 3 on
}

// run ends well only with exit code 0. What the program says to standard error is
// part of the error.
func (c command) run(ctx context.Context) error {
	path, err := program(c.name)
	if err != nil {
		return err
	}
	// The kernel ties the signal below to the thread, not to the process.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	said := &tail{left: maxText}
	cmd := exec.CommandContext(ctx, path, c.args...)
	cmd.Dir, cmd.Env, cmd.Stdin, cmd.Stdout, cmd.Stderr = c.dir, c.env, c.in, c.out, said
	cmd.ExtraFiles = c.files
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return fmt.Errorf("%s %s: %w: %s", c.name, c.args[0], err, strings.Join(strings.Fields(said.String()), " "))
	}
	return nil
}

// tail keeps the beginning of what is written to it.
type tail struct {
	bytes.Buffer
	left int
}

func (t *tail) Write(data []byte) (int, error) {
	n := min(len(data), t.left)
	t.left -= n
	t.Buffer.Write(data[:n])
	return len(data), nil
}

// capped fails when more is written to it than it may hold.
type capped struct {
	bytes.Buffer
	most int
}

func (c *capped) Write(data []byte) (int, error) {
	if c.Len()+len(data) > c.most {
		return 0, fmt.Errorf("more than %d bytes", c.most)
	}
	return c.Buffer.Write(data)
}
