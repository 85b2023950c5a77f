package owner

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"strings"
)

// dpkg reads the database of dpkg(1): a list of paths for each package and,
// beside it, MD5 digests of those that are no configuration files.
type dpkg struct {
	dir    string // /var/lib/dpkg
	alias  aliases
	index  *index
	divert diversions
}

func newDpkg(root string) *dpkg {
	return &dpkg{dir: filepath.Join("/", root, "var/lib/dpkg"), index: newIndex()}
}

func (d *dpkg) name() string { return "dpkg" }

func (d *dpkg) stamp() string {
	return stampOf(d.path("status"), d.path("info"), d.path("diversions"))
}

func (d *dpkg) path(parts ...string) string {
	return filepath.Join(append([]string{d.dir}, parts...)...)
}

func (d *dpkg) busy() bool { return lockedByOther(d.path("lock")) }

func (d *dpkg) size() (packages, files, bytes int) { return d.index.size() }

func (d *dpkg) load(ctx context.Context, alias aliases) error {
	found, err := names(ctx, d.path("info"))
	if err != nil {
		return fmt.Errorf("read packages: %w", err)
	}
	index := newIndex()
	for _, file := range found {
		stem, ok := strings.CutSuffix(file, ".list")
		if !ok {
			continue
		}
		if err := index.begin(stem); err != nil {
			return err
		}
		if err := addList(d.path("info", file), alias, index); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	index.done()
	divert, err := readDiversions(d.path("diversions"), alias)
	if err != nil {
		return err
	}
	d.alias, d.index, d.divert = alias, index, divert
	return nil
}

// addList adds the paths of a package but its directories, which stand before
// what is in them.
func addList(file string, alias aliases, index *index) error {
	var last []byte
	add := func() error {
		if len(last) == 0 || string(last) == "/." {
			return nil
		}
		return index.add(alias.canonical(string(last)))
	}
	err := eachLineOf(file, func(line []byte) (bool, error) {
		var err error
		if within := len(line) > len(last) && line[len(last)] == '/' && bytes.HasPrefix(line, last); !within {
			err = add()
		}
		last = append(last[:0], line...)
		return true, err
	})
	if err != nil {
		return err
	}
	return add()
}

// claims looks into the lists of the packages that may own path.
func (d *dpkg) claims(_ context.Context, path string) ([]claim, error) {
	var found []claim
	for _, listed := range d.divert.listed(path) {
		for _, stem := range d.index.find(listed) {
			name, _, _ := strings.Cut(stem, ":")
			if !d.divert.places(listed, path, name) {
				continue
			}
			digest, err := d.digest(stem, listed)
			if err != nil {
				return nil, err
			}
			if digest == nil {
				owns, err := d.owns(stem, listed)
				if err != nil {
					return nil, err
				}
				if !owns {
					continue
				}
			}
			found = append(found, claim{name: name, digest: digest})
		}
	}
	return found, nil
}

// digest returns the MD5 that a package has of a path, nil for none.
func (d *dpkg) digest(stem, path string) (digest []byte, err error) {
	base := []byte(path[strings.LastIndexByte(path, '/')+1:])
	err = eachLineOf(d.path("info", stem+".md5sums"), func(line []byte) (bool, error) {
		sum, file, ok := bytes.Cut(line, []byte("  "))
		if !ok || !bytes.HasSuffix(file, base) || d.alias.canonical("/"+string(file)) != path {
			return true, nil
		}
		if digest, err = hex.DecodeString(string(sum)); err != nil || len(digest) != md5Size {
			return false, fmt.Errorf("%q is no MD5", sum)
		}
		return false, nil
	})
	return digest, err
}

// owns reports whether a package lists a path.
func (d *dpkg) owns(stem, path string) (owns bool, err error) {
	err = eachLineOf(d.path("info", stem+".list"), func(line []byte) (bool, error) {
		owns = d.alias.canonical(string(line)) == path
		return !owns, nil
	})
	return owns, err
}
