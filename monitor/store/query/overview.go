package query

import "time"

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
	NewPrograms  uint64 `json:"new_programs"` // executables (path and digest) never recorded before
	Denied       uint64 `json:"denied"`
	WouldDeny    uint64 `json:"would_deny"`
	Alerts       uint64 `json:"alerts"` // that happened last within the range
	Losses       uint64 `json:"losses"` // events counted as lost
}
