package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"snitch/cmd/internal/control"
	"snitch/policy"
)

// family is one metric with all its labels.
type family struct {
	name, help string
	labels     []string
	kind       prometheus.ValueType
	always     bool // also when the daemon does not answer
	tell       func(x *exposition, f *family, to chan<- prometheus.Metric)
}

// exposition is what one scrape tells.
type exposition struct {
	sample  *Sample
	up      bool
	failed  uint64
	decided map[[2]string]uint64
}

const prefix = "snitch_"

func (f *family) desc() *prometheus.Desc {
	return prometheus.NewDesc(prefix+f.name, f.help, f.labels, nil)
}

// say tells one value. Labels that are no UTF-8 are told as invalid metrics by
// the library; those here are ids of rules and words of ours.
func (f *family) say(to chan<- prometheus.Metric, v float64, labels ...string) {
	to <- prometheus.MustNewConstMetric(f.desc(), f.kind, v, labels...)
}

type number interface{ ~uint64 | ~int | ~float64 }

// one makes a family of one value.
func one[N number](kind prometheus.ValueType, name, help string, value func(*control.Status) N) family {
	return family{name: name, help: help, kind: kind, tell: func(x *exposition, f *family, to chan<- prometheus.Metric) {
		f.say(to, float64(value(&x.sample.Status)))
	}}
}

func counter[N number](name, help string, value func(*control.Status) N) family {
	return one(prometheus.CounterValue, name, help, value)
}

func gauge[N number](name, help string, value func(*control.Status) N) family {
	return one(prometheus.GaugeValue, name, help, value)
}

// flag is 1 for yes.
func flag(name, help string, value func(*control.Status) bool) family {
	return gauge(name, help, func(s *control.Status) float64 { return yes(value(s)) })
}

func yes(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// labelled makes a family of several values, each with labels.
func labelled(kind prometheus.ValueType, name, help string, labels []string, tell func(x *exposition, say func(v float64, labels ...string))) family {
	return family{name: name, help: help, kind: kind, labels: labels, tell: func(x *exposition, f *family, to chan<- prometheus.Metric) {
		tell(x, func(v float64, labels ...string) { f.say(to, v, labels...) })
	}}
}

// latency is a histogram of decisions.
func latency(name, help string, of func(*Sample) policy.Latency) family {
	return family{name: name, help: help, tell: func(x *exposition, f *family, to chan<- prometheus.Metric) {
		l := of(x.sample)
		buckets, sum := map[float64]uint64{}, uint64(0)
		for i, bound := range policy.LatencyBounds() {
			sum += l.Counts[i]
			buckets[bound.Seconds()] = sum
		}
		sum += l.Counts[len(l.Counts)-1]
		to <- prometheus.MustNewConstHistogram(f.desc(), sum, l.Sum.Seconds(), buckets)
	}}
}
