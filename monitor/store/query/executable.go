package query

import "time"

// ExecutableQuery selects executables. The zero value selects all, those that
// were active last first.
type ExecutableQuery struct {
	Since, Until time.Time // active in this range; zero: no bound
	New          bool      // only those never recorded before Since
	Path         string    // with exactly this path; "": any
	SHA256       string    // whose digest begins with these digits; "": any
	Limit        int       // 0: DefaultGroupLimit, at most MaxGroupLimit
	Offset       int
}

// ExecutableInfo is one program file: one path in one view with one digest.
type ExecutableInfo struct {
	ID         int64  `json:"id"` // of this database file; for Executable
	Path       string `json:"path"`
	View       string `json:"view,omitempty"`
	Kind       string `json:"kind"`
	SHA256     string `json:"sha256"`
	HashReason string `json:"sha256_reason,omitempty"` // why sha256 is empty
	Package    string `json:"package,omitempty"`
	// First and Last are when it was active, to the width of the rollups that
	// are kept. The sums are of all that is kept, whatever the range.
	First       time.Time `json:"first"`
	Last        time.Time `json:"last"`
	Connections uint64    `json:"connections"`
	Sent        uint64    `json:"sent"`
	Received    uint64    `json:"received"`
}

// ExecutableDetail is all that the record knows of one program file.
type ExecutableDetail struct {
	ExecutableInfo
	// Hashes are the files that had the same path in the same view, this one
	// among them, the newest first.
	Hashes []ExecutableInfo `json:"hashes"`
	// SamePaths are other paths with the same digest.
	SamePaths []ExecutableInfo `json:"same_paths"`
	// Lineages are the distinct chains of ancestors, nearest first, those used
	// last first, at most MaxLineages.
	Lineages []Lineage `json:"lineages"`
	Names    []string  `json:"names"`    // process names, at most MaxTexts
	Cmdlines []string  `json:"cmdlines"` // at most MaxTexts, those used last first
	Scripts  []string  `json:"scripts"`  // at most MaxTexts
}

// Bounds of an ExecutableDetail.
const (
	MaxLineages = 20
	MaxTexts    = 20
)

// Lineage is a chain of ancestors.
type Lineage struct {
	Ancestors []LineageStep `json:"ancestors"` // the parent first
	Cut       bool          `json:"cut,omitempty"`
}

// LineageStep is one ancestor.
type LineageStep struct {
	ID     int64  `json:"id"` // of its executable
	Exe    string `json:"exe"`
	View   string `json:"view,omitempty"`
	Name   string `json:"name"`
	SHA256 string `json:"sha256"`
}
