package report

import (
	"cmp"
	"path"
	"slices"
	"strings"

	"snitch/policy/rule"
)

// Level is how bad a finding is.
type Level uint8

// Levels.
const (
	LevelInvalid Level = 0
	Info         Level = 1 // worth knowing
	Warning      Level = 2 // probably not what was meant
	Error        Level = 3 // cannot be what was meant; fails the command
)

var levelNames = [...]string{"invalid", "info", "warning", "error"}

// String is the name that people and JSON see.
func (l Level) String() string {
	if int(l) >= len(levelNames) {
		return levelNames[0]
	}
	return levelNames[l]
}

// Finding is one thing that was found.
type Finding struct {
	Level   Level
	Check   string // which check found it: "dead-rule"
	Rule    string // id of the rule it is about, "" for none
	Message string // one sentence without a full stop
	Pos     rule.Position
	Related []Related // what else belongs to it
}

// Related is a second place of a finding.
type Related struct {
	Message string
	Pos     rule.Position
}

// Check describes a kind of finding, for formats that carry a catalogue.
type Check struct {
	ID    string
	Short string // one sentence
}

// Place is where a file of a position lies, seen from the place that a report is
// read at (the top of a repository, mostly): Base is the directory of the rules.
type Place struct{ Base string }

// Path is the path of a file of a position.
func (p Place) Path(file string) string {
	if file == "" || path.IsAbs(file) {
		return file
	}
	return path.Join(p.Base, file)
}

// At is the position with its file seen from the place.
func (p Place) At(pos rule.Position) rule.Position {
	pos.File = p.Path(pos.File)
	return pos
}

// Sort orders findings by place, then by check and message.
func Sort(findings []Finding) {
	slices.SortStableFunc(findings, func(a, b Finding) int {
		return cmp.Or(strings.Compare(a.Pos.File, b.Pos.File), a.Pos.Line-b.Pos.Line, a.Pos.Col-b.Pos.Col,
			strings.Compare(a.Check, b.Check), strings.Compare(a.Message, b.Message))
	})
}

// Count is the number of findings of a level.
func Count(findings []Finding, level Level) int {
	n := 0
	for _, f := range findings {
		if f.Level == level {
			n++
		}
	}
	return n
}
