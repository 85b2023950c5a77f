package metrics

import (
	"context"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"snitch/cmd/internal/control"
	"snitch/policy"
)

// maxRules bounds the rules that are told apart: sets of rules come and go.
const maxRules = 2048

// otherRule is what counts what finds no room.
const otherRule = "(other)"

// scrapeWithin bounds asking the daemon how it does.
const scrapeWithin = 5 * time.Second

// Sample is what the daemon tells at one moment, beyond its status.
type Sample struct {
	Status     control.Status
	Commits    uint64        // transactions of the database
	CommitTime time.Duration // all of them together
	Decisions  policy.Latency
}

// Meter makes metrics. Its methods may be called concurrently.
type Meter struct {
	sample func(context.Context) (Sample, error)

	mu      sync.Mutex
	decided map[[2]string]uint64 // by action and rule
	failed  uint64               // scrapes
}

// New makes a Meter that asks sample at each scrape.
func New(sample func(context.Context) (Sample, error)) *Meter {
	return &Meter{sample: sample, decided: map[[2]string]uint64{}}
}

// Decided counts decisions. It does not block.
func (m *Meter) Decided(list []policy.Decided) {
	if len(list) == 0 {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, d := range list {
		key := [2]string{d.Action.String(), d.Rule}
		if _, known := m.decided[key]; !known && len(m.decided) >= maxRules {
			key[1] = otherRule
		}
		m.decided[key] += d.Count
	}
}

// Describe names every metric that there may be.
func (m *Meter) Describe(to chan<- *prometheus.Desc) {
	for _, f := range families() {
		to <- f.desc()
	}
}

// Collect asks the daemon. When that fails, only snitch_up (0) and the number of
// failures are told.
func (m *Meter) Collect(to chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), scrapeWithin)
	defer cancel()
	s, err := m.sample(ctx)
	m.mu.Lock()
	if err != nil {
		m.failed++
	}
	x := exposition{sample: &s, up: err == nil, failed: m.failed, decided: make(map[[2]string]uint64, len(m.decided))}
	for k, n := range m.decided {
		x.decided[k] = n
	}
	m.mu.Unlock()
	for _, f := range families() {
		if x.up || f.always {
			f.tell(&x, &f, to)
		}
	}
}
