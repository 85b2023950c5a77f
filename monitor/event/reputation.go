package event

import (
	"errors"
	"slices"
)

// Reputation is what is said of a file's content by those who collect such words
// (VirusTotal). The names are stored.
type Reputation uint8

// Reputations. The zero value is that nobody answered yet, or was asked.
const (
	ReputationUnasked    Reputation = 0
	ReputationClean      Reputation = 1 // known, and no engine says a word
	ReputationSuspicious Reputation = 2 // some engine calls it so
	ReputationMalicious  Reputation = 3 // some engine calls it so
	ReputationNotFound   Reputation = 4 // nobody ever gave it away
	ReputationUploaded   Reputation = 5 // given, and not looked at yet
)

var reputationNames = [...]string{"", "clean", "suspicious", "malicious", "not-found", "uploaded"}

// Reputations lists all answers.
func Reputations() []Reputation {
	return []Reputation{ReputationClean, ReputationSuspicious, ReputationMalicious, ReputationNotFound, ReputationUploaded}
}

// String is the name that rules and files use; "" while there is no answer.
func (r Reputation) String() string { return enumName(reputationNames[:], int(r)) }

// Bad reports whether a person should know.
func (r Reputation) Bad() bool { return r == ReputationMalicious || r == ReputationSuspicious }

// MarshalText implements encoding.TextMarshaler.
func (r Reputation) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (r *Reputation) UnmarshalText(text []byte) error {
	i := slices.Index(reputationNames[:], string(text))
	if i < 0 {
		return errors.New("no such reputation")
	}
	*r = Reputation(i)
	return nil
}
