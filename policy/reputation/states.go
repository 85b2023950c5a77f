package reputation

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"snitch/monitor/event"
)

// Bounds of what is kept.
const (
	maxStates    = 65536
	maxStateFile = 32 << 20
)

// stateFile is what is kept on disk.
type stateFile struct {
	Version int      `json:"version"`
	Answers []Answer `json:"answers"`
}

// Load reads the answers of earlier runs, by the SHA-256 of files. A file that is
// not there is none; one that is damaged or others could have written is an error.
func Load(name string) (map[event.Digest]Answer, error) {
	out := map[event.Digest]Answer{}
	f, err := os.OpenFile(name, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if errors.Is(err, os.ErrNotExist) {
		return out, nil
	}
	if err != nil {
		return out, fmt.Errorf("read verdicts: %w", err)
	}
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return out, fmt.Errorf("read verdicts: %w", err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG || st.Uid != uint32(os.Geteuid()) || st.Mode&0o022 != 0 {
		return out, fmt.Errorf("read verdicts: %s is no file that only this user can write", name)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxStateFile))
	if err != nil {
		return out, fmt.Errorf("read verdicts: %w", err)
	}
	return decode(b)
}

func decode(b []byte) (map[event.Digest]Answer, error) {
	out := map[event.Digest]Answer{}
	var file stateFile
	if err := json.Unmarshal(b, &file); err != nil {
		return out, fmt.Errorf("read verdicts: %w", err)
	}
	if file.Version != 1 || len(file.Answers) > maxStates {
		return out, fmt.Errorf("read verdicts: version %d with %d answers", file.Version, len(file.Answers))
	}
	for _, a := range file.Answers {
		if a.SHA256.IsZero() || a.Verdict == event.ReputationUnasked {
			return map[event.Digest]Answer{}, errors.New("read verdicts: an answer without a file or verdict")
		}
		out[a.SHA256] = a
	}
	return out, nil
}

// save writes all answers, whole or not at all.
func save(name string, answers map[event.Digest]Answer) (err error) {
	file := stateFile{Version: 1, Answers: make([]Answer, 0, len(answers))}
	for _, a := range answers {
		file.Answers = append(file.Answers, a)
	}
	slices.SortFunc(file.Answers, func(a, b Answer) int { return slices.Compare(a.SHA256[:], b.SHA256[:]) })
	b, err := json.Marshal(file)
	if err != nil {
		return fmt.Errorf("write verdicts: %w", err)
	}
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+"-*")
	if err != nil {
		return fmt.Errorf("write verdicts: %w", err)
	}
	_, err = f.Write(b)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write verdicts: %w", err), os.Remove(f.Name()))
	}
	return nil
}

// shed forgets the oldest answers beyond the bound.
func shed(answers map[event.Digest]Answer) {
	for len(answers) > maxStates {
		var oldest event.Digest
		at := time.Time{}
		for d, a := range answers {
			if at.IsZero() || a.At.Before(at) {
				oldest, at = d, a.At
			}
		}
		delete(answers, oldest)
	}
}
