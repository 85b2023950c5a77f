package query

import (
	"cmp"
	"context"
	"database/sql/driver"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"snitch/monitor/event"
	"snitch/monitor/store/schema"
)

// ErrNoExecutable says that the record has no such program file.
var ErrNoExecutable = errors.New("the record has no such executable")

// ExecutableQuery selects executables. The zero value selects all, those that
// were active last first.
type ExecutableQuery struct {
	Since, Until time.Time // active in this range; zero: no bound
	New          bool      // only those never recorded before Since
	Path         string    // with exactly this path; "": any
	SHA256       string    // whose digest begins with these digits; "": any
	Limit        int       // 0: DefaultGroupLimit, at most MaxGroupLimit
	Offset       int
}

// ExecutableInfo is one program file: one path in one view with one digest.
type ExecutableInfo struct {
	ID         int64  `json:"id"` // of this database file; for Executable
	Path       string `json:"path"`
	View       string `json:"view,omitempty"`
	Kind       string `json:"kind"`
	SHA256     string `json:"sha256"`
	HashReason string `json:"sha256_reason,omitempty"` // why sha256 is empty
	Package    string `json:"package,omitempty"`
	// First is when it was recorded first, as a program or as the ancestor of
	// one; Last when it was active last, to the width of the rollups that are
	// kept. The sums are of all that is kept, whatever the range.
	First       time.Time `json:"first"`
	Last        time.Time `json:"last"`
	Connections uint64    `json:"connections"`
	Sent        uint64    `json:"sent"`
	Received    uint64    `json:"received"`
}

// ExecutableDetail is all that the record knows of one program file.
type ExecutableDetail struct {
	ExecutableInfo
	// Hashes are the files that had the same path in the same view, this one
	// among them, the newest first.
	Hashes []ExecutableInfo `json:"hashes"`
	// SamePaths are other paths with the same digest.
	SamePaths []ExecutableInfo `json:"same_paths"`
	// Lineages are the distinct chains of ancestors, nearest first, those used
	// last first, at most MaxLineages.
	Lineages []Lineage `json:"lineages"`
	Names    []string  `json:"names"`    // process names, at most MaxTexts
	Cmdlines []string  `json:"cmdlines"` // at most MaxTexts, those used last first
	Scripts  []string  `json:"scripts"`  // at most MaxTexts
}

// Bounds of an ExecutableDetail.
const (
	MaxLineages = 20
	MaxTexts    = 20
)

// Lineage is a chain of ancestors.
type Lineage struct {
	Ancestors []LineageStep `json:"ancestors"` // the parent first
	Cut       bool          `json:"cut,omitempty"`
}

// LineageStep is one ancestor.
type LineageStep struct {
	ID     int64  `json:"id"` // of its executable
	Exe    string `json:"exe"`
	View   string `json:"view,omitempty"`
	Name   string `json:"name"`
	SHA256 string `json:"sha256"`
}

