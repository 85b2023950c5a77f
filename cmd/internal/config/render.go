package config

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// commentAt is the column of comments behind settings.
const commentAt = 28

// YAML is c as a file: every setting with its value and what it is. Reading it
// gives c again.
func (c *Config) YAML() string {
	var b strings.Builder
	comment(&b, fmt.Sprintf("version: %d", Version), "first line of every file")
	var open []string
	for _, s := range settings {
		keys := strings.Split(s.path, ".")
		for depth := 0; depth < len(keys)-1; depth++ {
			if depth < len(open) && open[depth] == keys[depth] {
				continue
			}
			section := strings.Join(keys[:depth+1], ".")
			if depth == 0 {
				b.WriteByte('\n')
			}
			comment(&b, strings.Repeat("  ", depth)+keys[depth]+":", sections[section])
			open = slices.Clone(keys[:depth+1])
		}
		if len(keys) == 1 && len(open) > 0 {
			b.WriteByte('\n')
		}
		open = slices.Clone(keys[:len(keys)-1])
		indent := strings.Repeat("  ", len(keys)-1)
		key, value := keys[len(keys)-1], s.get(c)
		if value == "" {
			comment(&b, indent+"# "+key+": "+s.example, s.help)
			continue
		}
		comment(&b, indent+key+": "+s.scalar(value), s.help)
	}
	return b.String()
}

func comment(b *strings.Builder, line, help string) {
	if help != "" {
		line = fmt.Sprintf("%-*s # %s", commentAt, line, help)
	}
	b.WriteString(line + "\n")
}

var plain = regexp.MustCompile(`^[A-Za-z0-9/][A-Za-z0-9/._:+ -]*$`)

// scalar writes a value so that YAML reads the same back.
func (s setting) scalar(v string) string {
	if s.item != nil {
		var out []string
		for _, i := range items(strings.Trim(v, "[]")) {
			out = append(out, quoted(i))
		}
		return "[" + strings.Join(out, ", ") + "]"
	}
	return quoted(v)
}

func quoted(v string) string {
	if plain.MatchString(v) && !strings.Contains(v, ": ") && !strings.Contains(v, " #") && !strings.HasSuffix(v, ":") && !strings.HasSuffix(v, " ") && !strings.EqualFold(v, "null") {
		return v
	}
	n := yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: v, Style: yaml.DoubleQuotedStyle}
	out, err := yaml.Marshal(&n)
	if err != nil { // a string always can be written
		return `""`
	}
	return strings.TrimSuffix(string(out), "\n")
}

// Value is one setting as `snitch config show` tells it.
type Value struct {
	Setting string `json:"setting"`
	Value   string `json:"value"`
	Default string `json:"default"`
	Changed bool   `json:"changed"` // it is not the default
	Live    bool   `json:"live"`    // SIGHUP is enough to change it
}

// Values are all settings of c, in the order of the file.
func (c *Config) Values() []Value {
	d := Default()
	out := make([]Value, 0, len(settings))
	for _, s := range settings {
		v := Value{Setting: s.path, Value: s.get(c), Default: s.get(&d), Live: s.live}
		v.Changed = v.Value != v.Default
		out = append(out, v)
	}
	return out
}

// Changes are the settings in which o differs from c: those that SIGHUP changes
// and those that count from the next start.
func (c *Config) Changes(o *Config) (live, later []string) {
	for _, s := range settings {
		switch {
		case s.get(c) == s.get(o):
		case s.live:
			live = append(live, s.path)
		default:
			later = append(later, s.path)
		}
	}
	return live, later
}

// TakeLive sets what SIGHUP changes to the values of o.
func (c *Config) TakeLive(o *Config) {
	for _, s := range settings {
		if v := s.get(o); s.live && v != s.get(c) {
			if s.item != nil {
				v = strings.Trim(v, "[]")
			}
			_ = s.set(c, v) // set has read it before
		}
	}
}
