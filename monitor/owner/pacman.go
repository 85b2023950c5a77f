package owner

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// pacman reads the local database of pacman(8): a directory for each package,
// with its list of files and a packed mtree(5) of their digests.
type pacman struct {
	dir   string // /var/lib/pacman
	alias aliases
	index *index
}

func newPacman(root string) *pacman {
	return &pacman{dir: filepath.Join("/", root, "var/lib/pacman"), index: newIndex()}
}

func (p *pacman) name() string { return "pacman" }

func (p *pacman) stamp() string { return stampOf(filepath.Join(p.dir, "local")) }

// busy: the lock is a file, which a crash leaves behind.
func (p *pacman) busy() bool {
	_, err := os.Lstat(filepath.Join(p.dir, "db.lck"))
	return err == nil
}

func (p *pacman) size() (packages, files, bytes int) { return p.index.size() }

func (p *pacman) load(ctx context.Context, alias aliases) error {
	found, err := names(ctx, filepath.Join(p.dir, "local"))
	if err != nil {
		return fmt.Errorf("read packages: %w", err)
	}
	index := newIndex()
	for _, dir := range found {
		if pacmanName(dir) == "" {
			continue // ALPM_DB_VERSION
		}
		if err := index.begin(dir); err != nil {
			return err
		}
		if err := p.eachFile(dir, alias, index.add); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	index.done()
	p.alias, p.index = alias, index
	return nil
}

// pacmanName is the package of a directory NAME-VERSION-RELEASE, "" for none.
func pacmanName(dir string) string {
	for range 2 {
		i := strings.LastIndexByte(dir, '-')
		if i <= 0 {
			return ""
		}
		dir = dir[:i]
	}
	return dir
}

// eachFile calls f with the canonical path of each file of a package.
func (p *pacman) eachFile(dir string, alias aliases, f func(path string) error) error {
	in := false
	return eachLineOf(filepath.Join(p.dir, "local", dir, "files"), func(line []byte) (bool, error) {
		switch {
		case bytes.HasPrefix(line, []byte("%")):
			in = string(line) == "%FILES%"
		case in && len(line) > 0 && line[len(line)-1] != '/':
			return true, f(alias.canonical("/" + string(line)))
		}
		return true, nil
	})
}

func (p *pacman) claims(_ context.Context, path string) ([]claim, error) {
	var found []claim
	for _, dir := range p.index.find(path) {
		owns := false
		err := p.eachFile(dir, p.alias, func(file string) error {
			owns = owns || file == path
			return nil
		})
		if err != nil {
			return nil, err
		}
		if !owns {
			continue
		}
		digest, err := p.digest(dir, path)
		if err != nil {
			return nil, err
		}
		found = append(found, claim{name: pacmanName(dir), digest: digest})
	}
	return found, nil
}

// digest returns the SHA-256, else the MD5, that a package has of a path.
func (p *pacman) digest(dir, path string) (digest []byte, err error) {
	file := filepath.Join(p.dir, "local", dir, "mtree")
	f, err := openRegular(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	packed, err := gzip.NewReader(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	err = eachLine(packed, func(line []byte) (bool, error) {
		name, digests, ok := mtreeLine(string(line))
		if ok && p.alias.canonical(name) == path {
			digest = digests
			return false, nil
		}
		return true, nil
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return digest, nil
}

// mtreeLine reads a line of an mtree file: "./path key=value …". Lines that
// begin with anything else set defaults, which hold no digests.
func mtreeLine(line string) (path string, digest []byte, ok bool) {
	name, rest, _ := strings.Cut(line, " ")
	if !strings.HasPrefix(name, "./") {
		return "", nil, false
	}
	if path, ok = unescapeMtree(name[1:]); !ok {
		return "", nil, false
	}
	for _, want := range []struct {
		key  string
		size int
	}{{"sha256digest=", 32}, {"sha256=", 32}, {"md5digest=", md5Size}, {"md5=", md5Size}} {
		for word := range strings.FieldsSeq(rest) {
			value, has := strings.CutPrefix(word, want.key)
			if !has {
				continue
			}
			if digest, err := hex.DecodeString(value); err == nil && len(digest) == want.size {
				return path, digest, true
			}
		}
	}
	return path, nil, true
}

// unescapeMtree undoes the octal escapes of vis(3).
func unescapeMtree(s string) (string, bool) {
	if !strings.Contains(s, `\`) {
		return s, true
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			b.WriteByte(s[i])
			continue
		}
		if i+4 > len(s) {
			return "", false
		}
		c, err := strconv.ParseUint(s[i+1:i+4], 8, 8)
		if err != nil {
			return "", false
		}
		b.WriteByte(byte(c))
		i += 3
	}
	return b.String(), true
}