// Executables lists program files that were active.
func (db *DB) Executables(ctx context.Context, q ExecutableQuery) (out []ExecutableInfo, err error) {
	if q.Limit < 0 || q.Limit > MaxGroupLimit || q.Offset < 0 {
		return nil, fmt.Errorf("list executables: limit %d or offset %d is out of bounds", q.Limit, q.Offset)
	}
	err = db.read(ctx, func(r *reader) error {
		out, err = r.executables(ctx, "WHERE (?1 = '' OR path = ?1) AND (?2 = '' OR instr(lower(hex(ifnull(sha256, x''))), ?2) = 1)", q.Path, strings.ToLower(q.SHA256))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list executables: %w", err)
	}
	out = slices.DeleteFunc(out, func(x ExecutableInfo) bool {
		return x.Last.IsZero() || x.Last.Before(q.Since) || !q.Until.IsZero() && !x.First.Before(q.Until) || q.New && x.First.Before(q.Since)
	})
	slices.SortFunc(out, func(a, b ExecutableInfo) int { return cmp.Or(b.Last.Compare(a.Last), cmp.Compare(b.ID, a.ID)) })
	if q.Limit == 0 {
		q.Limit = DefaultGroupLimit
	}
	out = out[min(q.Offset, len(out)):]
	return out[:min(q.Limit, len(out))], nil
}

// executables reads those that a condition selects, in the order of their
// numbers, with what they did.
func (r *reader) executables(ctx context.Context, where string, args ...any) ([]ExecutableInfo, error) {
	did, err := r.tallyKeys(ctx, &plan{dim: schema.DimExecutable})
	if err != nil {
		return nil, err
	}
	out := []ExecutableInfo{}
	err = r.raw(ctx, "SELECT id, path, view, kind, sha256, reason, package, first FROM executable "+where+" ORDER BY id", args, func(v []driver.Value) {
		x := ExecutableInfo{ID: integer(v[0]), Path: asText(v[1]), View: asText(v[2]), Kind: event.ExecutableKind(integer(v[3])).String(), Package: asText(v[6]),
			First: schema.ToTime(integer(v[7]))}
		sha, _ := v[4].([]byte)
		if x.SHA256 = digest(sha); x.SHA256 == "" {
			x.HashReason = event.HashReason(integer(v[5])).String()
		}
		if i, ok := did.index[groupKey{0, x.ID}]; ok {
			g := did.sums[i].row()
			x.Last, x.Connections, x.Sent, x.Received = g.Last, g.Connections, g.Sent, g.Received
			if x.First.IsZero() { // recorded by an older snitch
				x.First = g.First
			}
		}
		out = append(out, x)
	})
	return out, err
}

// Executable tells all of one program file: by its number (ExecutableInfo.ID),
// or the newest with a path (beginning with "/") or a SHA-256 (64 digits).
// ErrNoExecutable: there is none.
func (db *DB) Executable(ctx context.Context, key string) (out ExecutableDetail, err error) {
	where, arg, err := executableKey(key)
	if err == nil {
		err = db.read(ctx, func(r *reader) error {
			out, err = r.executable(ctx, where, arg)
			return err
		})
	}
	if err != nil {
		return ExecutableDetail{}, fmt.Errorf("read executable %q: %w", shorten(key), err)
	}
	return out, nil
}

func executableKey(key string) (where string, arg any, err error) {
	if strings.HasPrefix(key, "/") {
		return "WHERE path = ?", key, nil
	}
	if sha, err := hex.DecodeString(key); err == nil && len(sha) == len(event.Digest{}) {
		return "WHERE sha256 = ?", sha, nil
	}
	id, err := strconv.ParseInt(key, 10, 64)
	if err != nil {
		return "", nil, errors.New("neither a number, nor a path, nor a SHA-256")
	}
	return "WHERE id = ?", id, nil
}

func (r *reader) executable(ctx context.Context, where string, arg any) (out ExecutableDetail, err error) {
	found, err := r.executables(ctx, where, arg)
	if err != nil {
		return out, err
	}
	if len(found) == 0 {
		return out, ErrNoExecutable
	}
	out.ExecutableInfo = found[len(found)-1]
	if out.Hashes, err = r.executables(ctx, "WHERE path = ? AND view = ?", out.Path, out.View); err != nil {
		return out, err
	}
	slices.Reverse(out.Hashes)
	out.SamePaths = []ExecutableInfo{}
	if sha, _ := hex.DecodeString(out.SHA256); len(sha) > 0 {
		if out.SamePaths, err = r.executables(ctx, "WHERE sha256 = ? AND (path <> ? OR view <> ?)", sha, out.Path, out.View); err != nil {
			return out, err
		}
	}
	return out, r.runsOf(ctx, &out)
}

// processesLooked bounds the processes that runsOf looks at, the newest.
const processesLooked = 10_000

// runsOf tells how a program file was run: under which names, with which
// arguments, by whom.
func (r *reader) runsOf(ctx context.Context, out *ExecutableDetail) error {
	var ids []int64
	err := r.raw(ctx, "SELECT id FROM process WHERE executable = ? ORDER BY id DESC LIMIT ?", []any{out.ID, int64(processesLooked)},
		func(v []driver.Value) { ids = append(ids, integer(v[0])) })
	if err != nil {
		return err
	}
	return r.interned(ctx, func(t *interned) error {
		var names, cmdlines, scripts distinct
		for _, id := range ids {
			p := t.processes[id]
			names.add(p.name)
			cmdlines.add(p.cmdline)
			scripts.add(t.scripts[p.script].path)
		}
		for _, d := range []struct {
			from   *distinct
			labels labeller
			to     *[]string
		}{{&names, textLabels, &out.Names}, {&cmdlines, textLabels, &out.Cmdlines}, {&scripts, wordLabels{}, &out.Scripts}} {
			if *d.to, _, err = d.labels.labels(ctx, r, t, d.from.values); err != nil {
				return err
			}
		}
		out.Lineages, err = r.lineages(ctx, t, ids)
		return err
	})
}

// distinct are the first MaxTexts different values but 0.
type distinct struct{ values []int64 }

func (d *distinct) add(v int64) {
	if v != 0 && len(d.values) < MaxTexts && !slices.Contains(d.values, v) {
		d.values = append(d.values, v)
	}
}

// lineages are the first MaxLineages different chains above processes.
func (r *reader) lineages(ctx context.Context, t *interned, processes []int64) ([]Lineage, error) {
	out := []Lineage{}
	seen := map[string]bool{}
	for _, id := range processes {
		chain, key := []processFacts{}, ""
		above := t.processes[id].parent
		for ; above != 0 && len(chain) < event.MaxAncestors; above = t.processes[above].parent {
			p := t.processes[above]
			chain, key = append(chain, p), key+fmt.Sprintf("%d/%d ", p.executable, p.name)
		}
		if seen[key] {
			continue
		}
		seen[key] = true
		l, err := r.lineage(ctx, t, chain)
		if err != nil {
			return nil, err
		}
		l.Cut = above != 0
		if out = append(out, l); len(out) == MaxLineages {
			break
		}
	}
	return out, nil
}

func (r *reader) lineage(ctx context.Context, t *interned, chain []processFacts) (Lineage, error) {
	names := make([]int64, len(chain))
	for i, p := range chain {
		names[i] = p.name
	}
	shown, _, err := textLabels.labels(ctx, r, t, names)
	l := Lineage{Ancestors: make([]LineageStep, len(chain))}
	for i, p := range chain {
		x := t.executables[p.executable]
		l.Ancestors[i] = LineageStep{ID: p.executable, Exe: t.words[x.path], View: t.words[x.view], SHA256: t.words[x.sha]}
		if err == nil {
			l.Ancestors[i].Name = shown[i]
		}
	}
	return l, err
}
