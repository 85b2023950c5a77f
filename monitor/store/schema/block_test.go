package schema

import (
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// unpacked are the values of a column.
func unpacked(t interface{ Fatal(...any) }, data []byte, rows int) []int64 {
	c := BlockColumn{Dictionary: []int64{9}, Places: []uint16{9}, Values: []int64{9}} // of an earlier column
	if err := UnpackColumn(&c, data, rows); err != nil {
		t.Fatal(err)
	}
	if c.Dictionary == nil {
		return c.Values
	}
	var out []int64
	for _, p := range c.Places {
		out = append(out, c.Dictionary[p])
	}
	return out
}

func TestBlockColumnRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		value := rapid.OneOf(rapid.Int64(), rapid.Int64Range(0, 3), rapid.Int64Range(1e18, 1e18+1e9), rapid.SampledFrom([]int64{0, -1, math.MinInt64, math.MaxInt64}))
		values := rapid.SliceOfN(value, 1, 400).Draw(t, "values")
		if got := unpacked(t, PackColumn(values), len(values)); !slices.Equal(got, values) {
			t.Fatalf("%v came back as %v", values, got)
		}
	})
	large := make([]int64, MaxBlockRows)
	for i := range large {
		large[i] = int64(i*i) << (i % 30)
	}
	for _, values := range [][]int64{large, make([]int64, MaxBlockRows)} {
		if got := unpacked(t, PackColumn(values), len(values)); !slices.Equal(got, values) {
			t.Fatal("the largest block came back as another")
		}
	}
}

// FuzzUnpackColumn: whatever a damaged file says, there are as many values as
// rows or there is an error.
func FuzzUnpackColumn(f *testing.F) {
	for _, values := range [][]int64{{1}, {1, 2, 3, 1 << 60}, {5, 5, 5, 7, 7, 5, 5, 7}, make([]int64, 300)} {
		f.Add(PackColumn(values), len(values))
	}
	f.Add([]byte{2, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1, 0, 0, 0, 0, 0, 0, 0, 0}, 3)
	f.Fuzz(func(t *testing.T, data []byte, rows int) {
		var c BlockColumn
		if UnpackColumn(&c, data, rows) != nil {
			return
		}
		if n := max(len(c.Values), len(c.Places)); n != rows {
			t.Fatalf("%d values of %d", n, rows)
		}
		for _, p := range c.Places {
			_ = c.Dictionary[p]
		}
	})
}
