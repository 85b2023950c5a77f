package bundle

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"time"
	"unicode"
)

// Bounds of an archive from elsewhere. They are lower than those of a directory,
// which root filled: what is here was not believed yet.
const (
	MaxPacked   = 64 << 20  // bytes of an archive
	maxUnpacked = 256 << 20 // bytes of its files
)

// readArchive unpacks a compressed tar archive into memory: regular files only,
// each path once, within the bounds.
func readArchive(packed []byte) ([]File, error) {
	if len(packed) > MaxPacked {
		return nil, fmt.Errorf("larger than %d bytes", MaxPacked)
	}
	in := bytes.NewReader(packed)
	unzip, err := gzip.NewReader(in)
	if err != nil {
		return nil, err
	}
	unzip.Multistream(false) // what follows the end is no part of it
	bounded := &io.LimitedReader{R: unzip, N: maxUnpacked}
	files, err := readTar(tar.NewReader(bounded))
	if err == nil {
		_, err = io.Copy(io.Discard, bounded) // to the checksum
	}
	switch {
	case bounded.N == 0:
		return nil, fmt.Errorf("unpacks to more than %d bytes", maxUnpacked)
	case err != nil:
		return nil, err
	case in.Len() > 0:
		return nil, errors.New("something follows its end")
	}
	slices.SortFunc(files, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	for i := 1; i < len(files); i++ {
		if files[i].Path == files[i-1].Path {
			return nil, fmt.Errorf("%s stands twice in it", files[i].Path)
		}
	}
	return files, nil
}

func readTar(t *tar.Reader) (files []File, err error) {
	var left int64 = maxUnpacked
	for entries := 0; ; entries++ {
		h, err := t.Next()
		switch {
		case errors.Is(err, io.EOF):
			return files, nil
		case err != nil:
			return nil, err
		case entries == MaxFiles:
			return nil, fmt.Errorf("more than %d files", MaxFiles)
		}
		name, err := archivePath(h.Name)
		switch {
		case err != nil:
			return nil, err
		case h.Typeflag == tar.TypeDir || h.Typeflag == tar.TypeXGlobalHeader:
			continue
		case h.Typeflag != tar.TypeReg:
			return nil, fmt.Errorf("%q is no regular file", h.Name)
		}
		// Not from the size that the header claims: a sparse file of nothing may claim
		// any.
		data, err := io.ReadAll(io.LimitReader(t, left+1))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if left -= int64(len(data)); left < 0 {
			return nil, fmt.Errorf("unpacks to more than %d bytes", maxUnpacked)
		}
		files = append(files, File{Path: name, Data: data})
	}
}

// archivePath is the path of an entry, relative to the root of the archive. OPA
// writes "/a", tar "./a".
func archivePath(name string) (string, error) {
	path := strings.TrimPrefix(strings.TrimPrefix(name, "/"), "./")
	path = strings.TrimSuffix(path, "/")
	if path == "" {
		path = "."
	}
	return path, validPath(path)
}

// validPath refuses paths that lead elsewhere, or that cannot be shown.
func validPath(path string) error {
	switch {
	case !fs.ValidPath(path) || strings.Contains(path, `\`) || strings.ContainsFunc(path, unicode.IsControl):
		return fmt.Errorf("%.200q is no path within", path)
	case strings.Count(path, "/") > maxDepth || len(path) > 1024:
		return fmt.Errorf("%.200q lies too deep", path)
	}
	return nil
}

// writeArchive packs files; the same files make the same bytes.
func writeArchive(files []File) ([]byte, error) {
	var out bytes.Buffer
	zip := gzip.NewWriter(&out)
	t := tar.NewWriter(zip)
	for _, f := range files {
		h := &tar.Header{Typeflag: tar.TypeReg, Name: f.Path, Mode: 0o644, Size: int64(len(f.Data)), ModTime: time.Unix(0, 0), Format: tar.FormatPAX}
		if err := t.WriteHeader(h); err != nil {
			return nil, fmt.Errorf("pack %s: %w", f.Path, err)
		}
		if _, err := t.Write(f.Data); err != nil {
			return nil, fmt.Errorf("pack %s: %w", f.Path, err)
		}
	}
	if err := errors.Join(t.Close(), zip.Close()); err != nil {
		return nil, fmt.Errorf("pack rules: %w", err)
	}
	if out.Len() > MaxPacked {
		return nil, fmt.Errorf("pack rules: larger than %d bytes", MaxPacked)
	}
	return out.Bytes(), nil
}
