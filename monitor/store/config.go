package store

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"snitch/monitor/event"
	"snitch/monitor/store/schema"
)

// Defaults of Config.
const (
	DefaultInterval   = 10 * time.Second
	DefaultMaxPending = 131072 // two full generations of flows: a burst is no loss
	DefaultBlockRows  = 8192   // some 40 ms of work for the writer
	DefaultMinutes    = 48 * time.Hour
	DefaultHours      = 90 * 24 * time.Hour
	DefaultDays       = 5 * 366 * 24 * time.Hour
)

// minBytes is the smallest size bound that leaves room for the schema and the
// interned names of a small host.
const minBytes = 1 << 20

// Config says where and how a Store writes. The zero value of a field means
// its default, except for Dir, which must be given.
type Config struct {
	// Dir is the state directory. It is made, 0750, if it is not there.
	Dir string
	// Interval is the time between two commits.
	Interval time.Duration
	// MaxAge removes rows whose last activity is older. 0 keeps them for ever.
	MaxAge time.Duration
	// MaxBytes removes the oldest rows when the file holds more. 0: no bound.
	MaxBytes int64
	// Rollups says how long sums are kept; they outlive the rows.
	Rollups RollupAge
	// BlockRows is how many rows are kept together column by column, at most
	// schema.MaxBlockRows.
	BlockRows int
	// MaxPending is how many snapshots and execs wait in memory while the disk
	// refuses (each about 700 bytes, more with names that nothing else holds).
	MaxPending int
	// Group is the gid that may read the files; -1 leaves the group alone.
	Group int
	// Run describes this run of the daemon in the database.
	Run Run
	// Log gets what the operator should know; nil discards it.
	Log *slog.Logger
	// Loss is told what the store itself lost: rows as LossStore, bytes as
	// LossStoreBytes. It is called from Append and from the writer and must
	// not block or call the Store. The store also records these losses in the
	// database itself, as soon as it can; they need not come back in a Batch.
	Loss func(event.LossCause, uint64)
	// Alerted is told the alerts that became new with a commit: those that were
	// not there, and resolved ones that happened again. It is called by the
	// writer after the commit and must not block or call the Store. May be nil.
	Alerted func([]event.Alert)
	// Outbox packs what is written for another host; nil when nothing leaves.
	Outbox *Outbox
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

// Run describes one run of the daemon.
type Run struct {
	Version string // of snitch
	Tier    string // of the monitor
	Boot    string // boot id, tells two runs in one boot from two boots
}

// RollupAge is how long the sums of each resolution are kept.
type RollupAge struct {
	Minutes, Hours, Days time.Duration
}

func (c Config) withDefaults() (Config, error) {
	if c.Dir == "" {
		return c, errors.New("open store: no state directory given")
	}
	if c.Interval < 0 || c.MaxAge < 0 || c.MaxBytes < 0 || c.MaxPending < 0 {
		return c, errors.New("open store: interval, age, size and pending bounds may not be negative")
	}
	if c.BlockRows < 0 || c.BlockRows > schema.MaxBlockRows {
		return c, fmt.Errorf("open store: blocks of %d rows, want 1 to %d", c.BlockRows, schema.MaxBlockRows)
	}
	if c.MaxBytes != 0 && c.MaxBytes < minBytes {
		return c, fmt.Errorf("open store: size bound of %d bytes is below the least possible %d", c.MaxBytes, minBytes)
	}
	setDefault(&c.Interval, DefaultInterval)
	setDefault(&c.MaxPending, DefaultMaxPending)
	setDefault(&c.BlockRows, DefaultBlockRows)
	setDefault(&c.Rollups.Minutes, DefaultMinutes)
	setDefault(&c.Rollups.Hours, DefaultHours)
	setDefault(&c.Rollups.Days, DefaultDays)
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	c.Log = c.Log.With("component", "store")
	if c.Outbox != nil && (c.Outbox.Pack == nil || c.Outbox.MaxBytes < 0) {
		return c, errors.New("open store: an outbox wants a way to pack and a bound that is not negative")
	}
	if c.Loss == nil {
		c.Loss = func(event.LossCause, uint64) {}
	}
	if c.Alerted == nil {
		c.Alerted = func([]event.Alert) {}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c, nil
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
