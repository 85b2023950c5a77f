package owner

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	_ "modernc.org/sqlite" // the driver
)

// rpm reads the SQLite database of rpm(8), 4.16 and later. It has an index of
// its own, by base name, so that nothing is kept in memory.
type rpm struct {
	dir   string // of rpmdb.sqlite
	alias aliases
	count int
}

// rpmDirs are where distributions have the database.
var rpmDirs = []string{"var/lib/rpm", "usr/lib/sysimage/rpm"}

const (
	rpmFile      = "rpmdb.sqlite"
	maxHeader    = 128 << 20
	maxSameNames = 4096 // files of one base name
)

func newRPM(root string) *rpm {
	r := &rpm{dir: filepath.Join("/", root, rpmDirs[0])}
	for _, dir := range rpmDirs {
		if dir = filepath.Join("/", root, dir); stampOf(filepath.Join(dir, rpmFile)) != "" {
			r.dir = dir
			break
		}
	}
	return r
}

func (r *rpm) name() string { return "rpm" }

// stamp leaves the write-ahead log's index away: readers change it.
func (r *rpm) stamp() string {
	file := filepath.Join(r.dir, rpmFile)
	stamp := stampOf(file)
	if stamp == "" {
		return ""
	}
	return stamp + stampOf(file+"-wal")
}

func (r *rpm) busy() bool { return lockedByOther(filepath.Join(r.dir, ".rpm.lock")) }

func (r *rpm) size() (packages, files, bytes int) { return r.count, 0, 0 }

// load counts the packages. A database without one (of a tool that was
// installed and never used) is none.
func (r *rpm) load(ctx context.Context, alias aliases) error {
	r.alias = alias
	return r.with(ctx, func(db *sql.DB) error {
		return db.QueryRowContext(ctx, "SELECT count(*) FROM Packages").Scan(&r.count)
	})
}

// with opens the database for one use: it is replaced and written to by others.
// A database without a write-ahead log is opened as one that does not change,
// which leaves no file beside it and needs no right to write.
func (r *rpm) with(ctx context.Context, use func(db *sql.DB) error) error {
	file := filepath.Join(r.dir, rpmFile)
	options := url.Values{"mode": {"ro"}, "_pragma": {"query_only(1)", "busy_timeout(1000)", "trusted_schema(0)"}}
	if info, err := os.Stat(file + "-wal"); err != nil || info.Size() == 0 {
		options.Set("immutable", "1")
	}
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Path: file, RawQuery: options.Encode()}).String())
	if err != nil {
		return fmt.Errorf("open %s: %w", file, err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	if err := use(db); err != nil {
		return fmt.Errorf("read %s: %w", file, err)
	}
	return nil
}

func (r *rpm) claims(ctx context.Context, path string) (found []claim, err error) {
	err = r.with(ctx, func(db *sql.DB) error {
		at, err := r.places(ctx, db, filepath.Base(path))
		if err != nil {
			return err
		}
		for number, files := range at {
			h, err := readHeader(ctx, db, number)
			if err != nil {
				return fmt.Errorf("package %d: %w", number, err)
			}
			for _, i := range files {
				c, full, err := h.file(i)
				if err != nil {
					return fmt.Errorf("package %d: %w", number, err)
				}
				if full != "" && r.alias.canonical(full) == path {
					found = append(found, c)
				}
			}
		}
		return nil
	})
	return found, err
}

// places returns, by package, the files of a base name.
func (r *rpm) places(ctx context.Context, db *sql.DB, base string) (map[int64][]int, error) {
	rows, err := db.QueryContext(ctx, "SELECT hnum, idx FROM Basenames WHERE key = ? LIMIT ?", base, maxSameNames)
	if err != nil {
		return nil, err //nolint:wrapcheck // with names the file
	}
	defer rows.Close()
	at := map[int64][]int{}
	for rows.Next() {
		var number int64
		var i int
		if err := rows.Scan(&number, &i); err != nil {
			return nil, err //nolint:wrapcheck // likewise
		}
		at[number] = append(at[number], i)
	}
	return at, rows.Err() //nolint:wrapcheck // likewise
}

func readHeader(ctx context.Context, db *sql.DB, number int64) (*header, error) {
	var size int64
	if err := db.QueryRowContext(ctx, "SELECT length(blob) FROM Packages WHERE hnum = ?", number).Scan(&size); err != nil {
		return nil, err //nolint:wrapcheck // likewise
	}
	if size > maxHeader {
		return nil, errors.New("its header is too long")
	}
	var blob []byte
	if err := db.QueryRowContext(ctx, "SELECT blob FROM Packages WHERE hnum = ?", number).Scan(&blob); err != nil {
		return nil, err //nolint:wrapcheck // likewise
	}
	return parseHeader(blob)
}

// file returns what the package says of its file number i. The path is "" when
// that file is not installed (of another architecture, left out, replaced).
func (h *header) file(i int) (c claim, path string, err error) {
	base, err := h.text(tagBasenames, i)
	if err != nil {
		return c, "", err
	}
	dir, err := h.number(tagDirIndexes, i)
	if err != nil {
		return c, "", err
	}
	parent, err := h.text(tagDirnames, int(dir))
	if err != nil {
		return c, "", err
	}
	if state, err := h.state(i); err != nil || state != stateNormal {
		return c, "", err
	}
	if c.name, err = h.text(tagName, 0); err != nil {
		return c, "", err
	}
	c.digest, err = h.digest(i)
	return c, parent + strings.TrimPrefix(base, "/"), err
}
