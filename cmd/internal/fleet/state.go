package fleet

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"snitch/policy/bundle"
)

const (
	stateFile = "fleet.json"
	setsDir   = "sets"
	maxState  = 1 << 20
)

// Set is one set of rules that this host has used, or would.
type Set struct {
	Revision string    `json:"revision"`
	Digest   string    `json:"digest"`
	Serial   uint64    `json:"serial,omitempty"`
	Expires  time.Time `json:"expires,omitzero"`
}

// Held is a set that is not used although it was published and verified.
type Held struct {
	Set
	At     time.Time `json:"at"`
	Reason string    `json:"reason"`
	// Cut says that it was held because the source was out of reach: when that goes
	// on without it, it was not the reason.
	Cut bool `json:"cut,omitempty"`
}

// kept is what a Source knows from one start to the next. Its file is replaced
// whole; the sets that it names lie beside it.
type kept struct {
	Origin   string          `json:"origin"`            // of all the rest: another begins anew
	Position bundle.Position `json:"position,omitzero"` // of the newest bundle that was used
	Commit   string          `json:"commit,omitempty"`  // the newest that was used
	Newest   string          `json:"newest,omitempty"`  // digest of the newest that was used
	Current  *Set            `json:"current,omitempty"` // nil: the rules of the machine
	Previous *Set            `json:"previous,omitempty"`
	Changed  time.Time       `json:"changed,omitzero"`
	Trial    bool            `json:"trial,omitempty"` // the change is watched
	Held     *Held           `json:"held,omitempty"`
	// Trying is a set that is being loaded: the daemon that finds it at its start
	// ended over it.
	Trying string `json:"trying,omitempty"`
	Tries  int    `json:"tries,omitempty"`
}

// archive keeps state and sets in a directory of root's.
type archive struct{ dir string }

// load reads the state of an origin; a new one, without an error, when there is
// none or it is of another.
func (a archive) load(origin string) (kept, error) {
	fresh := kept{Origin: origin}
	f, err := os.Open(filepath.Join(a.dir, stateFile))
	if errors.Is(err, fs.ErrNotExist) {
		return fresh, nil
	}
	if err != nil {
		return fresh, fmt.Errorf("read state of fleet: %w", err)
	}
	defer f.Close()
	var k kept
	if err := json.NewDecoder(io.LimitReader(f, maxState)).Decode(&k); err != nil {
		return fresh, fmt.Errorf("read state of fleet: %w", err)
	}
	if k.Origin != origin {
		return fresh, nil
	}
	return k, nil
}

// save replaces the state and removes the sets that it no longer names.
func (a archive) save(k kept) error {
	if err := os.MkdirAll(a.dir, 0o700); err != nil {
		return fmt.Errorf("keep state of fleet: %w", err)
	}
	text, err := json.MarshalIndent(k, "", "  ")
	if err != nil {
		return fmt.Errorf("keep state of fleet: %w", err)
	}
	if err := bundle.Replace(filepath.Join(a.dir, stateFile), text); err != nil {
		return fmt.Errorf("keep state of fleet: %w", err)
	}
	return a.prune(k)
}

func (a archive) prune(k kept) error {
	wanted := map[string]bool{}
	for _, s := range []*Set{k.Current, k.Previous} {
		if s != nil {
			wanted[a.set(s.Digest)] = true
		}
	}
	if k.Trying != "" {
		wanted[a.set(k.Trying)] = true
	}
	entries, err := os.ReadDir(filepath.Join(a.dir, setsDir))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove old sets: %w", err)
	}
	for _, e := range entries {
		if path := filepath.Join(a.dir, setsDir, e.Name()); !wanted[path] {
			if err := os.RemoveAll(path); err != nil {
				return fmt.Errorf("remove old sets: %w", err)
			}
		}
	}
	return nil
}

// set is the directory of a set.
func (a archive) set(digest string) string {
	name := strings.TrimPrefix(digest, "sha256:")
	if raw, err := hex.DecodeString(name); err != nil || len(raw) != 32 {
		name = "none" // nothing that is written here has another
	}
	return filepath.Join(a.dir, setsDir, name)
}

func (a archive) put(s *bundle.Snapshot) error {
	dir := a.set(s.Digest())
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("keep set: %w", err)
	}
	return bundle.Keeper{Dir: dir}.Save(s)
}

func (a archive) get(s *Set) (*bundle.Snapshot, error) {
	out, err := bundle.Keeper{Dir: a.set(s.Digest)}.Load()
	if err != nil {
		return nil, err
	}
	if got := out.Digest(); got != s.Digest {
		return nil, fmt.Errorf("read kept set: the content is %s, not %s", got, s.Digest)
	}
	return out, nil
}
