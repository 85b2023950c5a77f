package text

import (
	"fmt"
	"strings"
	"time"
)

// Bytes is n in at most six cells: 0 B, 999 B, 1.0 kB, 12 kB, 3.4 GB. Decimal
// units, because that is what line rates and quotas are counted in.
func Bytes(n uint64) string {
	if n < 1000 {
		return fmt.Sprintf("%d B", n)
	}
	v := float64(n)
	for _, unit := range []string{"kB", "MB", "GB", "TB", "PB"} {
		v /= 1000
		if v < 9.95 {
			return fmt.Sprintf("%.1f %s", v, unit)
		}
		if v < 999.5 {
			return fmt.Sprintf("%.0f %s", v, unit)
		}
	}
	return fmt.Sprintf("%.0f EB", v/1000)
}

// Duration is d for people: 850ms, 12s, 3m20s, 5h12m, 4d3h.
func Duration(d time.Duration) string {
	switch {
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < time.Minute:
		return d.Round(time.Second).String()
	case d < time.Hour:
		return fmt.Sprintf("%dm%ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < 24*time.Hour:
		return fmt.Sprintf("%dh%dm", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%dd%dh", int(d.Hours())/24, int(d.Hours())%24)
}

// Nearest returns the candidate that word was probably meant to be, or "" when
// none is near: at most one edit in three letters.
func Nearest(word string, candidates []string) string {
	best, bestAt := "", max(1, len([]rune(word))/3)
	for _, c := range candidates {
		if d := distance(strings.ToLower(word), strings.ToLower(c)); d <= bestAt && (best == "" || d < bestAt) {
			best, bestAt = c, d
		}
	}
	return best
}

// maxWord bounds the cost of distance: longer words are nobody's typo.
const maxWord = 64

// distance is Levenshtein's, with the swap of neighbours as one edit.
func distance(a, b string) int {
	x, y := []rune(a), []rune(b)
	if len(x) > maxWord || len(y) > maxWord {
		return maxWord
	}
	before, last := make([]int, len(y)+1), make([]int, len(y)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(x); i++ {
		row := make([]int, len(y)+1)
		row[0] = i
		for j := 1; j <= len(y); j++ {
			cost := 1
			if x[i-1] == y[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && x[i-1] == y[j-2] && x[i-2] == y[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last = last, row
	}
	return last[len(y)]
}

// Plural is "1 file", "2 files".
func Plural(n uint64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
