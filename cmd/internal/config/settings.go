package config

import (
	"slices"
	"strings"
	"time"
)

// setting is one value of the file.
type setting struct {
	path    string // keys joined by dots
	help    string // what it is, behind it in the file
	want    string // the values that it takes
	example string // shown, as a comment, where the default is that the line is not there
	live    bool   // SIGHUP is enough; else it counts from the next start
	set     func(c *Config, value string) error
	get     func(c *Config) string // as set reads it; "" only where there is an example
	// item reads one of many values, for settings that take a list; nil otherwise.
	item func(value string) (string, error)
}

// reloads marks settings that SIGHUP changes.
func reloads(s setting) setting {
	s.live = true
	return s
}

// settings lists every setting in the order of the file. Bounds are those within
// which the daemon was built to work; a value outside is a fault, not a wish.
// Who adds one adds a line here, a field to Config and, if it has one, the
// default to Default: reading, writing, checking and documentation follow.
var settings = slices.Concat(recordSettings, logSettings, outputSettings, virusTotalSettings, ruleSettings, fleetSettings, remoteSettings, []setting{
	reloads(choice("log_level", LogLevels(), "of the daemon's own messages", func(c *Config) *string { return &c.LogLevel })),
})

var recordSettings = []setting{
	path("state", "", "everything that the daemon writes", func(c *Config) *string { return &c.State }),
	duration("interval", 100*time.Millisecond, time.Hour, "between two writes to the database", func(c *Config) *time.Duration { return &c.Interval }),
	duration("drain_interval", 50*time.Millisecond, time.Minute, "between two readings of the kernel's counters", func(c *Config) *time.Duration { return &c.DrainInterval }),
	durationOrOff("retention.age", time.Hour, "what is older is deleted; off: no bound", func(c *Config) *time.Duration { return &c.Retention.Age }),
	sizeOrOff("retention.size", 1_000_000, "of the database; off: no bound", func(c *Config) *int64 { return &c.Retention.Size }),
	number("flow_entries", 64, 1<<22, "of the kernel's flow map", func(c *Config) *uint32 { return &c.FlowEntries }),
	boolean("every_exec", "record every program that runs, not only those that connect", func(c *Config) *bool { return &c.EveryExec }),
	boolean("reverse_dns", "ask for names of addresses that have none; only ever a label", func(c *Config) *bool { return &c.ReverseDNS }),
	size("hash.max_size", 1<<20, 1<<40, "larger files get no digest, with the reason", func(c *Config) *int64 { return &c.Hash.MaxSize }),
	duration("hash.deadline", 10*time.Millisecond, time.Hour, "until a file counts as slow; its digest follows later", func(c *Config) *time.Duration { return &c.Hash.Deadline }),
	number("hash.entries", 64, 1<<22, "digests kept in memory", func(c *Config) *int { return &c.Hash.Entries }),
	path("cgroup", "/sys/fs/cgroup/x", "account only sockets of this cgroup; without the line: all", func(c *Config) *string { return &c.Cgroup }),
	choice("tier", Tiers(), "how bytes are counted; auto is the best that the kernel has", func(c *Config) *string { return &c.Tier }),
}

var ruleSettings = []setting{
	path("rules.dir", "", "every rule file below it; empty or not there: the shipped audit set", func(c *Config) *string { return &c.Rules.Dir }),
	boolean("rules.test", "run the tests beside the rules before a changed set is used", func(c *Config) *bool { return &c.Rules.Test }),
	list("rules.off", "ids", "ids of alert rules that this machine does not want", ruleID, func(c *Config) *string { return &c.Rules.Off }),
	boolean("notify.desktop", "notifications to people who are logged in", func(c *Config) *bool { return &c.Notify.Desktop }),
	{path: "notify.quiet", want: "`off`, or hours as `22:00-07:00`", help: "hours without them, local time: 22:00-07:00",
		set: func(c *Config, v string) error { return setQuiet(&c.Notify.Quiet, v) }, get: func(c *Config) string { return orOff(c.Notify.Quiet) }},
	choice("enforce.mode", Modes(), "audit denies nothing", func(c *Config) *string { return &c.Enforce.Mode }),
	choice("enforce.fail", Fails(), "when no living snitch answers; auto is closed when everything is confined", func(c *Config) *string { return &c.Enforce.Fail }),
	choice("enforce.backend", Backends(), "what denies: BPF on cgroups, or nftables", func(c *Config) *string { return &c.Enforce.Backend }),
	duration("enforce.hold.deadline", 100*time.Millisecond, time.Minute, "how long a connection waits for its decision", func(c *Config) *time.Duration { return &c.Enforce.Hold.Deadline }),
	choice("enforce.hold.then", []string{"allow", "deny"}, "what happens then", func(c *Config) *string { return &c.Enforce.Hold.Then }),
	{path: "enforce.hold.programs", want: "`auto`, `off`, or mount points with commas between them",
		help: "where the start of a program waits until it is known: auto is local file systems, with cgroup none",
		set:  func(c *Config, v string) error { return setDirs(&c.Enforce.Hold.Programs, v) }, get: func(c *Config) string { return c.Enforce.Hold.Programs }},
	boolean("enforce.protect_ssh", "never cut off the SSH session of who turns enforcement on", func(c *Config) *bool { return &c.Enforce.ProtectSSH }),
}

// sections say what the settings below a key are about.
var sections = map[string]string{
	"hash":           "reading of executables",
	"notify":         "see notifications.md",
	"rules":          "see rules.md",
	"fleet":          "rules that are signed elsewhere, instead of those of rules.dir; see fleet.md",
	"remote":         "the record also on an SQL server of another host, see remote-sql.md",
	"metrics":        "for Prometheus, see metrics.md",
	"enforce":        "see enforce-commands.md; `snitch enforce on` and `off` beat the mode",
	"log":            "what is recorded, wherever it is kept or shown: database, files, journal, syslog, live feed",
	"log.ignore":     "connections that are not recorded; rules judge them all the same, and alerts stay",
	"records":        "outputs beside the database; see records.md",
	"records.syslog": "sent by a process without privileges",
	"virustotal":     "asks what is known of programs by their SHA-256; see virustotal.md",
	"enforce.hold":   "connections and programs that wait",
}

// keysBelow lists the keys that may stand in the mapping at prefix.
func keysBelow(prefix string) []string {
	var keys []string
	if prefix == "" {
		keys = append(keys, "version")
	}
	for _, s := range settings {
		rest, ok := strings.CutPrefix(s.path, prefix)
		if !ok {
			continue
		}
		key, _, _ := strings.Cut(rest, ".")
		if !slices.Contains(keys, key) {
			keys = append(keys, key)
		}
	}
	return keys
}

func find(path string) (setting, bool) {
	i := slices.IndexFunc(settings, func(s setting) bool { return s.path == path })
	if i < 0 {
		return setting{}, false
	}
	return settings[i], true
}
