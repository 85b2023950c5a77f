package enforce

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"snitch/monitor/event"
)

// Files in the state directory.
const (
	savedName = "enforce.json"
	// PanicName is a file whose presence beats every other word: nothing is
	// denied as long as it is there. `enforce panic` makes it, and so can
	// anybody with a shell and the rights; `enforce on` and `off` remove it.
	PanicName = "enforce.panic"
)

// savedVersion is of the file's form.
const savedVersion = 1

// maxSaved bounds the file.
const maxSaved = 64 << 10

// Saved is what `enforce on` and `off` leave behind for the next start.
type Saved struct {
	Version int `json:"version"`
	// Mode is "enforce" or "audit"; "" leaves it to the configuration.
	Mode     string    `json:"mode,omitempty"`
	Since    time.Time `json:"since,omitzero"`
	By       string    `json:"by,omitempty"` // who said so, for people
	Armed    *Armed    `json:"armed,omitempty"`
	Sessions []Session `json:"sessions,omitempty"` // protected as long as Mode is enforce
}

// Armed is a mode that ends unless it is confirmed. It is bound to one boot:
// another boot means that nobody confirmed it.
type Armed struct {
	Boot     string        `json:"boot"`     // boot_id
	Deadline time.Duration `json:"deadline"` // of CLOCK_BOOTTIME, which no clock setting moves and no suspend stops
	Wall     time.Time     `json:"wall"`     // about when that is, for people
}

// over reports whether the time to confirm has passed.
func (a *Armed) over(boot string, now time.Duration) bool { return a.Boot != boot || now >= a.Deadline }

// Load reads what is saved in dir; where nothing is, the zero Saved. A damaged
// file is an error: the configuration counts then.
func Load(dir string) (Saved, error) {
	f, err := os.OpenFile(filepath.Join(dir, savedName), os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return Saved{}, nil
	}
	if err != nil {
		return Saved{}, fmt.Errorf("read the saved mode: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxSaved+1))
	if err != nil {
		return Saved{}, fmt.Errorf("read the saved mode: %w", err)
	}
	return parseSaved(data)
}

func parseSaved(data []byte) (Saved, error) {
	var s Saved
	if len(data) > maxSaved {
		return Saved{}, fmt.Errorf("read the saved mode: the file is larger than %d bytes", maxSaved)
	}
	if err := json.Unmarshal(data, &s); err != nil {
		return Saved{}, fmt.Errorf("read the saved mode: %w", err)
	}
	_, known := parseMode(s.Mode)
	switch {
	case s.Version != savedVersion:
		return Saved{}, fmt.Errorf("read the saved mode: version %d is not known, this snitch reads %d", s.Version, savedVersion)
	case !known:
		return Saved{}, fmt.Errorf("read the saved mode: %q is no mode", s.Mode)
	case len(s.Sessions) > maxSessions:
		return Saved{}, fmt.Errorf("read the saved mode: %d protected sessions", len(s.Sessions))
	}
	for _, x := range s.Sessions {
		if !x.valid() {
			return Saved{}, errors.New("read the saved mode: a protected session is no session")
		}
	}
	return s, nil
}

// parseMode reads Saved.Mode.
func parseMode(s string) (event.Mode, bool) {
	switch s {
	case "":
		return event.ModeInvalid, true
	case event.ModeAudit.String():
		return event.ModeAudit, true
	case event.ModeEnforce.String():
		return event.ModeEnforce, true
	}
	return event.ModeInvalid, false
}

// save replaces the file: synced, then renamed, then the directory synced, so
// that a crash at any moment leaves the old one or the new one, and what save
// returned nil for outlives a power cut.
func (s Saved) save(dir string) error {
	s.Version = savedVersion
	data, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("save the mode: %w", err)
	}
	f, err := os.CreateTemp(dir, "."+savedName+".*")
	if err != nil {
		return fmt.Errorf("save the mode: %w", err)
	}
	defer os.Remove(f.Name()) // nothing is left when it was renamed
	_, err = f.Write(append(data, '\n'))
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), filepath.Join(dir, savedName))
	}
	if err == nil {
		err = syncDir(dir)
	}
	if err != nil {
		return fmt.Errorf("save the mode: %w", err)
	}
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// MarkPanic makes the file that turns enforcement off in dir, whatever a daemon
// does or does not do. It needs no free space but a directory entry.
func MarkPanic(dir string) error {
	f, err := os.OpenFile(filepath.Join(dir, PanicName), os.O_WRONLY|os.O_CREATE|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o640)
	if err == nil {
		err = errors.Join(f.Close(), syncDir(dir))
	}
	if err != nil {
		return fmt.Errorf("mark panic: %w", err)
	}
	return nil
}

// Panicked reports whether the file is there.
func Panicked(dir string) bool {
	_, err := os.Lstat(filepath.Join(dir, PanicName))
	return err == nil
}

func clearPanic(dir string) error {
	err := os.Remove(filepath.Join(dir, PanicName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = syncDir(dir)
	}
	if err != nil {
		return fmt.Errorf("clear panic: %w", err)
	}
	return nil
}
