package picosnitch

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"unicode/utf8"

	"snitch/monitor/event"
)

// Bounds of the list of known programs.
const (
	MaxKnown    = 256 << 20
	maxPrograms = 1 << 20
	maxDepth    = 16
	maxPath     = 4096
)

// Program is a program that picosnitch knew. A program of which several files
// were known comes once for each, one of which none was known once without.
type Program struct {
	Exe    string
	SHA256 event.Digest
}

// Known reads record.json of older versions or state.json of newer ones: objects
// by the path of an executable, with its names or its digests below it. Verdicts
// of VirusTotal in it are not taken over: they are asked for again.
func Known(data []byte) ([]Program, error) {
	if len(data) > MaxKnown {
		return nil, fmt.Errorf("is larger than %d bytes", MaxKnown)
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	var all map[string]any
	if err := dec.Decode(&all); err != nil {
		return nil, fmt.Errorf("read known programs: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("read known programs: something follows them")
	}
	k := known{seen: map[Program]bool{}, hashed: map[string]bool{}}
	if err := k.walk(all, 0); err != nil {
		return nil, err
	}
	var out []Program
	for _, p := range k.programs {
		if !p.SHA256.IsZero() || !k.hashed[p.Exe] {
			out = append(out, p)
		}
	}
	return out, nil
}

// known collects programs in the order of the walk.
type known struct {
	programs []Program
	seen     map[Program]bool
	hashed   map[string]bool // paths with a digest
}

func (k *known) walk(v any, depth int) error {
	if depth > maxDepth {
		return errors.New("read known programs: nested too deeply")
	}
	switch x := v.(type) {
	case map[string]any:
		for key, below := range x {
			if !isProgram(key) {
				if err := k.walk(below, depth+1); err != nil {
					return err
				}
				continue
			}
			if err := k.add(Program{Exe: key}); err != nil {
				return err
			}
			for _, d := range digests(below) {
				if err := k.add(Program{key, d}); err != nil {
					return err
				}
			}
		}
	case []any:
		for _, item := range x {
			if err := k.walk(item, depth+1); err != nil {
				return err
			}
		}
	case string: // programs by the name of their process
		if isProgram(x) {
			return k.add(Program{Exe: x})
		}
	}
	return nil
}

func (k *known) add(p Program) error {
	if k.seen[p] {
		return nil
	}
	if len(k.programs) >= maxPrograms {
		return fmt.Errorf("read known programs: more than %d", maxPrograms)
	}
	k.seen[p] = true
	k.programs = append(k.programs, p)
	if !p.SHA256.IsZero() {
		k.hashed[p.Exe] = true
	}
	return nil
}

func isProgram(s string) bool {
	return strings.HasPrefix(s, "/") && len(s) <= maxPath && path.Clean(s) == s && s != "/" && utf8.ValidString(s) && !strings.ContainsRune(s, 0)
}

// digests are those that stand below a program: as keys or in a list.
func digests(v any) (out []event.Digest) {
	keep := func(s string) {
		if d, err := event.ParseDigest(s); err == nil && !d.IsZero() {
			out = append(out, d)
		}
	}
	switch x := v.(type) {
	case map[string]any:
		for key := range x {
			keep(key)
		}
	case []any:
		for _, item := range x {
			if s, ok := item.(string); ok {
				keep(s)
			}
		}
	case string:
		keep(x)
	}
	return out
}
