package vm

import (
	"fmt"
	"io"
	"os"
	"path"
	"strings"
)

// archive writes an initramfs: cpio in the "newc" form, every file root's.
// Archives may follow one another; later files replace earlier ones.
type archive struct {
	w     io.Writer
	inode int
	made  map[string]bool // directories
	err   error           // the first; later writes do nothing
}

func newArchive(w io.Writer) *archive { return &archive{w: w, made: map[string]bool{}} }

const (
	modeDir  = 0o040000
	modeFile = 0o100000
	modeLink = 0o120000
)

// dir adds a directory and those above it.
func (a *archive) dir(name string, perm uint32) {
	name = strings.Trim(name, "/")
	if name == "" || name == "." || a.made[name] {
		return
	}
	a.dir(path.Dir(name), 0o755)
	a.made[name] = true
	a.entry(name, modeDir|perm, nil)
}

func (a *archive) file(name string, perm uint32, content []byte) {
	a.dir(path.Dir(name), 0o755)
	a.entry(name, modeFile|perm, content)
}

func (a *archive) link(name, target string) {
	a.dir(path.Dir(name), 0o755)
	a.entry(name, modeLink|0o777, []byte(target))
}

// copy adds a file of the host, with its mode.
func (a *archive) copy(name, from string) {
	if a.err != nil {
		return
	}
	info, err := os.Stat(from)
	if err != nil {
		a.err = err
		return
	}
	content, err := os.ReadFile(from)
	if err != nil {
		a.err = err
		return
	}
	a.file(name, uint32(info.Mode().Perm()), content)
}

// close ends the archive and returns the first error.
func (a *archive) close() error {
	a.entry("TRAILER!!!", 0, nil)
	return a.err
}

func (a *archive) entry(name string, mode uint32, content []byte) {
	if a.err != nil {
		return
	}
	name = strings.Trim(name, "/")
	a.inode++
	header := fmt.Sprintf("070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x",
		a.inode, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name)+1, 0)
	record := padded(append([]byte(header), name...), 1)
	if _, a.err = a.w.Write(record); a.err == nil {
		_, a.err = a.w.Write(padded(content, 0))
	}
}

// padded appends at least that many zeros, up to a multiple of four.
func padded(b []byte, zeros int) []byte {
	n := (len(b) + zeros + 3) &^ 3
	return append(b[:len(b):len(b)], make([]byte, n-len(b))...)
}
