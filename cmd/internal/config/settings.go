package config

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"snitch/cmd/internal/text"
)

// setting is one value of the file.
type setting struct {
	path string // keys joined by dots
	set  func(c *Config, value string) error
}

// settings lists every setting. Bounds are those within which the daemon was
// built to work; a value outside is a fault, not a wish.
var settings = []setting{
	{"state", func(c *Config, v string) error { return setDir(&c.State, v) }},
	{"interval", func(c *Config, v string) error { return setDuration(&c.Interval, v, 100*time.Millisecond, time.Hour) }},
	{"drain_interval", func(c *Config, v string) error {
		return setDuration(&c.DrainInterval, v, 50*time.Millisecond, time.Minute)
	}},
	{"retention.age", func(c *Config, v string) error { return setDurationOrOff(&c.Retention.Age, v, time.Hour) }},
	{"retention.size", func(c *Config, v string) error { return setSizeOrOff(&c.Retention.Size, v, 1_000_000) }},
	{"flow_entries", func(c *Config, v string) error {
		n, err := number(v, 64, 1<<22)
		if err == nil {
			c.FlowEntries = uint32(n)
		}
		return err
	}},
	{"every_exec", func(c *Config, v string) error { return setBool(&c.EveryExec, v) }},
	{"reverse_dns", func(c *Config, v string) error { return setBool(&c.ReverseDNS, v) }},
	{"hash.max_size", func(c *Config, v string) error { return setSize(&c.Hash.MaxSize, v, 1<<20, 1<<40) }},
	{"hash.deadline", func(c *Config, v string) error {
		return setDuration(&c.Hash.Deadline, v, 10*time.Millisecond, time.Hour)
	}},
	{"hash.entries", func(c *Config, v string) error {
		n, err := number(v, 64, 1<<22)
		if err == nil {
			c.Hash.Entries = int(n)
		}
		return err
	}},
	{"cgroup", func(c *Config, v string) error { return setDir(&c.Cgroup, v) }},
	{"tier", func(c *Config, v string) error { return setChoice(&c.Tier, v, Tiers()) }},
	{"rules.dir", func(c *Config, v string) error { return setDir(&c.Rules.Dir, v) }},
	{"rules.test", func(c *Config, v string) error { return setBool(&c.Rules.Test, v) }},
	{"rules.off", func(c *Config, v string) error { return setIDs(&c.Rules.Off, v) }},
	{"notify.desktop", func(c *Config, v string) error { return setBool(&c.Notify.Desktop, v) }},
	{"notify.quiet", func(c *Config, v string) error { return setQuiet(&c.Notify.Quiet, v) }},
	{"enforce.mode", func(c *Config, v string) error { return setChoice(&c.Enforce.Mode, v, Modes()) }},
	{"enforce.fail", func(c *Config, v string) error { return setChoice(&c.Enforce.Fail, v, Fails()) }},
	{"enforce.backend", func(c *Config, v string) error { return setChoice(&c.Enforce.Backend, v, Backends()) }},
	{"enforce.hold.deadline", func(c *Config, v string) error {
		return setDuration(&c.Enforce.Hold.Deadline, v, 100*time.Millisecond, time.Minute)
	}},
	{"enforce.hold.then", func(c *Config, v string) error {
		return setChoice(&c.Enforce.Hold.Then, v, []string{"allow", "deny"})
	}},
	{"enforce.hold.programs", func(c *Config, v string) error { return setDirs(&c.Enforce.Hold.Programs, v) }},
	{"enforce.protect_ssh", func(c *Config, v string) error { return setBool(&c.Enforce.ProtectSSH, v) }},
	{"log_level", func(c *Config, v string) error { return setChoice(&c.LogLevel, v, LogLevels()) }},
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

func setDir(to *string, v string) error {
	if !filepath.IsAbs(v) || strings.ContainsRune(v, 0) {
		return fmt.Errorf("%q is no absolute path", v)
	}
	*to = filepath.Clean(v)
	return nil
}

// setDirs takes mount points, or a word.
func setDirs(to *string, v string) error {
	if v == "auto" || v == "off" {
		*to = v
		return nil
	}
	dirs := strings.Split(v, ",")
	for i := range dirs {
		if err := setDir(&dirs[i], strings.TrimSpace(dirs[i])); err != nil {
			return fmt.Errorf("%w, and not auto or off", err)
		}
	}
	*to = strings.Join(dirs, ",")
	return nil
}

// setIDs takes ids of rules. They are lower case everywhere.
func setIDs(to *string, v string) error {
	if v == "none" {
		v = ""
	}
	for _, id := range (Rules{Off: v}).IDs() {
		if strings.Trim(id, "abcdefghijklmnopqrstuvwxyz0123456789._-") != "" {
			return fmt.Errorf("%q is no id of a rule", id)
		}
	}
	*to = v
	return nil
}

// setQuiet takes hours of the day.
func setQuiet(to *string, v string) error {
	if v == "off" {
		*to = ""
		return nil
	}
	from, until, ok := strings.Cut(v, "-")
	for _, hour := range []string{from, until} {
		if _, err := time.Parse("15:04", hour); err != nil || !ok {
			return fmt.Errorf("%q are no hours like 22:00-07:00", v)
		}
	}
	*to = v
	return nil
}

func setDuration(to *time.Duration, v string, least, most time.Duration) error {
	d, err := text.ParseDuration(v)
	if err != nil {
		return err
	}
	if d < least || d > most {
		return fmt.Errorf("%s is not between %s and %s", v, text.Duration(least), text.Duration(most))
	}
	*to = d
	return nil
}

func setDurationOrOff(to *time.Duration, v string, least time.Duration) error {
	if v == "off" {
		*to = 0
		return nil
	}
	d, err := text.ParseDuration(v)
	if err != nil {
		return err
	}
	if d < least {
		return fmt.Errorf("%s is less than %s (off for no bound)", v, text.Duration(least))
	}
	*to = d
	return nil
}

func setSize(to *int64, v string, least, most int64) error {
	n, err := text.ParseSize(v)
	if err != nil {
		return err
	}
	if n < least || n > most {
		return fmt.Errorf("%s is not between %s and %s", v, text.Bytes(uint64(least)), text.Bytes(uint64(most)))
	}
	*to = n
	return nil
}

func setSizeOrOff(to *int64, v string, least int64) error {
	if v == "off" {
		*to = 0
		return nil
	}
	return setSize(to, v, least, 1<<50)
}

func setBool(to *bool, v string) error {
	switch v {
	case "true":
		*to = true
	case "false":
		*to = false
	default:
		return fmt.Errorf("%q is neither true nor false", v)
	}
	return nil
}

func setChoice(to *string, v string, choices []string) error {
	if !slices.Contains(choices, v) {
		return fmt.Errorf("%q is not one of %s", v, strings.Join(choices, ", "))
	}
	*to = v
	return nil
}

func number(v string, least, most uint64) (uint64, error) {
	n, err := strconv.ParseUint(strings.ReplaceAll(v, "_", ""), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%q is no whole number", v)
	}
	if n < least || n > most {
		return 0, fmt.Errorf("%d is not between %d and %d", n, least, most)
	}
	return n, nil
}
