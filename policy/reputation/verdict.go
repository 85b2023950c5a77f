package reputation

import (
	"fmt"
	"time"

	"snitch/monitor/event"
)

// freshFor is how long a verdict holds before it is asked again.
func freshFor(v event.Reputation) time.Duration {
	switch v {
	case event.ReputationUploaded:
		return 5 * time.Minute
	case event.ReputationNotFound:
		return 24 * time.Hour
	}
	return 30 * 24 * time.Hour
}

// Answer is what was learned of a file.
type Answer struct {
	SHA256     event.Digest     `json:"sha256"`
	Verdict    event.Reputation `json:"verdict"`
	Malicious  uint32           `json:"malicious"` // engines that say so
	Suspicious uint32           `json:"suspicious"`
	Engines    uint32           `json:"engines"` // that looked
	At         time.Time        `json:"at"`
}

// String is the answer for people.
func (a *Answer) String() string {
	if a.Verdict.Bad() || a.Verdict == event.ReputationClean {
		return fmt.Sprintf("%s: %d of %d engines of VirusTotal call it malicious, %d suspicious", a.Verdict, a.Malicious, a.Engines, a.Suspicious)
	}
	return a.Verdict.String()
}
