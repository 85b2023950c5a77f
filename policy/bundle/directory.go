package bundle

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// How a directory that changes while it is read is read again.
const (
	readTries = 8
	readPause = 25 * time.Millisecond
)

// ErrUnsafe says that somebody who may not decide can write the rules.
var ErrUnsafe = errors.New("others than root can write it")

// errMoved says that the directory changed while it was read.
var errMoved = errors.New("the directory keeps changing")

// Directory is a source: the files below a directory.
type Directory struct {
	Path string
	// Guarded refuses files and directories that others than root and the
	// caller can write.
	Guarded bool
}

// Read returns the files as they were at one moment: it reads again until
// nothing changed meanwhile. Hidden files and what editors leave behind are no
// rules; links that lead out of the directory are refused.
func (d Directory) Read() (*Snapshot, error) {
	for try := 1; ; try++ {
		snapshot, err := d.readOnce()
		if !errors.Is(err, errMoved) && !errors.Is(err, fs.ErrNotExist) || try == readTries {
			return snapshot, err
		}
		time.Sleep(readPause)
	}
}

func (d Directory) readOnce() (*Snapshot, error) {
	root, err := os.OpenRoot(d.Path)
	if err != nil {
		return nil, fmt.Errorf("read rules: %w", err)
	}
	defer root.Close()
	before, err := d.list(root.FS())
	if err != nil {
		return nil, err
	}
	s := &Snapshot{Source: d.Path}
	for _, e := range before {
		if e.dir {
			continue
		}
		data, err := read(root, e.path)
		if err != nil {
			return nil, fmt.Errorf("read rules: %w", err)
		}
		s.Files = append(s.Files, File{Path: e.path, Data: data})
	}
	after, err := d.list(root.FS())
	if err != nil {
		return nil, err
	}
	if !slices.Equal(before, after) {
		return nil, fmt.Errorf("read rules in %s: %w", d.Path, errMoved)
	}
	return s, nil
}

// entry is what tells one state of a file from another.
type entry struct {
	path         string
	dir          bool
	inode        uint64
	size         int64
	mtime, ctime syscall.Timespec
}

// list walks the directory within its bounds, in the order of paths.
func (d Directory) list(root fs.FS) (entries []entry, err error) {
	var total int64
	err = fs.WalkDir(root, ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name != "." && Ignored(e.Name()) {
			if e.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		info, err := fs.Stat(root, name)
		if err != nil {
			return err
		}
		stat, ok := info.Sys().(*syscall.Stat_t)
		switch {
		case !ok:
			return fmt.Errorf("%s: the file system tells no owner", name)
		case d.Guarded && !guarded(stat):
			return fmt.Errorf("%s: %w", filepath.Join(d.Path, name), ErrUnsafe)
		case info.IsDir() && strings.Count(name, "/") >= maxDepth:
			return fmt.Errorf("%s: deeper than %d directories", name, maxDepth)
		case info.IsDir() && e.Type()&fs.ModeSymlink != 0:
			return fmt.Errorf("%s: a link to a directory", name)
		case !info.IsDir() && !info.Mode().IsRegular():
			return fmt.Errorf("%s: no regular file", name)
		case info.Size() > MaxFile:
			return fmt.Errorf("%s: larger than %d bytes", name, MaxFile)
		}
		if !info.IsDir() {
			total += info.Size()
		}
		entries = append(entries, entry{path: path.Clean(name), dir: info.IsDir(), inode: stat.Ino, size: info.Size(), mtime: stat.Mtim, ctime: stat.Ctim})
		if len(entries) > MaxFiles || total > MaxBytes {
			return fmt.Errorf("more than %d files or %d bytes", MaxFiles, MaxBytes)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read rules in %s: %w", d.Path, err)
	}
	return entries, nil
}

// Ignored reports whether a file of this name is no rule file: hidden, or left
// behind by an editor, a package manager or a merge.
func Ignored(name string) bool {
	for _, suffix := range []string{"~", ".swp", ".bak", ".orig", ".rej", ".tmp", ".dpkg-old", ".dpkg-new", ".dpkg-dist", ".rpmsave", ".rpmnew", ".ucf-dist"} {
		if strings.HasSuffix(name, suffix) {
			return true
		}
	}
	return strings.HasPrefix(name, ".") || strings.HasPrefix(name, "#")
}

// guarded reports whether only root and the caller can write the file. Group
// root may: it is root's own.
func guarded(s *syscall.Stat_t) bool {
	if s.Uid != 0 && int(s.Uid) != os.Geteuid() {
		return false
	}
	return s.Mode&0o002 == 0 && (s.Mode&0o020 == 0 || s.Gid == 0 || int(s.Gid) == os.Getegid())
}

func read(root *os.Root, name string) ([]byte, error) {
	f, err := root.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, MaxFile+1))
	if err != nil {
		return nil, err
	}
	if len(data) > MaxFile {
		return nil, fmt.Errorf("%s: larger than %d bytes", name, MaxFile)
	}
	return data, nil
}
