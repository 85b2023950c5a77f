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

// The kinds of settings: each makes a setting of its path, its bounds, its help
// and the field that it sets.

func path(at, example, help string, field func(*Config) *string) setting {
	return setting{path: at, help: help, want: "an absolute path", example: example,
		set: func(c *Config, v string) error { return setDir(field(c), v) }, get: func(c *Config) string { return *field(c) }}
}

func duration(at string, least, most time.Duration, help string, field func(*Config) *time.Duration) setting {
	return setting{path: at, help: help, want: durationText(least) + " to " + durationText(most),
		set: func(c *Config, v string) error { return setDuration(field(c), v, least, most) },
		get: func(c *Config) string { return durationText(*field(c)) }}
}

func durationOrOff(at string, least time.Duration, help string, field func(*Config) *time.Duration) setting {
	return setting{path: at, help: help, want: "`off`, or " + durationText(least) + " and more",
		set: func(c *Config, v string) error { return setDurationOrOff(field(c), v, least) },
		get: func(c *Config) string {
			if *field(c) == 0 {
				return off
			}
			return durationText(*field(c))
		}}
}

func size(at string, least, most int64, help string, field func(*Config) *int64) setting {
	return setting{path: at, help: help, want: sizeText(least) + " to " + sizeText(most),
		set: func(c *Config, v string) error { return setSize(field(c), v, least, most) },
		get: func(c *Config) string { return sizeText(*field(c)) }}
}

func sizeOrOff(at string, least int64, help string, field func(*Config) *int64) setting {
	return setting{path: at, help: help, want: "`off`, or " + sizeText(least) + " and more",
		set: func(c *Config, v string) error { return setSizeOrOff(field(c), v, least) },
		get: func(c *Config) string {
			if *field(c) == 0 {
				return off
			}
			return sizeText(*field(c))
		}}
}

func number[N int | uint32](at string, least, most uint64, help string, field func(*Config) *N) setting {
	return setting{path: at, help: help, want: fmt.Sprintf("%d to %d", least, most),
		set: func(c *Config, v string) error {
			n, err := parseNumber(v, least, most)
			if err == nil {
				*field(c) = N(n)
			}
			return err
		},
		get: func(c *Config) string { return fmt.Sprint(*field(c)) }}
}

func boolean(at, help string, field func(*Config) *bool) setting {
	return setting{path: at, help: help, want: "`true`, `false`",
		set: func(c *Config, v string) error { return setBool(field(c), v) }, get: func(c *Config) string { return strconv.FormatBool(*field(c)) }}
}

func choice(at string, choices []string, help string, field func(*Config) *string) setting {
	return setting{path: at, help: help, want: "`" + strings.Join(choices, "`, `") + "`",
		set: func(c *Config, v string) error { return setChoice(field(c), v, choices) }, get: func(c *Config) string { return *field(c) }}
}

// list is kept as one string with ", " between its items, so that a Config can
// be compared.
func list(at, want, help string, item func(string) (string, error), field func(*Config) *string) setting {
	return setting{path: at, help: help, want: "a list: " + want, item: item,
		set: func(c *Config, v string) error {
			var out []string
			if v != "none" {
				out = items(v)
			}
			for i := range out {
				var err error
				if out[i], err = item(out[i]); err != nil {
					return err
				}
			}
			*field(c) = strings.Join(out, ", ")
			return nil
		},
		get: func(c *Config) string { return "[" + *field(c) + "]" }}
}

// items splits what list keeps.
func items(s string) []string {
	return strings.FieldsFunc(s, func(c rune) bool { return c == ',' || c == ' ' })
}

const off = "off"

func orOff(s string) string {
	if s == "" {
		return off
	}
	return s
}

// durationText is what text.ParseDuration reads: 250ms, 30s, 1h30m, 7d.
func durationText(d time.Duration) string {
	days, rest := d/(24*time.Hour), d%(24*time.Hour)
	out := ""
	if days > 0 {
		out = fmt.Sprintf("%dd", days)
	}
	if rest == 0 && out != "" {
		return out
	}
	s := rest.String()
	s = strings.TrimSuffix(s, "m0s") + map[bool]string{true: "m"}[strings.HasSuffix(s, "m0s")]
	s = strings.TrimSuffix(s, "h0m") + map[bool]string{true: "h"}[strings.HasSuffix(s, "h0m")]
	return out + s
}

// sizeText is what text.ParseSize reads, in the largest unit that is exact.
func sizeText(n int64) string {
	best, unit := n, ""
	for _, u := range []struct {
		name string
		n    int64
	}{{"kB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12}, {"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40}} {
		if n != 0 && n%u.n == 0 && n/u.n < best {
			best, unit = n/u.n, u.name
		}
	}
	return strconv.FormatInt(best, 10) + unit
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
	if v == "auto" || v == off {
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

// ruleID takes the id of a rule. They are lower case everywhere.
func ruleID(v string) (string, error) {
	if strings.Trim(v, "abcdefghijklmnopqrstuvwxyz0123456789._-") != "" || v == "" {
		return "", fmt.Errorf("%q is no id of a rule", v)
	}
	return v, nil
}

// setQuiet takes hours of the day.
func setQuiet(to *string, v string) error {
	if v == off {
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
		return fmt.Errorf("%s is not between %s and %s", v, durationText(least), durationText(most))
	}
	*to = d
	return nil
}

func setDurationOrOff(to *time.Duration, v string, least time.Duration) error {
	if v == off {
		*to = 0
		return nil
	}
	d, err := text.ParseDuration(v)
	if err != nil {
		return err
	}
	if d < least {
		return fmt.Errorf("%s is less than %s (off for no bound)", v, durationText(least))
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
		return fmt.Errorf("%s is not between %s and %s", v, sizeText(least), sizeText(most))
	}
	*to = n
	return nil
}

func setSizeOrOff(to *int64, v string, least int64) error {
	if v == off {
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

func parseNumber(v string, least, most uint64) (uint64, error) {
	n, err := strconv.ParseUint(strings.ReplaceAll(v, "_", ""), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%q is no whole number", v)
	}
	if n < least || n > most {
		return 0, fmt.Errorf("%d is not between %d and %d", n, least, most)
	}
	return n, nil
}
