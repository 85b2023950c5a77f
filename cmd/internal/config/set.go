package config

import (
	"fmt"
	"strings"

	"snitch/cmd/internal/text"
)

// Set sets one setting by its path, as the file would; a value that the file may
// not have is an error.
func (c *Config) Set(path, value string) error {
	s, ok := find(path)
	if !ok {
		if near := text.Nearest(path, paths()); near != "" {
			return fmt.Errorf("unknown setting %q: did you mean %q?", path, near)
		}
		return fmt.Errorf("unknown setting %q", path)
	}
	if s.item != nil {
		value = strings.Trim(value, "[]")
	}
	if err := s.set(c, value); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

func paths() []string {
	out := make([]string, len(settings))
	for i, s := range settings {
		out[i] = s.path
	}
	return out
}
