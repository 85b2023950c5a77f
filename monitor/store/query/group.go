package query

import (
	"fmt"
	"time"
)

// ByTime is the name by which GroupQuery groups by time; all others are names
// of fields (Field.Group).
const ByTime = "time"

// Bounds of a GroupQuery.
const (
	MaxGroupFields    = 2
	DefaultGroupLimit = 100
	MaxGroupLimit     = 100_000
)

// GroupOrder is what groups are sorted by. Groups that are equal in it are in
// the order in which they were met first, that of time mostly.
type GroupOrder uint8

// Orders of groups.
const (
	OrderTotal       GroupOrder = iota // sent and received
	OrderConnections                   // how many
	OrderSent                          // bytes
	OrderReceived                      // bytes
	OrderLast                          // when it was active last
	OrderName                          // by keys, as text; times by time
)

var groupOrderNames = [...]string{"total", "connections", "sent", "received", "last", "name"}

// GroupOrders lists the names of all orders.
func GroupOrders() []string { return groupOrderNames[:] }

// String is the name that commands and addresses take.
func (o GroupOrder) String() string {
	if int(o) >= len(groupOrderNames) {
		return fmt.Sprintf("unknown-%d", o)
	}
	return groupOrderNames[o]
}

// ParseGroupOrder reads what String writes.
func ParseGroupOrder(s string) (GroupOrder, bool) {
	for i, name := range groupOrderNames {
		if name == s {
			return GroupOrder(i), true
		}
	}
	return OrderTotal, false
}

// Basis is what the numbers of an answer are sums of.
type Basis string

const (
	// BasisMoved is for the bytes that moved within the range and the connections
	// that began within it, from the rollups. The range was rounded outwards to
	// minutes, or where those are no longer kept to hours or days (UTC).
	BasisMoved Basis = "moved"
	// BasisConnections is for the connections that were active within the range, each
	// with all its bytes, whenever they moved.
	BasisConnections Basis = "connections"
)

// GroupQuery adds connections up by the values of one or two fields.
type GroupQuery struct {
	Filters Filters
	By      []string  // one or two different names: fields with Field.Group, or ByTime
	Since   time.Time // zero: no bound; as in Query
	Until   time.Time
	Order   GroupOrder
	Desc    bool // largest first
	Limit   int  // at most so many groups; 0: DefaultGroupLimit, at most MaxGroupLimit
	Offset  int  // of the first, in the order that was asked for
	Points  int  // by time: at most so many buckets; 0: MaxSeriesPoints, which is the bound too
}

// Groups is the answer to a GroupQuery.
type Groups struct {
	By    []string   `json:"by"`
	Rows  []GroupRow `json:"rows"`
	Total GroupRow   `json:"total"` // of all groups; without keys
	Count int        `json:"count"` // of all groups
	More  bool       `json:"more"`  // there are groups behind the last one
	Basis Basis      `json:"basis"`
	// Since and Until are the range as it was answered, see Basis; zero: no bound.
	Since time.Time `json:"since,omitzero"`
	Until time.Time `json:"until,omitzero"`
	// Width of a bucket, when grouped by time.
	Width Seconds `json:"width,omitempty"`

	named int // groups whose key is not "none", by one field
}

// GroupRow is one group.
type GroupRow struct {
	// Keys are the values of the fields of By. Every one but that of ByTime is
	// what FilterFor takes; "" is "none" or "not known". The key of ByTime is the
	// start of the bucket in RFC 3339, UTC. Keys are hostile text.
	Keys []string `json:"keys,omitempty"`
	// Details are, for each key, what a person wants to see beside it, "" for
	// nothing: the account of a uid, the program of a digest, the name of a
	// service. Hostile text.
	Details     []string `json:"details,omitempty"`
	Connections uint64   `json:"connections"`
	Sent        uint64   `json:"sent"` // bytes
	Received    uint64   `json:"received"`
	Denied      uint64   `json:"denied"`     // connections with the action deny
	WouldDeny   uint64   `json:"would_deny"` // connections that the rules would deny, and that were let through
	// First and Last are when the group was active first and last: by
	// BasisMoved to the width of the rollups, else exactly.
	First time.Time `json:"first,omitzero"`
	Last  time.Time `json:"last,omitzero"`
}

// Bytes is what moved both ways.
func (g *GroupRow) Bytes() uint64 { return g.Sent + g.Received }

// Seconds is a duration that is a number of seconds in JSON.
type Seconds time.Duration

// MarshalJSON writes whole seconds where it can.
func (s Seconds) MarshalJSON() ([]byte, error) {
	return fmt.Appendf(nil, "%g", time.Duration(s).Seconds()), nil
}
