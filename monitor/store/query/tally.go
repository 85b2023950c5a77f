package query

import (
	"math"
	"math/bits"
	"time"

	"snitch/monitor/store/schema"
)

// groupKey is the value of each thing that is grouped by; unused ones are 0.
type groupKey [MaxGroupFields]int64

// sums are what is added up of one group. Bytes that do not fit stay at the
// largest number. Counts may be below 0 on the way: what was decided again is
// taken back in a later minute than it was counted in.
type sums struct {
	connections, sent, received, denied, would uint64
	first, last                                int64 // ns since 1970
}

func (s *sums) add(o sums) {
	s.connections, s.denied, s.would = s.connections+o.connections, s.denied+o.denied, s.would+o.would
	s.sent, s.received = plus(s.sent, o.sent), plus(s.received, o.received)
	s.first, s.last = min(s.first, o.first), max(s.last, o.last)
}

// subtract takes o away, of which s is the whole.
func (s *sums) subtract(o *sums) {
	s.connections, s.denied, s.would = s.connections-o.connections, s.denied-o.denied, s.would-o.would
	s.sent, s.received = s.sent-min(s.sent, o.sent), s.received-min(s.received, o.received)
}

// plus adds without going round.
func plus(a, b uint64) uint64 {
	if c := a + b; c >= a {
		return c
	}
	return math.MaxUint64
}

func (s *sums) bytes() uint64 { return plus(s.sent, s.received) }

// empty says that nothing happened: such a group is not shown.
func (s *sums) empty() bool { return s.connections|s.sent|s.received|s.denied|s.would == 0 }

// tally adds up groups.
type tally struct {
	index map[groupKey]int
	keys  []groupKey
	sums  []sums
}

func newTally() *tally { return &tally{index: map[groupKey]int{}} }

func (t *tally) add(k groupKey, s sums) {
	i, ok := t.index[k]
	if !ok {
		t.index[k] = len(t.keys)
		t.keys, t.sums = append(t.keys, k), append(t.sums, s)
		return
	}
	t.sums[i].add(s)
}

// total adds up all groups.
func (t *tally) total() (out sums) {
	out.first = math.MaxInt64
	out.last = math.MinInt64
	for i := range t.sums {
		out.add(t.sums[i])
	}
	return out
}

// row is a group as it is shown, without its keys.
func (s *sums) row() GroupRow {
	g := GroupRow{Connections: count(s.connections), Sent: s.sent, Received: s.received, Denied: count(s.denied), WouldDeny: count(s.would)}
	if s.first <= s.last {
		g.First, g.Last = schema.ToTime(s.first), schema.ToTime(s.last)
	}
	return g
}

// count is a count that is not below 0.
func count(n uint64) uint64 { return uint64(max(0, int64(n))) }

// timeline is a range of time in buckets of one width, in seconds since 1970.
type timeline struct{ from, to, width int64 }

// start is the first second of the bucket that holds second n, or of the
// nearest one of the range.
func (t *timeline) start(n int64) int64 {
	return below(min(max(n, t.from), t.to-1), t.width)
}

// buckets are how many there are.
func (t *timeline) buckets() int {
	if t.to <= t.from {
		return 0
	}
	return int((below(t.to-1, t.width)-below(t.from, t.width))/t.width) + 1
}

// below is the largest multiple of step that is not above n.
func below(n, step int64) int64 {
	m := n % step
	if m < 0 {
		m += step
	}
	return n - m
}

// spread hands out a connection that lived from opened until end (ns) by
// bucket: its bytes evenly over its life, itself and what became of it where
// it began. What lies outside of the range is left away.
func (t *timeline) spread(opened, end int64, s sums, f func(bucket int64, s sums)) {
	const second = int64(time.Second)
	from, to := max(opened, t.from*second), min(end, t.to*second-1)
	if from > to {
		return
	}
	life := uint64(end - opened)               // at most the range of int64
	until := func(n uint64, at int64) uint64 { // of n until the time at
		if at >= end || life == 0 {
			return n
		}
		hi, lo := bits.Mul64(n, uint64(at-opened))
		q, _ := bits.Div64(hi, lo, life)
		return q
	}
	sent, received := uint64(0), uint64(0)
	if from > opened {
		sent, received = until(s.sent, from), until(s.received, from)
	}
	for b := below(from, t.width*second); b <= to; b += t.width * second {
		next := min(b+t.width*second, t.to*second)
		part := sums{first: max(b, from), last: min(next-1, to)}
		nowSent, nowReceived := until(s.sent, next), until(s.received, next)
		part.sent, part.received = nowSent-sent, nowReceived-received
		sent, received = nowSent, nowReceived
		if b <= opened {
			part.connections, part.denied, part.would = s.connections, s.denied, s.would
		}
		f(b/second, part)
	}
}
