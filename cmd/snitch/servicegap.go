package main

import (
	"context"
	"log/slog"
	"path/filepath"
	"time"

	"snitch/cmd/internal/text"
	"snitch/monitor/store/query"
	"snitch/monitor/store/schema"
)

// gap is the time between the last run with a state directory and this one, in
// which nobody watched.
type gap struct {
	last *query.Run // nil when there was none, or it cannot be read
}

// lastGap reads the record, of which this run is the last.
func lastGap(ctx context.Context, state string) gap {
	db, err := query.Open(ctx, filepath.Join(state, schema.FileName), nil)
	if err != nil {
		return gap{} // what is damaged the store tells of
	}
	defer db.Close()
	runs, err := db.Runs(ctx)
	if err != nil || len(runs) < 2 {
		return gap{}
	}
	return gap{last: &runs[len(runs)-2]}
}

// tell says in the log for how long nothing was watched.
func (g gap) tell(log *slog.Logger, began time.Time) {
	if g.last == nil || g.last.Stopped.IsZero() {
		return
	}
	level := slog.LevelInfo
	if !g.last.Clean {
		level = slog.LevelWarn
	}
	log.Log(context.Background(), level, "nothing was watched", "since", g.last.Stopped.UTC().Format(time.RFC3339),
		"for", text.Duration(max(0, began.Sub(g.last.Stopped)).Round(time.Millisecond)), "ended_in_order", g.last.Clean)
}
