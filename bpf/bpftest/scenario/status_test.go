package scenario

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"
)

// status is what the suite reads of `snitch status --json`.
type status struct {
	Tier   string          `json:"tier"`
	Losses map[string]loss `json:"losses"`
}

type loss struct {
	Count    uint64 `json:"count"`
	Sent     uint64 `json:"sent"`
	Received uint64 `json:"received"`
}

func (d *daemon) status() (*status, error) {
	b, err := d.Command("status", "--json")
	if err != nil {
		return nil, err
	}
	s := new(status)
	if err := json.Unmarshal(b, s); err != nil {
		return nil, fmt.Errorf("decode status: %w", err)
	}
	return s, nil
}

func tierOf(t *testing.T, d *daemon) string {
	t.Helper()
	s, err := d.status()
	if err != nil {
		t.Fatal(err)
	}
	if s.Tier == "" {
		t.Fatal("status does not name the tier")
	}
	return s.Tier
}

// byteLosses are the causes by which bytes go missing from rows: each byte is
// counted under one of them.
var byteLosses = []string{"flow-map-full", "overflow-map-full", "socket-state", "peer-unknown", "helper", "store"}

// lostBytes sums what the daemon says it could not put into rows.
func (s *status) lostBytes() (sum loss) {
	for _, cause := range byteLosses {
		l := s.Losses[cause]
		sum.Count += l.Count
		sum.Sent += l.Sent
		sum.Received += l.Received
	}
	return sum
}

// lossesOf asks a running daemon when it has seen everything: its counters are
// read at least once a second.
func lossesOf(t *testing.T, d *daemon) loss {
	t.Helper()
	time.Sleep(patience(2500 * time.Millisecond))
	s, err := d.status()
	if err != nil {
		t.Fatal(err)
	}
	for cause, l := range s.Losses {
		t.Logf("lost by %s: %+v", cause, l)
	}
	return s.lostBytes()
}

// missedRuns is how often the kernel skipped a program: nothing on kernels
// whose trace points cannot be preempted.
func missedRuns(t *testing.T, d *daemon) uint64 {
	t.Helper()
	s, err := d.status()
	if err != nil {
		t.Fatal(err)
	}
	return s.Losses["missed-run"].Count
}
