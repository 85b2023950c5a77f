package bundle

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// keptName is the file of the last good snapshot in the state directory: an
// archive, with what it is in its comment.
const keptName = "rules.good.zip"

// Keeper holds the last good snapshot in the directory Dir.
type Keeper struct{ Dir string }

type label struct {
	Source   string `json:"source"`
	Revision string `json:"revision"`
	Digest   string `json:"digest"`
}

// Save replaces the kept snapshot, whole or not at all.
func (k Keeper) Save(s *Snapshot) error {
	comment, err := json.Marshal(label{s.Source, s.Revision, s.Digest()})
	if err != nil {
		return fmt.Errorf("keep rules: %w", err)
	}
	packed, err := s.pack(zip.Deflate, string(comment))
	if err != nil {
		return err
	}
	if err := Replace(filepath.Join(k.Dir, keptName), packed); err != nil {
		return fmt.Errorf("keep rules: %w", err)
	}
	return nil
}

// Replace puts a whole file, which only its owner may read, in the place of
// another: synced, then renamed, so that a crash leaves the old one or the new one.
func Replace(path string, data []byte) error {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // nothing is left when it was renamed
	_, err = f.Write(data)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err == nil {
		err = syncDir(dir)
	}
	return err
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Load returns the kept snapshot, or an error that is fs.ErrNotExist when none
// was kept. One that is damaged is an error.
func (k Keeper) Load() (*Snapshot, error) {
	r, err := zip.OpenReader(filepath.Join(k.Dir, keptName))
	if err != nil {
		return nil, fmt.Errorf("read kept rules: %w", err)
	}
	defer r.Close()
	var l label
	if err := json.Unmarshal([]byte(r.Comment), &l); err != nil {
		return nil, fmt.Errorf("read kept rules: %w", err)
	}
	s := &Snapshot{Source: l.Source, Revision: l.Revision}
	var total int64
	for _, f := range r.File {
		if !fs.ValidPath(f.Name) || len(s.Files) == MaxFiles {
			return nil, fmt.Errorf("read kept rules: %q does not belong there", f.Name)
		}
		data, err := unpack(f, MaxBytes-total)
		if err != nil {
			return nil, fmt.Errorf("read kept rules: %s: %w", f.Name, err)
		}
		total += int64(len(data))
		s.Files = append(s.Files, File{Path: f.Name, Data: data})
	}
	if got := s.Digest(); got != l.Digest {
		return nil, fmt.Errorf("read kept rules: the content is %s, not %s", got, l.Digest)
	}
	return s, nil
}

func unpack(f *zip.File, most int64) ([]byte, error) {
	r, err := f.Open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	var out bytes.Buffer
	n, err := io.Copy(&out, io.LimitReader(r, most+1))
	if err == nil && n > most {
		err = errors.New("too large")
	}
	return out.Bytes(), err
}
