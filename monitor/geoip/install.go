package geoip

import (
	"bufio"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// MaxFile bounds an installed file, in bytes.
const MaxFile = 512 << 20

// ErrOlder says that the installed table is newer than the one that was to
// replace it.
var ErrOlder = errors.New("the installed table is newer")

// Install checks the table that r has, as it is or compressed with gzip, and
// puts it into dir, which it makes if it is not there: whole or not at all. A
// reader of what is installed now is not disturbed. The file may be read by the
// group of dir. Older ones than the installed are refused with ErrOlder, unless
// force is set.
func Install(dir string, kind Kind, r io.Reader, force bool) (Source, error) {
	if err := makeDir(dir); err != nil {
		return Source{}, fmt.Errorf("install table of kind %s: %w", kind, err)
	}
	temp, err := save(dir, kind, r)
	if err == nil {
		var src Source
		if src, err = check(temp, kind); err == nil {
			if err = replace(dir, temp, kind, src.Built, force); err == nil {
				src.Path = filepath.Join(dir, kind.FileName())
				return src, nil
			}
		}
	}
	if temp != "" {
		err = errors.Join(err, os.Remove(temp))
	}
	return Source{}, fmt.Errorf("install table of kind %s: %w", kind, err)
}

// makeDir makes dir as the directory above it is: for the same group.
func makeDir(dir string) error {
	if _, err := os.Stat(dir); err == nil || !errors.Is(err, os.ErrNotExist) {
		return err
	}
	above, err := os.Stat(filepath.Dir(dir))
	if err != nil {
		return err
	}
	if err := os.Mkdir(dir, above.Mode().Perm()&0o755); err != nil {
		return err
	}
	return likeAbove(dir, above)
}

// likeAbove gives path the group of the directory that it is in, where that is
// allowed.
func likeAbove(path string, above os.FileInfo) error {
	stat, ok := above.Sys().(*syscall.Stat_t)
	if !ok {
		return nil
	}
	if err := os.Chown(path, -1, int(stat.Gid)); err != nil && !errors.Is(err, os.ErrPermission) {
		return err
	}
	return nil
}

// save copies r into a new file beside the one that it is to replace.
func save(dir string, kind Kind, r io.Reader) (path string, err error) {
	f, err := os.CreateTemp(dir, "."+kind.FileName()+"-*")
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	plain, err := uncompressed(r)
	if err != nil {
		return f.Name(), err
	}
	n, err := io.Copy(f, io.LimitReader(plain, MaxFile+1))
	switch {
	case err != nil:
		return f.Name(), fmt.Errorf("save: %w", err)
	case n > MaxFile:
		return f.Name(), fmt.Errorf("it has more than %d bytes", MaxFile)
	case n == 0:
		return f.Name(), errors.New("it is empty")
	}
	if err := f.Chmod(0o640); err != nil {
		return f.Name(), err
	}
	above, err := os.Stat(dir)
	if err != nil {
		return f.Name(), err
	}
	return f.Name(), errors.Join(likeAbove(f.Name(), above), f.Sync())
}

// uncompressed reads through gzip if that is what r is.
func uncompressed(r io.Reader) (io.Reader, error) {
	b := bufio.NewReader(r)
	magic, err := b.Peek(2)
	switch {
	case err != nil && !errors.Is(err, io.EOF):
		return nil, err
	case err != nil || magic[0] != 0x1f || magic[1] != 0x8b:
		return b, nil
	}
	z, err := gzip.NewReader(b)
	if err != nil {
		return nil, fmt.Errorf("uncompress: %w", err)
	}
	return z, nil
}

// checked is how many records check looks at for one that has what the kind
// promises.
const checked = 10_000

// check refuses what is no table of the kind. It does not hold a table against
// the whole format: those that are in use would fail.
func check(path string, kind Kind) (Source, error) {
	f, err := openFile(path)
	if err != nil {
		return Source{}, fmt.Errorf("it is no table of places: %w", err)
	}
	defer f.reader.Close()
	m := f.reader.Metadata
	src := Source{Kind: kind, Type: m.DatabaseType, Built: m.BuildTime().UTC()}
	src.Credit, src.CreditURL = credit(m.DatabaseType)
	if src.Built.After(time.Now().Add(24 * time.Hour)) {
		return src, fmt.Errorf("it says that it was made on %s", src.Built.Format(time.DateOnly))
	}
	n := 0
	for found := range f.reader.Networks() {
		if err := found.Err(); err != nil {
			return src, fmt.Errorf("it is damaged: %w", err)
		}
		a := found.Prefix().Addr()
		asn, _ := f.network(a)
		if kind == KindCountry && f.country(a) != "" || kind == KindCity && f.cityName(a) != "" || kind == KindASN && asn != 0 {
			return src, nil
		}
		if n++; n == checked {
			break
		}
	}
	return src, fmt.Errorf("it calls itself %q and has no %s in it", m.DatabaseType, map[Kind]string{KindCountry: "countries", KindCity: "cities", KindASN: "networks"}[kind])
}

func replace(dir, temp string, kind Kind, built time.Time, force bool) error {
	target := filepath.Join(dir, kind.FileName())
	if old, err := openFile(target); err == nil {
		before := old.reader.Metadata.BuildTime()
		if err := old.reader.Close(); err != nil {
			return err
		}
		if before.After(built) && !force {
			return fmt.Errorf("%w: it is of %s, this one of %s", ErrOlder, before.UTC().Format(time.DateOnly), built.Format(time.DateOnly))
		}
	}
	if err := os.Rename(temp, target); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
