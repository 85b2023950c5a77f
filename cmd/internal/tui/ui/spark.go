package ui

var bars = []rune(" ▁▂▃▄▅▆▇█")

// Spark draws values, the last at the right, in width cells, as bars up to
// most; 0 is nothing at all and any other value at least the lowest bar. More
// values than cells are left out at the front.
func Spark(values []uint64, width int, most uint64) string {
	if width <= 0 {
		return ""
	}
	out := make([]rune, width)
	for i := range out {
		out[i] = ' '
	}
	values = values[max(0, len(values)-width):]
	for i, v := range values {
		out[width-len(values)+i] = bar(v, most, len(bars)-1)
	}
	return string(out)
}

// bar is the character for v of most, in steps.
func bar(v, most uint64, steps int) rune {
	if v == 0 || most == 0 {
		return bars[0]
	}
	n := int(float64(min(v, most))/float64(most)*float64(steps) + 0.5)
	return bars[min(max(1, n), len(bars)-1)]
}

// Chart draws values as columns, height lines high, the top line first.
func Chart(values []uint64, width, height int) []string {
	var most uint64
	for _, v := range values {
		most = max(most, v)
	}
	out := make([]string, height)
	steps := height * (len(bars) - 1)
	for y := range out {
		row := make([]rune, width)
		for x := range row {
			row[x] = ' '
			if x < len(values) {
				row[x] = slice(values[x], most, steps, height-1-y)
			}
		}
		out[y] = string(row)
	}
	return out
}

// slice is the part of a column in the line that is so far from the bottom.
func slice(v, most uint64, steps, line int) rune {
	if v == 0 || most == 0 {
		return ' '
	}
	n := max(1, int(float64(v)/float64(most)*float64(steps)+0.5))
	return bars[min(max(0, n-line*(len(bars)-1)), len(bars)-1)]
}

// Resample brings values to n of them, adding up or repeating, for a chart.
func Resample(values []uint64, n int) []uint64 {
	if n <= 0 || len(values) == 0 {
		return nil
	}
	out := make([]uint64, n)
	for i := range out {
		from, to := i*len(values)/n, (i+1)*len(values)/n
		for _, v := range values[from:max(to, from+1)] {
			out[i] = max(out[i], v)
		}
	}
	return out
}

var eighths = []rune(" ▏▎▍▌▋▊▉█")

// Bar draws a part of one (0 to 1) in width cells, to an eighth of a cell; what
// is more than nothing is seen.
func Bar(part float64, width int) string {
	steps := width * 8
	n := min(steps, max(0, int(part*float64(steps)+0.5)))
	if part > 0 && n == 0 {
		n = 1
	}
	out := make([]rune, width)
	for i := range out {
		out[i] = eighths[min(8, max(0, n-8*i))]
	}
	return string(out)
}
