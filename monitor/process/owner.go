package process

import "snitch/monitor/event"

// Owner knows which package a file belongs to. Lookup answers at once: "" and
// false while it looks; Owned tells the Table when the answer is there.
type Owner interface {
	Lookup(event.Executable) (fact string, known bool)
}

// owned is an answer of the owner, or of the judge, on its way to its images.
type owned struct {
	path   string // or anywhere
	sha256 event.Digest
}

// anywhere is the path of an answer that holds for the content wherever it lies.
const anywhere = ""

// Owned says that the package of a file is known now. It may be called by any
// goroutine; the processes come with the next Changed.
func (t *Table) Owned(path string, sha256 event.Digest) {
	t.inbox.mu.Lock()
	defer t.inbox.mu.Unlock()
	t.inbox.owned = append(t.inbox.owned, owned{path, sha256})
	t.inbox.waiting.Store(true)
}

// askOwner fills in the package of a file that the host shows and whose content is
// known.
func (t *Table) askOwner(x *event.Executable) {
	if t.owner == nil || x.Kind != event.ExecutableFile || x.View != "" || x.SHA256.IsZero() {
		return
	}
	fact, known := t.owner.Lookup(*x)
	x.Package, x.PackagePending = fact, !known
}

// receiveOwned renews what was rendered of the files that have an answer.
func (t *Table) receiveOwned(answers []owned) {
	if len(answers) == 0 {
		return
	}
	news := make(map[owned]bool, len(answers))
	for _, a := range answers {
		news[a] = true
	}
	for _, i := range t.images {
		if f := i.facts; f != nil && (news[owned{f.exe.Path, f.exe.SHA256}] || news[owned{anywhere, f.exe.SHA256}]) {
			f.version = t.nextVersion()
			t.dirty = true
		}
	}
}
