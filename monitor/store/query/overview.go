package query

import (
	"context"
	"fmt"
	"time"

	"snitch/monitor/event"
	"snitch/monitor/store/schema"
)

// Overview is a range of time at a glance.
type Overview struct {
	Since time.Time `json:"since"` // as answered: whole minutes (see BasisMoved)
	Until time.Time `json:"until"`
	Now   KPIs      `json:"now"`
	// Before is the range of the same length before; nil when the record does
	// not reach back so far.
	Before *KPIs `json:"before"`
	// The ones that moved most, at most OverviewTop each: by exe, domain, uid
	// and country. A row without a key is all that has no name, or no country.
	Programs     []GroupRow `json:"programs"`
	Destinations []GroupRow `json:"destinations"`
	Users        []GroupRow `json:"users"`
	Countries    []GroupRow `json:"countries"` // all of them, for the map
}

// OverviewTop is how many rows each list of an Overview has at most.
const OverviewTop = 10

// KPIs are the numbers that one looks at first.
type KPIs struct {
	Connections  uint64 `json:"connections"` // that began
	Sent         uint64 `json:"sent"`        // bytes that moved
	Received     uint64 `json:"received"`
	Programs     uint64 `json:"programs"`     // paths of executables that were active
	Destinations uint64 `json:"destinations"` // names that were talked to
	NewPrograms  uint64 `json:"new_programs"` // executables (path and digest) that were recorded for the first time
	Denied       uint64 `json:"denied"`
	WouldDeny    uint64 `json:"would_deny"`
	Alerts       uint64 `json:"alerts"` // that happened last within the range
	Losses       uint64 `json:"losses"` // events counted as lost
}

// Overview adds up a range; since zero is since the record begins, until zero
// is now. All of it is of one moment.
func (db *DB) Overview(ctx context.Context, since, until time.Time) (Overview, error) {
	if until.IsZero() {
		until = time.Now()
	}
	var out Overview
	err := db.read(ctx, func(r *reader) (err error) {
		out, err = r.overview(ctx, since, until)
		return err
	})
	if err != nil {
		return Overview{}, fmt.Errorf("read overview: %w", err)
	}
	return out, nil
}

func (r *reader) overview(ctx context.Context, since, until time.Time) (out Overview, err error) {
	begin, err := r.begin(ctx, schema.DimTotal)
	if err != nil {
		return out, err
	}
	bounded := !since.IsZero()
	if !bounded {
		since = time.Unix(min(begin, until.Unix()), 0)
	}
	out.Since, out.Until = since.UTC(), until.UTC()
	lists := []*[]GroupRow{&out.Programs, &out.Destinations, &out.Users, &out.Countries}
	for i, by := range []string{"exe", "domain", "uid", "country"} {
		q := GroupQuery{By: []string{by}, Since: since, Until: until, Desc: true, Limit: OverviewTop}
		if by == "country" {
			q.Limit = MaxGroupLimit
		}
		g, err := r.group(ctx, &q)
		if err != nil {
			return out, err
		}
		*lists[i] = g.Rows
		switch by {
		case "exe":
			out.Now.Programs = uint64(g.named)
		case "domain":
			out.Now.Destinations = uint64(g.named)
		}
	}
	if err := r.kpis(ctx, since, until, &out.Now); err != nil {
		return out, err
	}
	before := since.Add(-until.Sub(since))
	if !bounded || before.Unix() < below(begin, 60) {
		return out, nil
	}
	out.Before = &KPIs{}
	for by, to := range map[string]*uint64{"exe": &out.Before.Programs, "domain": &out.Before.Destinations} {
		g, err := r.group(ctx, &GroupQuery{By: []string{by}, Since: before, Until: since, Limit: 1})
		if err != nil {
			return out, err
		}
		*to = uint64(g.named)
	}
	return out, r.kpis(ctx, before, since, out.Before)
}

// kpis adds up one range, but for Programs and Destinations.
func (r *reader) kpis(ctx context.Context, since, until time.Time, k *KPIs) error {
	total, err := r.group(ctx, &GroupQuery{By: []string{"action"}, Since: since, Until: until})
	if err != nil {
		return err
	}
	t := &total.Total
	k.Connections, k.Sent, k.Received, k.Denied, k.WouldDeny = t.Connections, t.Sent, t.Received, t.Denied, t.WouldDeny
	return r.tx.QueryRowContext(ctx, `SELECT (SELECT count(*) FROM executable WHERE first >= ?1 AND first < ?2 AND kind BETWEEN ?3 AND ?4),
		(SELECT count(*) FROM alert WHERE last >= ?1 AND last < ?2), (SELECT CAST(total(count) AS INTEGER) FROM loss WHERE time >= ?1 AND time < ?2)`,
		schema.FromTime(since), schema.FromTime(until), int64(event.ExecutableFile), int64(event.ExecutableMemfd)).Scan(&k.NewPrograms, &k.Alerts, &k.Losses)
}
