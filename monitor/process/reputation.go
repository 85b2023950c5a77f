package process

import "snitch/monitor/event"

// Judge knows what is said of files. Reputation answers at once, and nobody waits
// for it to know more: Judged tells the Table when it does.
type Judge interface {
	Reputation(sha256 event.Digest) event.Reputation
}

// Judged says that more is known of a file, wherever it lies. It may be called by
// any goroutine; the processes come with the next Changed.
func (t *Table) Judged(sha256 event.Digest) { t.Owned(anywhere, sha256) }

// askJudge fills in what is said of a file whose content is known.
func (t *Table) askJudge(x *event.Executable) {
	if t.judge != nil && !x.SHA256.IsZero() {
		x.Reputation = t.judge.Reputation(x.SHA256)
	}
}
