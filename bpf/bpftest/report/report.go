// Package report is what the traffic generators say about themselves and what
// the scenario suite compares with the log of snitch: who the process is and,
// for every flow, how many application bytes the system calls returned.
package report

// Report is one process. A generator that execs writes one before and one
// after; each is one JSON line.
type Report struct {
	Generator    string   `json:"generator"`
	PID          int      `json:"pid"`            // in the initial pid namespace
	Start        uint64   `json:"start"`          // clock ticks since boot, as /proc/PID/stat has it
	Exe          string   `json:"exe"`            // as the process itself sees it
	ExeKind      string   `json:"exe_kind"`       // file, deleted, memfd
	SHA256       string   `json:"sha256"`         // of the file the kernel executes
	Name         string   `json:"name"`           // comm, escaped by JSON; not valid UTF-8 becomes U+FFFD
	Args         []string `json:"args,omitempty"` // when the log is expected to show them
	UID          int      `json:"uid"`
	ParentPID    int      `json:"parent_pid"`
	ParentExe    string   `json:"parent_exe"`
	ParentSHA256 string   `json:"parent_sha256"`
	// Empty when it cannot be seen.
	GrandparentExe    string `json:"grandparent_exe,omitempty"`
	GrandparentSHA256 string `json:"grandparent_sha256,omitempty"`

	Script       string `json:"script,omitempty"`
	ScriptSHA256 string `json:"script_sha256,omitempty"`
	OtherMounts  bool   `json:"other_mounts,omitempty"` // Exe is a path of another mount namespace
	Removed      bool   `json:"removed,omitempty"`      // the file was removed soon: nobody can verify Exe then
	Flows        []Flow `json:"flows"`
	Took         int64  `json:"took"`            // microseconds, without the process's start
	Error        string `json:"error,omitempty"` // the generator failed: its counts mean nothing
}

// Flow is what one process did on one socket with one peer. Empty addresses
// and zero ports match anything.
type Flow struct {
	Proto     string `json:"proto"`     // as event.ProtoName
	Family    string `json:"family"`    // as event.FamilyName
	Direction string `json:"direction"` // out, in, listen
	LAddr     string `json:"laddr,omitempty"`
	LPort     uint16 `json:"lport,omitempty"`
	RAddr     string `json:"raddr,omitempty"`
	RPort     uint16 `json:"rport,omitempty"`
	NetNS     uint64 `json:"netns,omitempty"`
	Sent      uint64 `json:"sent"`
	Received  uint64 `json:"received"`
	Packets   uint64 `json:"packets,omitempty"` // datagrams sent and received; 0: not counted
	Result    string `json:"result"`            // alternatives separated by |
	Rows      int    `json:"rows,omitempty"`    // how many equal flows this line stands for, 0 is 1
	Quiet     bool   `json:"quiet,omitempty"`   // a flow without bytes that the log may leave out
}
