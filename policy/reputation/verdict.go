package reputation

import (
	"fmt"
	"time"

	"snitch/monitor/event"
)

// Verdict is what is known of a file. The names are stored.
type Verdict string

// Verdicts.
const (
	Unasked    Verdict = ""
	Clean      Verdict = "clean"      // known, and no engine says a word
	Suspicious Verdict = "suspicious" // some engine calls it so
	Malicious  Verdict = "malicious"  // some engine calls it so
	NotFound   Verdict = "not-found"  // nobody ever gave it to VirusTotal
	Uploaded   Verdict = "uploaded"   // given, and not looked at yet
)

// Verdicts lists all that are stored.
func Verdicts() []Verdict { return []Verdict{Clean, Suspicious, Malicious, NotFound, Uploaded} }

func (v Verdict) valid() bool {
	for _, known := range Verdicts() {
		if v == known {
			return true
		}
	}
	return false
}

// Bad reports whether a person should know.
func (v Verdict) Bad() bool { return v == Malicious || v == Suspicious }

// freshFor is how long a verdict holds before it is asked again.
func (v Verdict) freshFor() time.Duration {
	switch v {
	case Uploaded:
		return 5 * time.Minute
	case NotFound:
		return 24 * time.Hour
	}
	return 30 * 24 * time.Hour
}

// Answer is what was learned of a file.
type Answer struct {
	SHA256     event.Digest `json:"sha256"`
	Verdict    Verdict      `json:"verdict"`
	Malicious  uint32       `json:"malicious"` // engines that say so
	Suspicious uint32       `json:"suspicious"`
	Engines    uint32       `json:"engines"` // that looked
	At         time.Time    `json:"at"`
}

// String is the answer for people.
func (a *Answer) String() string {
	if a.Verdict.Bad() || a.Verdict == Clean {
		return fmt.Sprintf("%s: %d of %d engines of VirusTotal call it malicious, %d suspicious", a.Verdict, a.Malicious, a.Engines, a.Suspicious)
	}
	return string(a.Verdict)
}
