package digest

import (
	"path/filepath"
	"testing"

	"snitch/monitor/event"
)

// TestReusedInodeNumbers: a file that is written, executed and removed within
// one tick of the kernel's clock leaves inode number, size and times to the
// next. The digest of that one must not be given for the execution of the first.
func TestReusedInodeNumbers(t *testing.T) {
	for name, cfg := range map[string]Config{"fanotify": {}, "no fanotify": {NoFanotify: true}} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, cfg)
			if !cfg.NoFanotify {
				r.run()
			}
			content := program(t, "sleep")
			path := install(t, filepath.Join(t.TempDir(), "prog"), content)
			executed := bootTime(t)
			settle()
			second := request(t, start(t, path, "60").Process.Pid, path)
			wantDigest(t, r.ask(second), content) // the state belongs to this digest from now on
			// Of the first file the kernel said the same, before that.
			first := event.HashRequest{ID: event.ProcessID{PID: 1<<22 + 1, Exec: 1, Start: executed}, File: second.File, Path: path, Boot: executed}
			wantReason(t, r.ask(first), event.HashVanished)
			first.Boot = 0
			wantReason(t, r.ask(first), event.HashVanished)
			first.Boot = executed + uint64(silentAge)
			wantDigest(t, r.ask(first), content)
		})
	}
}

// TestYoungFilesAreAnswered: what may not be answered by identity alone has
// sightings to be answered from, at every age.
func TestYoungFilesAreAnswered(t *testing.T) {
	r := newRig(t, Config{})
	r.run()
	content := program(t, "true")
	path := install(t, filepath.Join(t.TempDir(), "prog"), content)
	for begun := bootTime(t); bootTime(t) < begun+2*uint64(silentAge); settle() {
		wantDigest(t, r.ask(runOnce(t, path)), content)
	}
}

// TestSightingsThatDisagree: one process executed two files that nothing tells
// apart.
func TestSightingsThatDisagree(t *testing.T) {
	r := newRig(t, Config{})
	path := install(t, filepath.Join(t.TempDir(), "prog"), program(t, "true"))
	req := runOnce(t, path)
	o, _, err := openScript(path, slowLane(0), r.table())
	if err != nil {
		t.Fatal(err)
	}
	defer o.close()
	for i := range 2 {
		f := newFlight(o, nil)
		f.over, f.result = true, event.HashResult{SHA256: event.Digest{byte(i + 1)}, Reason: event.HashKnown}
		r.mu.Lock()
		r.sightings.add(sighting{pid: req.ID.PID, flight: f})
		r.mu.Unlock()
		if got := r.ask(req); i == 0 && got.SHA256 != f.result.SHA256 {
			t.Fatalf("got %v, want the one digest that was sighted", got)
		}
	}
	wantReason(t, r.ask(req), event.HashVanished)
}
