package picosnitch

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"

	"snitch/cmd/internal/config"
	"snitch/cmd/internal/text"
)

// MaxConfig bounds a configuration, bytes.
const MaxConfig = 1 << 20

// DefaultKeyFile is where the key of VirusTotal goes.
const DefaultKeyFile = "/etc/snitch/virustotal.key"

// Result is a configuration that was converted.
type Result struct {
	Config   config.Config
	Secrets  []Secret
	Imported int // settings that were read
	Notes    []Note
}

// Secret is what belongs into a file that only root may read, and is shown nowhere.
type Secret struct{ What, File, Text string }

// Note says what is not as it was.
type Note struct {
	Setting string // of picosnitch
	Text    string
}

// converter collects a Result.
type converter struct {
	result  Result
	config  *config.Config
	keyFile string
	current string            // the setting that is applied
	after   []func() error    // what is set when all else is
	lists   map[string]string // by setting: what was added
}

// Convert reads a configuration of picosnitch, of either format. keyFile is where
// a key of VirusTotal will be, and beside it the password of an SQL server.
func Convert(data []byte, keyFile string) (*Result, error) {
	if len(data) > MaxConfig {
		return nil, fmt.Errorf("is larger than %s", text.Bytes(MaxConfig))
	}
	values, byName, err := read(data)
	if err != nil {
		return nil, err
	}
	c := &converter{keyFile: keyFile, lists: map[string]string{}}
	c.result.Config = config.Default()
	c.config = &c.result.Config
	for _, name := range slices.Sorted(maps.Keys(values)) {
		c.current = name
		c.one(byName[name], values[name])
	}
	for _, f := range c.after {
		if err := f(); err != nil {
			return nil, err
		}
	}
	return &c.result, nil
}

func (c *converter) one(s *setting, v any) {
	if s == nil {
		c.note("is no setting of picosnitch that is known here: not imported")
		return
	}
	err := s.apply(c, v)
	switch {
	case errors.Is(err, errDiffers):
		c.note("%s: %s", shown(v), s.here)
	case err != nil:
		c.note("%v: the default stays", err)
		return
	}
	c.result.Imported++
}

// note adds a note about the setting at hand. A secret is in none.
func (c *converter) note(format string, args ...any) {
	c.result.Notes = append(c.result.Notes, Note{c.current, fmt.Sprintf(format, args...)})
}

// add adds to a setting that is a list.
func (c *converter) add(to, item string) error {
	if strings.ContainsAny(item, ", []") {
		return fmt.Errorf("%s: %s is no single value", to, shown(item))
	}
	all := item
	if before := c.lists[to]; before != "" {
		all = before + ", " + item
	}
	before := *c.config
	if err := c.config.Set(to, all); err != nil {
		*c.config = before
		return err
	}
	c.lists[to] = all
	return nil
}

// read returns the values by name, and the settings of those names.
func read(data []byte) (values map[string]any, byName map[string]*setting, err error) {
	byName = map[string]*setting{}
	if trimmed := bytes.TrimSpace(data); len(trimmed) > 0 && trimmed[0] == '{' {
		for i := range settings {
			for _, name := range settings[i].json {
				byName[name] = &settings[i]
			}
		}
		values, err = readJSON(trimmed)
		return values, byName, err
	}
	for i := range settings {
		if name := settings[i].toml; name != "" {
			byName[name] = &settings[i]
		}
	}
	values, err = readTOML(data)
	return values, byName, err
}

func readJSON(data []byte) (map[string]any, error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	var all map[string]any
	if err := dec.Decode(&all); err != nil {
		return nil, fmt.Errorf("read JSON: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("read JSON: something follows the configuration")
	}
	if inner, ok := all["Config"].(map[string]any); ok { // its first versions kept all in one file
		return inner, nil
	}
	return all, nil
}

// readTOML flattens section.key; what is nested deeper is one value.
func readTOML(data []byte) (map[string]any, error) {
	var all map[string]any
	if err := toml.Unmarshal(data, &all); err != nil {
		var parse toml.ParseError
		if errors.As(err, &parse) {
			return nil, fmt.Errorf("read TOML: line %d: %s", parse.Position.Line, parse.Message)
		}
		return nil, fmt.Errorf("read TOML: %w", err)
	}
	out := map[string]any{}
	for section, v := range all {
		m, ok := v.(map[string]any)
		if !ok {
			out[section] = v
			continue
		}
		for key, v := range m {
			out[section+"."+key] = v
		}
	}
	return out, nil
}

// Markdown is the table of docs/picosnitch.md.
func Markdown() string {
	var b strings.Builder
	b.WriteString("| older versions (JSON) | newer versions (TOML) | here |\n|---|---|---|\n")
	for _, s := range settings {
		var old []string
		for _, name := range s.json {
			old = append(old, "`"+name+"`")
		}
		new := ""
		if s.toml != "" {
			new = "`" + s.toml + "`"
		}
		fmt.Fprintf(&b, "| %s | %s | %s |\n", strings.Join(old, ", "), new, s.here)
	}
	return b.String()
}
