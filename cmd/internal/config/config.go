package config

import (
	"strings"
	"time"
)

// Version is the one that this build reads.
const Version = 1

// DefaultState is the state directory of the system's daemon.
const DefaultState = "/var/lib/snitch"

// Config are the settings of the daemon. Command-line flags beat them.
type Config struct {
	State         string        // directory of everything that the daemon writes
	Interval      time.Duration // between two writes to the database
	DrainInterval time.Duration // between two readings of the kernel's counters
	Retention     Retention
	FlowEntries   uint32 // of the kernel's flow map
	EveryExec     bool   // record every program that runs, not only those that connect
	ReverseDNS    bool   // ask for the names of addresses that have no other
	Hash          Hash
	Cgroup        string // account only sockets of this cgroup; "" is all
	Tier          string // how bytes are counted; auto is the best there is
	LogLevel      string
	Rules         Rules
	Fleet         Fleet
	Notify        Notify
	Enforce       Enforce
	Log           Log
	Remote        Remote
	Metrics       Metrics
	Records       Records
	VirusTotal    VirusTotal
}

// DefaultRules is the directory of rules of the system's daemon.
const DefaultRules = "/etc/snitch/rules"

// Rules are where the policy comes from.
type Rules struct {
	Dir string // every rule file below it; empty or not there: the shipped audit set
	// Test runs the tests beside the rules before a changed set is used.
	Test bool
	Off  string // ids of alert rules that this machine does not want, separated by commas
}

// IDs are the rules that are switched off.
func (r Rules) IDs() []string { return items(r.Off) }

// Notify is what desktops are told.
type Notify struct {
	Desktop bool   // notifications to people who are logged in
	Quiet   string // hours without them, "22:00-07:00" of local time; "" is none
}

// Enforce is what denying means on this machine. `enforce on` and `off`, and
// --mode, beat Mode.
type Enforce struct {
	Mode    string // audit or enforce
	Fail    string // what holds when no living daemon answers: see Fails
	Backend string // what denies: see Backends
	Hold    Hold
	// ProtectSSH protects the session of who turns enforcement on.
	ProtectSSH bool
}

// Hold bounds how long a connection waits for its decision.
type Hold struct {
	Deadline time.Duration
	Then     string // allow or deny
	// Programs is on which file systems the start of a program waits until it is
	// known: "auto" is all local ones, but none where a cgroup is set; "off" none;
	// else mount points, separated by commas.
	Programs string
}

// MountPoints are those that Programs names.
func (h Hold) MountPoints() []string {
	if h.Programs == "auto" || h.Programs == "off" {
		return nil
	}
	return strings.Split(h.Programs, ",")
}

// Retention bounds the database; 0 is no bound.
type Retention struct {
	Age  time.Duration
	Size int64 // bytes
}

// Hash bounds the reading of executables.
type Hash struct {
	MaxSize  int64         // of a file, bytes
	Deadline time.Duration // until a file counts as slow
	Entries  int           // digests kept in memory
}

// Tiers are the values of tier.
func Tiers() []string { return []string{"auto", "reference", "fexit", "counters"} }

// Modes are the values of enforce.mode and of --mode.
func Modes() []string { return []string{"audit", "enforce"} }

// Fails are the values of enforce.fail; auto is closed when everything is
// confined, else open.
func Fails() []string { return []string{"auto", "open", "closed"} }

// Backends are the values of enforce.backend.
func Backends() []string { return []string{"auto", "cgroup", "nft"} }

// LogLevels are the values of log_level.
func LogLevels() []string { return []string{"debug", "info", "warn", "error"} }

// Default is what no file means.
func Default() Config {
	return Config{
		State: DefaultState, Interval: 10 * time.Second, DrainInterval: time.Second,
		Retention:   Retention{Age: 365 * 24 * time.Hour, Size: 2_000_000_000},
		FlowEntries: 65536,
		Hash:        Hash{MaxSize: 2 << 30, Deadline: 5 * time.Second, Entries: 16384},
		Tier:        "auto", LogLevel: "info",
		Rules: Rules{Dir: DefaultRules}, Notify: Notify{Desktop: true},
		Fleet:   defaultFleet(),
		Enforce: Enforce{Mode: "audit", Fail: "auto", Backend: "auto", Hold: Hold{Deadline: 2 * time.Second, Then: "allow", Programs: "auto"}, ProtectSSH: true},
		Log:     Log{Addresses: true, Ports: true, Commands: true},
		Remote:  Remote{TLS: TLSRequired, Spool: 256_000_000}, Metrics: Metrics{Listen: off},
		Records:    Records{Connections: off, Programs: true, Errors: true, Size: 100_000_000, Keep: 5, Journal: off, Syslog: Syslog{Send: "alerts", Facility: "daemon"}},
		VirusTotal: VirusTotal{MaxUpload: 32_000_000, Interval: 15 * time.Second, URL: "https://www.virustotal.com"},
	}
}
