package bundle

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"
)

// How changes are gathered.
const (
	quietFor = 200 * time.Millisecond // a burst is over
	atMost   = 2 * time.Second        // a burst that does not end is taken as it is
	lookAll  = time.Minute            // for changes that no event tells: a mount, an overflow
)

// Watch calls changed after the files of d may have changed, once for a burst
// of changes, and not before the call before returned. It returns when ctx
// ends. A directory that is not there yet, or is replaced whole, is found by
// way of the directory above it.
func (d Directory) Watch(ctx context.Context, log *slog.Logger, changed func()) error {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watch rules: %w", err)
	}
	defer w.Close()
	d.add(w, log)
	look := time.NewTicker(lookAll)
	defer look.Stop()
	var quiet, late <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return nil
		case e, ok := <-w.Events:
			if !ok {
				return errors.New("watch rules: the watcher ended")
			}
			if !d.concerns(e.Name) {
				continue
			}
			quiet = time.After(quietFor)
			if late == nil {
				late = time.After(atMost)
			}
			continue
		case err, ok := <-w.Errors:
			if !ok {
				return errors.New("watch rules: the watcher ended")
			}
			log.Warn("events of the directory of rules were lost, it is read again", "error", err)
		case <-look.C:
		case <-quiet:
		case <-late:
		}
		quiet, late = nil, nil
		d.add(w, log)
		changed()
	}
}

// concerns reports whether path is the directory or lies in it: the one above
// has neighbours.
func (d Directory) concerns(path string) bool {
	own := filepath.Clean(d.Path)
	return path == own || strings.HasPrefix(path, own+string(filepath.Separator))
}

// add watches the directory, those below and the one above; those that are
// watched already stay.
func (d Directory) add(w *fsnotify.Watcher, log *slog.Logger) {
	watch := func(dir string) {
		if err := w.Add(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			log.Warn("a directory of rules is not watched, it is read every minute", "dir", dir, "error", err)
		}
	}
	watch(filepath.Dir(filepath.Clean(d.Path)))
	n := 0
	_ = filepath.WalkDir(d.Path, func(name string, e fs.DirEntry, err error) error {
		switch {
		case err != nil || !e.IsDir() && name != d.Path:
			return nil // what cannot be read says so when it is read
		case name != d.Path && Ignored(e.Name()), n >= MaxFiles:
			return fs.SkipDir
		}
		n++
		watch(name)
		return nil
	})
}
