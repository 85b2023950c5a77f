package config

import (
	"fmt"
	"io/fs"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Fleet is where rules come from that are signed elsewhere.
type Fleet struct {
	Source      string // off, bundle, git
	URL         string
	Keys        string // file of public keys
	Branch      string
	Path        string // directory of rules in the repository
	Interval    time.Duration
	Host        string // name of this machine for staged roll-outs; auto is its id
	Token       string // file
	CA          string // file
	SSHKey      string // file
	KnownHosts  string // file
	Trial       time.Duration
	TrialAlerts int
	TrialErrors int
}

// FleetSources are the values of fleet.source.
func FleetSources() []string { return []string{off, "bundle", "git"} }

func defaultFleet() Fleet {
	return Fleet{Source: off, Branch: "main", Path: ".", Interval: time.Minute, Host: "auto", TrialAlerts: 20, TrialErrors: 5}
}

var fleetSettings = []setting{
	choice("fleet.source", FleetSources(), "a signed bundle, or a branch of a git remote", func(c *Config) *string { return &c.Fleet.Source }),
	{path: "fleet.url", want: "`https://…`; for a bundle also an absolute path; for git also `ssh://…`, `git://…`, `file:///…`", help: "of the bundle or the repository",
		set: func(c *Config, v string) error { return setURL(&c.Fleet.URL, v) },
		get: func(c *Config) string { return orNone(c.Fleet.URL) }},
	path("fleet.keys", "/etc/snitch/fleet.keys", "who may publish: public keys (PEM) for bundles; allowed signers of OpenSSH, or OpenPGP keys, for git", func(c *Config) *string { return &c.Fleet.Keys }),
	{path: "fleet.branch", want: "the name of a branch", help: "of the git remote",
		set: func(c *Config, v string) error { return setBranch(&c.Fleet.Branch, v) }, get: func(c *Config) string { return c.Fleet.Branch }},
	{path: "fleet.path", want: "a path within the repository", help: "directory of rules in the git repository",
		set: func(c *Config, v string) error { return setWithin(&c.Fleet.Path, v) }, get: func(c *Config) string { return c.Fleet.Path }},
	duration("fleet.interval", 5*time.Second, 24*time.Hour, "between two looks at it", func(c *Config) *time.Duration { return &c.Fleet.Interval }),
	{path: "fleet.host", want: "`auto`, or letters, digits and `._-`", help: "name of this machine for staged roll-outs; auto is made of its id",
		set: func(c *Config, v string) error { return setFleetHost(&c.Fleet.Host, v) }, get: func(c *Config) string { return c.Fleet.Host }},
	path("fleet.token", "/etc/snitch/fleet.token", "file with a bearer token, or user:password, for HTTPS", func(c *Config) *string { return &c.Fleet.Token }),
	path("fleet.ca", "/etc/snitch/fleet.ca.pem", "certificates that HTTPS is verified with, instead of the system's", func(c *Config) *string { return &c.Fleet.CA }),
	path("fleet.ssh_key", "/etc/snitch/fleet.id", "private key for git over SSH, which group snitch may read", func(c *Config) *string { return &c.Fleet.SSHKey }),
	path("fleet.known_hosts", "/etc/snitch/fleet.known_hosts", "host keys for git over SSH", func(c *Config) *string { return &c.Fleet.KnownHosts }),
	durationOrOff("fleet.trial", time.Minute, "how long after a change a jump of alerts or errors, or a source out of reach, brings the rules before back", func(c *Config) *time.Duration { return &c.Fleet.Trial }),
	number("fleet.trial_alerts", 1, 1_000_000, "new alerts beyond three times the usual that are a jump", func(c *Config) *int { return &c.Fleet.TrialAlerts }),
	number("fleet.trial_errors", 1, 1_000_000, "the same of errors of the evaluator", func(c *Config) *int { return &c.Fleet.TrialErrors }),
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

// setURL takes what can be fetched safely. That a password in it is refused keeps
// it out of logs and status.
func setURL(to *string, v string) error {
	if v == "none" {
		*to = ""
		return nil
	}
	if filepath.IsAbs(v) {
		return setDir(to, v)
	}
	u, err := url.Parse(v)
	switch {
	case err != nil || !slices.Contains([]string{"https", "ssh", "git", "file"}, u.Scheme) || u.Host == "" && u.Scheme != "file" || u.Opaque != "":
		return fmt.Errorf("%q is no address that begins with https://, ssh://, git:// or file:///, and no absolute path", v)
	case strings.HasPrefix(u.Host, "-"):
		return fmt.Errorf("%q has no host", v)
	}
	if _, secret := u.User.Password(); secret {
		return fmt.Errorf("a password in the address is seen by everybody: put it into a file (fleet.token)")
	}
	*to = v
	return nil
}

// setBranch takes a plain name: git has more, which nobody uses for rules.
func setBranch(to *string, v string) error {
	plain := strings.Trim(v, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._/-") == ""
	if !plain || v == "" || strings.Contains(v, "..") || strings.Contains(v, "//") || strings.HasSuffix(v, ".lock") || strings.ContainsAny(v[:1], "-./") || strings.HasSuffix(v, "/") || strings.HasSuffix(v, ".") {
		return fmt.Errorf("%q is no name of a branch", v)
	}
	*to = v
	return nil
}

func setWithin(to *string, v string) error {
	if !fs.ValidPath(v) || strings.ContainsAny(v, "\\:\x00\n") || strings.HasPrefix(v, "-") {
		return fmt.Errorf("%q is no path within the repository", v)
	}
	*to = v
	return nil
}

func setFleetHost(to *string, v string) error {
	if v == "" || len(v) > 255 || strings.Trim(v, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") != "" {
		return fmt.Errorf("%q is no name of a host", v)
	}
	*to = v
	return nil
}
