package store

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"snitch/monitor/store/schema"
)

// Bounds of a rule set, in bytes before compression.
const (
	maxRuleFile  = 256 << 20
	maxRuleFiles = 16384
)

// ErrRuleSetTooLarge is what PutRuleSet returns for what it does not keep.
var ErrRuleSetTooLarge = errors.New("the rule set is too large to be kept: its decisions cannot be replayed")

// RuleFile is a file of a rule set: rules, a list beside them, custom Rego.
type RuleFile struct {
	Path string // relative to the directory of rules, with slashes
	Data []byte
}

// ruleSet is a rule set that waits, compressed.
type ruleSet struct {
	revision string
	digest   [sha256.Size]byte
	files    []packedFile
	loaded   int64
}

type packedFile struct {
	path   string
	digest [sha256.Size]byte
	size   int64
	data   []byte
}

// PutRuleSet keeps the files of a rule set, so that what it decided can be
// replayed. They go into the database with the next commit; a set that is
// there already costs a look-up. It compresses on the goroutine of the caller,
// does not wait for the disk, and keeps no slice of files. The Store remembers
// the last set, compressed, in case that the file must begin anew.
func (s *Store) PutRuleSet(revision string, files []RuleFile) error {
	set, err := packRuleSet(revision, files)
	if err != nil {
		return err
	}
	set.loaded = schema.FromTime(s.cfg.Now())
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ruleSet = set
	waiting := &s.queue.extras.sets
	if !slices.ContainsFunc(*waiting, func(w *ruleSet) bool { return w.revision == revision && w.digest == set.digest }) {
		*waiting = append(*waiting, set)
	}
	return nil
}

func packRuleSet(revision string, files []RuleFile) (*ruleSet, error) {
	if len(files) > maxRuleFiles {
		return nil, fmt.Errorf("keep rule set %s with %d files: %w", revision, len(files), ErrRuleSetTooLarge)
	}
	set := &ruleSet{revision: revision}
	total := 0
	for _, f := range files {
		if total += len(f.Data); total > maxRuleFile {
			return nil, fmt.Errorf("keep rule set %s: %w", revision, ErrRuleSetTooLarge)
		}
		var b bytes.Buffer
		z, err := gzip.NewWriterLevel(&b, gzip.BestSpeed)
		if err == nil {
			_, err = z.Write(f.Data)
		}
		if err == nil {
			err = z.Close()
		}
		if err != nil {
			return nil, fmt.Errorf("compress %s: %w", f.Path, err)
		}
		set.files = append(set.files, packedFile{f.Path, sha256.Sum256(f.Data), int64(len(f.Data)), bytes.Clone(b.Bytes())})
	}
	slices.SortFunc(set.files, func(a, b packedFile) int { return cmp.Compare(a.path, b.path) })
	h := sha256.New()
	for i, f := range set.files {
		if i > 0 && f.path == set.files[i-1].path {
			return nil, fmt.Errorf("keep rule set %s: file %s is there twice", revision, f.path)
		}
		h.Write(binary.AppendUvarint(nil, uint64(len(f.path))))
		h.Write([]byte(f.path))
		h.Write(f.digest[:])
	}
	h.Sum(set.digest[:0])
	return set, nil
}

// putRuleSet writes a set unless it is there.
func (t *txn) putRuleSet(s *ruleSet) error {
	c := t.w.c
	set, ok, err := c.number("SELECT id FROM ruleset WHERE revision = ? AND digest = ?", s.revision, s.digest[:])
	if err != nil {
		return err
	}
	if ok {
		_, err := c.exec("UPDATE ruleset SET last = max(last, ?) WHERE id = ?", s.loaded, set)
		return err
	}
	res, err := c.exec("INSERT INTO ruleset (revision, digest, first, last) VALUES (?, ?, ?, ?)", s.revision, s.digest[:], s.loaded, s.loaded)
	if err != nil {
		return err
	}
	if set, err = res.LastInsertId(); err != nil {
		return err
	}
	for i := range s.files {
		f := &s.files[i]
		file, ok, err := c.number("SELECT id FROM rulefile WHERE digest = ?", f.digest[:])
		if err != nil {
			return err
		}
		if !ok {
			res, err := c.exec("INSERT INTO rulefile (digest, size, data) VALUES (?, ?, ?)", f.digest[:], f.size, f.data)
			if err != nil {
				return err
			}
			if file, err = res.LastInsertId(); err != nil {
				return err
			}
		}
		if _, err := c.exec("INSERT INTO ruleset_file (ruleset, path, rulefile) VALUES (?, ?, ?)", set, f.path, file); err != nil {
			return err
		}
	}
	return nil
}

// removeOldSets removes rule sets of which the record has no decision any
// more; the one loaded last stays. It ends a collection of orphans.
func (w *writer) removeOldSets() error {
	err := w.c.transaction(func() error {
		for _, sql := range [...]string{
			`DELETE FROM ruleset WHERE last < (SELECT max(last) FROM ruleset)
				AND revision NOT IN (SELECT value FROM text WHERE id IN (SELECT revision FROM decision))`,
			"DELETE FROM ruleset_file WHERE ruleset NOT IN (SELECT id FROM ruleset)",
			"DELETE FROM rulefile WHERE id NOT IN (SELECT rulefile FROM ruleset_file)",
		} {
			if _, err := w.c.exec(sql); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("remove rule sets that decided nothing: %w", err)
	}
	return nil
}
