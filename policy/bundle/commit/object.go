package commit

import (
	"bufio"
	"bytes"
	"crypto/sha1" //nolint:gosec // git's object ids; see docs/fleet.md for what that means
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Bounds of what a fetcher hands over.
const (
	MaxBytes   = 256 << 20 // of all objects
	maxObjects = 100_000
	maxHeader  = 200      // bytes of a line before an object
	maxCommit  = 1 << 20  // bytes of a commit
	maxTree    = 16 << 20 // bytes of a tree
	maxHistory = 50_000   // commits between two releases
)

// Kinds of objects, as git calls them.
const (
	kindCommit = "commit"
	kindTree   = "tree"
	kindBlob   = "blob"
)

type object struct {
	kind string
	data []byte
}

// Objects are git's objects by their id, which was computed from their content.
type Objects struct {
	size    int // of an id, in hexadecimal digits
	objects map[string]object
}

// ValidID reports whether s is the id of an object: SHA-1 or SHA-256 in
// hexadecimal digits.
func ValidID(s string) bool {
	return (len(s) == 2*sha1.Size || len(s) == 2*sha256.Size) && strings.Trim(s, "0123456789abcdef") == ""
}

// idOf computes the id of an object with the algorithm whose ids have size
// digits.
func idOf(size int, kind string, data []byte) string {
	h := sha1.New() //nolint:gosec // as above
	if size == 2*sha256.Size {
		h = sha256.New()
	}
	fmt.Fprintf(h, "%s %d\x00", kind, len(data))
	h.Write(data)
	return hex.EncodeToString(h.Sum(nil))
}

// ReadObjects reads what `git cat-file --batch` writes, to its end. The ids that
// it names are not believed. tip tells the algorithm.
func ReadObjects(from io.Reader, tip string) (*Objects, error) {
	if !ValidID(tip) {
		return nil, fmt.Errorf("read git objects: %.100q is no id", tip)
	}
	out := &Objects{size: len(tip), objects: map[string]object{}}
	in := bufio.NewReaderSize(from, 64<<10)
	total := 0
	for {
		line, err := in.ReadSlice('\n')
		switch {
		case errors.Is(err, io.EOF) && len(line) == 0:
			return out, nil
		case err != nil || len(line) > maxHeader:
			return nil, fmt.Errorf("read git objects: cut off, or no line of git's: %.100q", line)
		case len(out.objects) == maxObjects:
			return nil, fmt.Errorf("read git objects: more than %d", maxObjects)
		}
		kind, size, err := header(string(line))
		if err != nil {
			return nil, fmt.Errorf("read git objects: %w", err)
		}
		if total += size; total > MaxBytes {
			return nil, fmt.Errorf("read git objects: more than %d bytes", MaxBytes)
		}
		var data bytes.Buffer // grows as bytes come, not as the line claims
		if _, err := io.CopyN(&data, in, int64(size)); err != nil {
			return nil, fmt.Errorf("read git objects: cut off: %w", err)
		}
		if end, err := in.ReadByte(); err != nil || end != '\n' {
			return nil, errors.New("read git objects: an object does not end where it should")
		}
		out.objects[idOf(out.size, kind, data.Bytes())] = object{kind, data.Bytes()}
	}
}

// header reads "id kind size".
func header(line string) (kind string, size int, err error) {
	fields := strings.Fields(line)
	if len(fields) != 3 || !ValidID(fields[0]) {
		return "", 0, fmt.Errorf("no line of git's: %.100q", line)
	}
	size, err = strconv.Atoi(fields[2])
	most := map[string]int{kindCommit: maxCommit, kindTree: maxTree, kindBlob: MaxBytes}[fields[1]]
	if err != nil || size < 0 || size > most {
		return "", 0, fmt.Errorf("object %.64s: a %.20q of %.20q bytes is not used", fields[0], fields[1], fields[2])
	}
	return fields[1], size, nil
}

// get returns the content of an object of a kind.
func (o *Objects) get(id, kind string) ([]byte, error) {
	found, ok := o.objects[id]
	if !ok {
		return nil, fmt.Errorf("%s %.64s is missing", kind, id)
	}
	if found.kind != kind {
		return nil, fmt.Errorf("%.64s is a %s and no %s", id, found.kind, kind)
	}
	return found.data, nil
}
