package policy

import (
	"time"

	"snitch/monitor/event"
)

// Decided counts decisions that the rules made, each once for a connection and
// again when a fact that arrived later led to another.
type Decided struct {
	Action event.Action // what the rules say, whether or not it can be imposed
	Rule   string       // that won; "" when none matched
	Count  uint64
}

// decidedKey is what Decided is counted by.
type decidedKey struct {
	action event.Action
	rule   string
}

// LatencyBounds are the upper bounds of a Latency's buckets; the last bucket has
// none.
func LatencyBounds() [8]time.Duration {
	return [8]time.Duration{50 * time.Microsecond, 100 * time.Microsecond, 250 * time.Microsecond, 500 * time.Microsecond,
		time.Millisecond, 5 * time.Millisecond, 25 * time.Millisecond, 250 * time.Millisecond}
}

// Latency is how often something took how long: each count is of its bucket
// alone.
type Latency struct {
	Counts [9]uint64
	Sum    time.Duration
}

func (l *Latency) add(took time.Duration) {
	bounds := LatencyBounds()
	i := 0
	for i < len(bounds) && took > bounds[i] {
		i++
	}
	l.Counts[i]++
	l.Sum += took
}
