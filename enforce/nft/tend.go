package nft

import (
	"context"
	"errors"
	"io/fs"
	"time"

	"golang.org/x/sys/unix"

	"snitch/enforce"
	"snitch/monitor/event"
)

// Beat says that the daemon is well; the next tick tells the kernel.
func (b *Backend) Beat() error {
	b.beaten.Store(true)
	return nil
}

// Process looks whether p came in a cgroup that rules name and that is new: a
// service that restarts gets another one under its old path. It waits for
// nothing, also not for a table that is being loaded.
func (b *Backend) Process(p *event.Process) {
	used := b.named.Load()
	if used == nil {
		return
	}
	if id, named := (*used)[p.Cgroup.Path]; named && id != p.Cgroup.ID {
		select {
		case b.look <- struct{}{}:
		default:
		}
	}
}

// Gone is of no use here: sockets outlive processes.
func (b *Backend) Gone(event.ProcessID) {}

// tend looks after the table until ctx ends.
func (b *Backend) tend(ctx context.Context) {
	defer close(b.done)
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-b.look:
		case <-ticker.C:
		}
		b.mu.Lock()
		b.keep()
		b.mu.Unlock()
	}
}

// keep refreshes the heartbeat and makes the table anew when it no longer says
// what is desired: it was removed, a rule expired, a named cgroup is another.
func (b *Backend) keep() {
	if b.layout == nil {
		return
	}
	err := b.alive()
	gone := errors.Is(err, unix.ENOENT) || errors.Is(err, fs.ErrNotExist)
	if gone {
		b.deps.Log.Warn("somebody removed the nft table; it is made again", "table", b.cfg.Table)
	}
	if gone || b.stale() {
		err = b.apply(b.desired)
	}
	problem := ""
	if err != nil {
		problem = err.Error()
	}
	if problem != "" && problem != b.now.problem {
		b.deps.Log.Error("keep the nft table", "table", b.cfg.Table, "error", err)
	}
	b.now.problem = problem
}

// alive tells the kernel that the daemon is well, if it is.
func (b *Backend) alive() error {
	if !b.desired.FailClosed && b.beaten.Swap(false) {
		return b.table.beat(enforce.BeatTimeout)
	}
	return b.table.there()
}

func (b *Backend) stale() bool {
	if !b.until.IsZero() && !b.deps.Now().Before(b.until) {
		return true
	}
	for path, id := range b.used {
		if b.cgroupID(path) != id {
			return true
		}
	}
	return false
}
