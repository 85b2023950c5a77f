package config

import (
	"fmt"
	"path/filepath"
	"strings"

	"snitch/monitor/export"
)

// Records are the outputs beside the database.
type Records struct {
	Dir         string // of the logs; "": see LogDir
	Connections string // off, csv or json
	Programs    bool   // a history of executables
	Errors      bool   // warnings and errors of the daemon
	Size        int64  // of one file, bytes; 0: no bound
	Keep        int    // older files
	Journal     string // off, alerts or connections
	Syslog      Syslog
}

// Syslog is where messages of RFC 5424 go.
type Syslog struct {
	To          string // see export.ParseTarget; "" is nowhere
	Send        string // alerts or connections
	Facility    string
	CA          string // files: of the server's authority; "" is the system's
	Certificate string // of this host, "" is none
	Key         string
}

// LogDir is where the logs go.
func (c *Config) LogDir() string {
	if c.Records.Dir != "" {
		return c.Records.Dir
	}
	return filepath.Join(c.State, "log")
}

var outputSettings = []setting{
	path("records.dir", "/var/log/snitch", "of the logs; without the line log in the state directory", func(c *Config) *string { return &c.Records.Dir }),
	choice("records.connections", []string{off, "csv", "json"}, "a line for each connection's begin, change and end", func(c *Config) *string { return &c.Records.Connections }),
	boolean("records.programs", "history of programs: first seen, changed, started by another; with every_exec every start", func(c *Config) *bool { return &c.Records.Programs }),
	boolean("records.errors", "the daemon's warnings and errors", func(c *Config) *bool { return &c.Records.Errors }),
	sizeOrOff("records.size", 4096, "of a file, which is rotated then; off: somebody else rotates", func(c *Config) *int64 { return &c.Records.Size }),
	number("records.keep", 0, 1000, "older files of each log", func(c *Config) *int { return &c.Records.Keep }),
	choice("records.journal", []string{off, "alerts", "connections"}, "alerts and new programs, or connections too, with fields SNITCH_*", func(c *Config) *string { return &c.Records.Journal }),
	{path: "records.syslog.to", want: "`off`, `unix:///dev/log`, `udp://HOST[:PORT]`, `tcp://HOST[:PORT]`, `tls://HOST[:PORT]`", help: "RFC 5424: unix:///dev/log, udp://host, tcp://host, tls://host:6514",
		set: func(c *Config, v string) error { return setTarget(&c.Records.Syslog.To, v) }, get: func(c *Config) string { return orOff(c.Records.Syslog.To) }},
	choice("records.syslog.send", []string{"alerts", "connections"}, "alerts and new programs, or connections too", func(c *Config) *string { return &c.Records.Syslog.Send }),
	choice("records.syslog.facility", export.Facilities(), "of the messages", func(c *Config) *string { return &c.Records.Syslog.Facility }),
	path("records.syslog.ca", "/etc/snitch/syslog-ca.pem", "who vouches for the server; without the line the system's authorities", func(c *Config) *string { return &c.Records.Syslog.CA }),
	path("records.syslog.certificate", "/etc/snitch/syslog.pem", "of this host, where the server wants one", func(c *Config) *string { return &c.Records.Syslog.Certificate }),
	secret("records.syslog.key", "/etc/snitch/syslog.key", "its key", func(c *Config) *string { return &c.Records.Syslog.Key }),
}

func setTarget(to *string, v string) error {
	if v == off {
		*to = ""
		return nil
	}
	t, err := export.ParseTarget(v)
	if err == nil {
		*to = t.String()
	}
	return err
}

// credential begins the name of a secret that systemd hands over.
const credential = "credential:"

// secret is a file that only root may read: a path, or credential:NAME for one
// that systemd hands over (LoadCredential=).
func secret(at, example, help string, field func(*Config) *string) setting {
	return setting{path: at, help: help, want: "a path of a file that only root may read, or `credential:NAME`", example: example,
		set: func(c *Config, v string) error {
			name, ok := strings.CutPrefix(v, credential)
			if !ok {
				return setDir(field(c), v)
			}
			if name == "" || strings.ContainsAny(name, "/\x00 ") || strings.HasPrefix(name, ".") {
				return fmt.Errorf("%q is no name of a credential", name)
			}
			*field(c) = v
			return nil
		}, get: func(c *Config) string { return *field(c) }}
}
