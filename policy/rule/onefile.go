package rule

import (
	"bytes"
	"io"
	"io/fs"
	"path"
	"time"
)

// oneFile is a file system of one file in memory.
type oneFile struct {
	name string
	src  []byte
}

// Open opens the file; there is no other.
func (f oneFile) Open(name string) (fs.File, error) {
	if name != f.name {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return openFile{bytes.NewReader(f.src), f}, nil
}

type openFile struct {
	io.Reader
	file oneFile
}

func (o openFile) Stat() (fs.FileInfo, error) { return o.file, nil }
func (o openFile) Close() error               { return nil }

// The FileInfo of the file.

func (f oneFile) Name() string       { return path.Base(f.name) }
func (f oneFile) Size() int64        { return int64(len(f.src)) }
func (f oneFile) Mode() fs.FileMode  { return 0o400 }
func (f oneFile) ModTime() time.Time { return time.Time{} }
func (f oneFile) IsDir() bool        { return false }
func (f oneFile) Sys() any           { return nil }
