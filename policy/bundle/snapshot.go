package bundle

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io/fs"
)

// Bounds of a snapshot. A list of a million names has 20 MB.
const (
	MaxFiles = 10_000
	MaxFile  = 256 << 20 // bytes
	MaxBytes = 512 << 20
	maxDepth = 16
)

// File is one file of a snapshot. Data is not to be changed.
type File struct {
	Path string // relative, with slashes
	Data []byte
}

// Snapshot is the files of a source at one moment. Immutable.
type Snapshot struct {
	Source   string // what it was read from, for people
	Revision string // the source's own name for it (a commit), "" when it has none
	Files    []File // sorted by Path
}

// Digest names the content: "sha256:" and 64 hexadecimal digits over paths and
// data.
func (s *Snapshot) Digest() string {
	h := sha256.New()
	for _, f := range s.Files {
		var lengths [16]byte
		binary.BigEndian.PutUint64(lengths[:8], uint64(len(f.Path)))
		binary.BigEndian.PutUint64(lengths[8:], uint64(len(f.Data)))
		h.Write(lengths[:])
		h.Write([]byte(f.Path))
		h.Write(f.Data)
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil))
}

// FS shows the files as a file system. It shares their bytes only until it is
// made: the archive is a copy.
func (s *Snapshot) FS() (fs.FS, error) {
	packed, err := s.pack(zip.Store, "")
	if err != nil {
		return nil, err
	}
	return zip.NewReader(bytes.NewReader(packed), int64(len(packed)))
}

// pack writes the files as an archive. The same files make the same bytes.
func (s *Snapshot) pack(method uint16, comment string) ([]byte, error) {
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	for _, f := range s.Files {
		to, err := w.CreateHeader(&zip.FileHeader{Name: f.Path, Method: method})
		if err != nil {
			return nil, fmt.Errorf("pack %s: %w", f.Path, err)
		}
		if _, err := to.Write(f.Data); err != nil {
			return nil, fmt.Errorf("pack %s: %w", f.Path, err)
		}
	}
	if err := w.SetComment(comment); err != nil {
		return nil, fmt.Errorf("pack rules: %w", err)
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("pack rules: %w", err)
	}
	return out.Bytes(), nil
}
