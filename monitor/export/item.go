package export

import (
	"time"

	"snitch/monitor/event"
)

// Item is one thing that outputs take: exactly one of its pointers is set.
type Item struct {
	Time       time.Time // of the batch
	Connection *Change
	Alert      *event.Alert
	Program    *Program
}

// Program is one line of the history of executables.
type Program struct {
	Time   time.Time `json:"time"`
	What   []string  `json:"what"` // program, hash, parent: what was new about it; exec: it ran
	PID    uint32    `json:"pid"`
	UID    uint32    `json:"uid"`
	User   string    `json:"user"`
	Exe    string    `json:"exe"`
	View   string    `json:"exe_view,omitempty"`
	SHA256 string    `json:"sha256"`
	Reason string    `json:"sha256_reason,omitempty"` // why sha256 is empty
	Name   string    `json:"name"`
	Cmd    string    `json:"cmdline"`
	Parent string    `json:"parent_exe"`
	PSHA   string    `json:"parent_sha256"`
}

// newProgram is a line about p.
func newProgram(at time.Time, p *event.Process, what []string) *Program {
	out := &Program{Time: at.Round(0).UTC(), What: what, PID: p.ID.PID, UID: p.UID, User: p.User, Exe: p.Executable.Path, View: p.Executable.View,
		SHA256: p.Executable.SHA256.String(), Name: p.Name, Cmd: p.Cmdline()}
	if out.SHA256 == "" {
		out.Reason = p.Executable.Reason.String()
	}
	if q := p.Parent; q != nil {
		out.Parent, out.PSHA = q.Executable.Path, q.Executable.SHA256.String()
	}
	return out
}

// programOf is the line that a connection is worth in the history of
// executables, nil when nothing of its news is about its program.
func programOf(c *event.Connection, news []string) *Program {
	if c.Process == nil {
		return nil
	}
	var what []string
	for _, n := range news {
		switch n {
		case "program", "hash", "parent":
			what = append(what, n)
		}
	}
	if what == nil {
		return nil
	}
	return newProgram(c.Opened, c.Process, what)
}
