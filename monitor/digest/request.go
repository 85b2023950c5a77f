package digest

import (
	"errors"
	"path/filepath"
	"time"

	"snitch/monitor/event"
)

// Executable answers what file req.ID executed. With true the result is final
// and done is not called. With false the result is HashPending, and done is
// called with the answer from another goroutine, once; when that answer was
// HashDeadline, it is called a second and last time with the final answer,
// whenever the file system gives it, except when Close comes first. Close
// answers with HashDeadline what has no answer yet. done must not block; it may
// run before Executable has returned.
//
// Path and Links of a result from the cache are those of the descriptor that
// was read: another hard link of the file may have been executed.
func (h *Hasher) Executable(req event.HashRequest, done func(event.HashResult)) (event.HashResult, bool) {
	if r, ok := h.known(req); ok {
		h.count.hits.Add(1)
		return r, true
	}
	l := slowLane(req.File.Dev)
	if h.table().prompt(req.File.Dev) {
		l = fastLane
	}
	return h.submit(&waiter{req: req, done: done}, l, h.resolve)
}

// File is Executable for the file at an absolute path, a script. What the path
// means is what it means now: nobody keeps a script's descriptor. A path below
// /proc/PID/root is looked up within that root.
func (h *Hasher) File(path string, done func(event.HashResult)) (event.HashResult, bool) {
	if !filepath.IsAbs(path) || len(path) >= maxPath {
		return event.HashResult{Reason: event.HashUnreadable}, true
	}
	r, l, ok := h.peek(path)
	if ok {
		h.count.hits.Add(1)
		return r, true
	}
	return h.submit(&waiter{path: path, done: done}, l, h.resolveScript)
}

// known looks the kernel's view of a file up, without an open. Numbers of
// unnamed devices count only while the host shows who has them.
//
// No descriptor ties the request to the entry, so it counts only for executions
// since the state has one content: files that are written, executed and removed
// in quick succession get the same inode number and the same times.
func (h *Hasher) known(req event.HashRequest) (event.HashResult, bool) {
	f := req.File
	if f.IsZero() {
		return event.HashResult{}, false
	}
	h.mu.Lock()
	e := h.cache.find(inodeOf(f), stateOf(f))
	var r event.HashResult
	settled := e != nil && executedAt(req) > e.since
	if settled {
		r = e.result()
	}
	h.mu.Unlock()
	if !settled || anonymous(f.Dev) && !h.table().vouches(f) {
		return event.HashResult{}, false
	}
	return r, true
}

// table is the mount table as of now, read again if it has to be.
func (h *Hasher) table() *mountTable {
	if t := h.mounts.current(); t != nil {
		return t
	}
	t, err := h.mounts.reload()
	if err != nil {
		h.log.Warn("mount table unreadable", "error", err)
	}
	return t
}

// submit makes w wait and queues the first step.
func (h *Hasher) submit(w *waiter, l lane, step func(*waiter, lane)) (event.HashResult, bool) {
	h.count.misses.Add(1)
	h.mu.Lock()
	if h.closed || len(h.waiters) >= h.cfg.Queue {
		h.mu.Unlock()
		return h.refuse(event.HashBusy), true
	}
	h.waiters[w] = struct{}{}
	w.answers.Lock() // done must not run if the queue refuses
	w.timer = time.AfterFunc(h.cfg.Deadline, func() {
		if w.expire() {
			h.count.deadlines.Add(1)
		}
	})
	h.mu.Unlock()
	accepted := h.pool.add(l, func() { step(w, l) })
	if !accepted {
		w.over = true
		w.timer.Stop()
	}
	w.answers.Unlock()
	if !accepted {
		h.forget(w)
		return h.refuse(event.HashBusy), true
	}
	return event.HashResult{Reason: event.HashPending}, false
}

func (h *Hasher) forget(w *waiter) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.waiters, w)
}

// refuse counts an answer without a digest and returns it.
func (h *Hasher) refuse(reason event.HashReason) event.HashResult {
	h.tally(reason)
	return event.HashResult{Reason: reason}
}

func (h *Hasher) tally(reason event.HashReason) {
	h.count.reasons[reason].Add(1)
	if reason != event.HashKnown && reason != event.HashNoFile {
		h.loss(event.LossHash, 1)
	}
}

// finish gives w its final answer.
func (h *Hasher) finish(w *waiter, r event.HashResult) {
	h.forget(w)
	w.finish(r, h.tally)
}

// reasonOf names an error.
func reasonOf(err error) event.HashReason {
	switch {
	case errors.Is(err, errGone):
		return event.HashVanished
	case errors.Is(err, errKernelThread):
		return event.HashNoFile
	case errors.Is(err, errTooLarge):
		return event.HashTooLarge
	case errors.Is(err, errChanged):
		return event.HashChanged
	case errors.Is(err, errStopped):
		return event.HashDeadline
	}
	return event.HashUnreadable
}
