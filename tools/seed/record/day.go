package record

import (
	"math/rand/v2"
	"time"
)

// rates is how much each program talks in each hour of a week.
type rates struct {
	programs []int          // that talk at all
	sums     [168][]float64 // running sums of their weights
}

func newRates(all []program) *rates {
	r := &rates{}
	for i := range all {
		if all[i].weight > 0 {
			r.programs = append(r.programs, i)
		}
	}
	for h := range r.sums {
		sum := 0.0
		for _, i := range r.programs {
			sum += all[i].weight * all[i].when.at(h)
			r.sums[h] = append(r.sums[h], sum)
		}
	}
	return r
}

// at is the weight of an hour of the week; Monday's first is 0.
func (w hours) at(hour int) float64 {
	weight := float64(w.weights[hour%24] - '0')
	if hour >= 5*24 {
		weight *= w.weekend
	}
	return weight
}

// hourOfWeek is that of a time, whose zone is what the people live in.
func hourOfWeek(t time.Time) int { return (int(t.Weekday())+6)%7*24 + t.Hour() }

// total is how much all talk in an hour.
func (r *rates) total(hour int) float64 { return r.sums[hour][len(r.programs)-1] }

// pick draws a program that talks in an hour.
func (r *rates) pick(hour int, rng *rand.Rand) int {
	x := rng.Float64() * r.total(hour)
	for i, sum := range r.sums[hour] {
		if x < sum {
			return r.programs[i]
		}
	}
	return r.programs[len(r.programs)-1]
}

// plan shares n connections out over minutes, by what the hours weigh.
type plan struct {
	left   int
	weight float64 // of the minutes to come
}

func newPlan(n, minutes int, begin time.Time, r *rates) *plan {
	p := &plan{left: n}
	for m := range minutes {
		p.weight += r.total(hourOfWeek(begin.Add(time.Duration(m) * time.Minute)))
	}
	return p
}

// take is how many connections begin in the next minute, whose weight it is
// told. They come in bursts; the last minute takes what is left.
func (p *plan) take(weight float64, rng *rand.Rand) int {
	if p.weight -= weight; p.weight < weight/2 {
		n := p.left
		p.left = 0
		return n
	}
	mean := float64(p.left) * weight / (p.weight + weight)
	n := min(p.left, int(mean*(0.5+rng.Float64())+rng.Float64()))
	p.left -= n
	return n
}
