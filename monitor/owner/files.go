package owner

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Bounds of a database's files.
const (
	maxFileBytes = 64 << 20 // of one file, unpacked
	maxLineBytes = 16 << 10
)

// stampOf is the state of some files; "" when the first is not there.
func stampOf(paths ...string) string {
	var b strings.Builder
	for i, path := range paths {
		var st unix.Stat_t
		if err := unix.Stat(path, &st); err != nil {
			if i == 0 {
				return ""
			}
			continue
		}
		fmt.Fprintf(&b, "%d:%d:%d:%d:%d:%d ", i, st.Ino, st.Size, st.Mtim.Nano(), st.Ctim.Nano(), st.Dev)
	}
	return b.String()
}

// openRegular opens a file that must be one.
func openRegular(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err //nolint:wrapcheck // it names the path
	}
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, errors.Join(fmt.Errorf("%s is no regular file", path), err, f.Close())
	}
	return f, nil
}

// eachLine calls f with each line until it returns false or an error. A line
// is valid during its call only.
func eachLine(r io.Reader, f func(line []byte) (bool, error)) error {
	lines := bufio.NewScanner(io.LimitReader(r, maxFileBytes))
	lines.Buffer(make([]byte, 0, 4096), maxLineBytes)
	for lines.Scan() {
		more, err := f(lines.Bytes())
		if !more || err != nil {
			return err
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("read line: %w", err)
	}
	return nil
}

// eachLineOf is eachLine of a file. A file that is not there has none.
func eachLineOf(path string, f func(line []byte) (bool, error)) error {
	file, err := openRegular(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer file.Close()
	if err := eachLine(file, f); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// names lists a directory, with a look at ctx.
func names(ctx context.Context, dir string) ([]string, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err //nolint:wrapcheck // it names the path
	}
	defer d.Close()
	found, err := d.Readdirnames(8 * maxPackages)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("list %s: %w", dir, err)
	}
	return found, ctx.Err()
}

// lockedByOther reports whether another process holds a lock on a file.
func lockedByOther(path string) bool {
	f, err := openRegular(path)
	if err != nil {
		return false
	}
	defer f.Close()
	lock := unix.Flock_t{Type: unix.F_RDLCK}
	return unix.FcntlFlock(f.Fd(), unix.F_GETLK, &lock) == nil && lock.Type != unix.F_UNLCK
}
