package process

import (
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"snitch/monitor/event"
)

// maxOpenScripts bounds the descriptors of scripts that wait to be hashed.
const maxOpenScripts = 256

// Hasher reads digests. Both methods return at once: with the answer when it is
// known (ok), else done is called later, once, from another goroutine; it may
// run before the method has returned. When that answer is HashDeadline, a second
// and last one may follow.
type Hasher interface {
	// Executable asks for the digest of the file that a process executed.
	Executable(req event.HashRequest, done func(event.HashResult)) (event.HashResult, bool)
	// File asks for the digest of the file at path. The path may be a link
	// /proc/self/fd/N to a descriptor of this process, which stays open until
	// the last answer.
	File(path string, done func(event.HashResult)) (event.HashResult, bool)
}

// answer is a result on its way to its facts.
type answer struct {
	facts  *facts
	script bool
	result event.HashResult
}

// inbox takes answers from the goroutines of the hasher and the owner. Its length is bounded by
// the questions that are open.
type inbox struct {
	waiting atomic.Bool

	mu      sync.Mutex
	answers []answer
	owned   []owned
}

func (b *inbox) put(a answer) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.answers = append(b.answers, a)
	b.waiting.Store(true)
}

func (b *inbox) take() ([]answer, []owned) {
	if !b.waiting.Load() {
		return nil, nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	answers, owned := b.answers, b.owned
	b.answers, b.owned = nil, nil
	b.waiting.Store(false)
	return answers, owned
}

// hashExecutable asks for the digest of what i executed.
func (t *Table) hashExecutable(i *image) {
	f := i.facts
	f.exe.Reason, f.askedAt = event.HashPending, bootNow()
	req := event.HashRequest{ID: i.id, File: f.exe.File, Path: f.exe.Path}
	if f.readAt == 0 {
		req.Boot = i.started
	}
	r, ok := t.hasher.Executable(req, func(r event.HashResult) { t.inbox.put(answer{facts: f, result: r}) })
	if ok {
		t.setExecutable(f, r)
	}
}

// hashScript asks for the digest of the open file fd, which it closes after the
// answer.
func (t *Table) hashScript(f *facts, fd int) {
	if t.openScripts.Add(1) > maxOpenScripts {
		t.openScripts.Add(-1)
		closeFD(fd)
		f.script = withDigest(f.script, event.HashResult{Reason: event.HashBusy})
		return
	}
	closing := func() {
		closeFD(fd)
		t.openScripts.Add(-1)
	}
	r, ok := t.hasher.File("/proc/self/fd/"+strconv.Itoa(fd), func(r event.HashResult) {
		// After HashDeadline the hasher still may open the link: its number
		// must not come to mean another file.
		if r.Reason != event.HashDeadline {
			closing()
		}
		t.inbox.put(answer{facts: f, script: true, result: r})
	})
	if ok {
		closing()
		f.script = withDigest(f.script, r)
	}
}

// receive puts the answers that came in where they belong.
func (t *Table) receive() {
	answers, owned := t.inbox.take()
	for _, a := range answers {
		switch {
		case a.facts.void:
			continue
		case a.script:
			a.facts.script = withDigest(a.facts.script, a.result)
		default:
			t.setExecutable(a.facts, a.result)
		}
		a.facts.version = t.nextVersion()
		t.dirty = true
	}
	t.receiveOwned(owned)
}

// setExecutable takes the digest, and the path that the hasher's descriptor
// showed where the process was gone too soon to be asked.
func (t *Table) setExecutable(f *facts, r event.HashResult) {
	f.exe.SHA256, f.exe.Reason = r.SHA256, r.Reason
	if r.Path == "" || !f.claimed {
		return
	}
	if f.exe.Kind == event.ExecutableMemfd {
		f.exe.Path, f.claimed = memfdName(r.Path), false
		return
	}
	shown := f.exe
	shown.Path = r.Path
	if t.verify(&shown) {
		f.exe, f.claimed = shown, false
		return
	}
	shown.View, shown.Kind = event.ViewUnverified, event.ExecutableFile
	if name, ok := strings.CutSuffix(r.Path, deletedSuffix); ok && r.Links == 0 {
		shown.Path, shown.Kind = name, event.ExecutableDeleted
	}
	switch {
	case !strings.HasPrefix(f.exe.Path, "/") || descriptorLink(f.exe.Path) != "":
		f.exe = shown
	case shown.Path == f.exe.Path && shown.Kind == event.ExecutableDeleted:
		f.exe.Kind = shown.Kind
	default: // as good as another unverified path, and what it was started as
	}
}

// withDigest returns a copy of s: published ones never change.
func withDigest(s *event.Script, r event.HashResult) *event.Script {
	c := *s
	c.SHA256, c.Reason = r.SHA256, r.Reason
	return &c
}
