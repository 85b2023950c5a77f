package picosnitch

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
)

// The values of settings, from either format.

func asBool(v any) (bool, error) {
	if b, ok := v.(bool); ok {
		return b, nil
	}
	return false, fmt.Errorf("%s is neither true nor false", shown(v))
}

func asString(v any) (string, error) {
	if s, ok := v.(string); ok {
		return s, nil
	}
	return "", fmt.Errorf("%s is no text", shown(v))
}

func asNumber(v any) (float64, error) {
	n := math.NaN()
	switch x := v.(type) {
	case json.Number:
		if f, err := x.Float64(); err == nil {
			n = f
		}
	case int64:
		n = float64(x)
	case float64:
		n = x
	}
	if math.IsNaN(n) || n < 0 || n > 1e12 {
		return 0, fmt.Errorf("%s is no number that makes sense", shown(v))
	}
	return n, nil
}

func asList(v any) ([]any, error) {
	if l, ok := v.([]any); ok {
		return l, nil
	}
	return nil, fmt.Errorf("%s is no list", shown(v))
}

// asText is a word or number of a list.
func asText(v any) (string, error) {
	if s, ok := v.(string); ok {
		return s, nil
	}
	n, err := asNumber(v)
	if err != nil || n != math.Trunc(n) {
		return "", fmt.Errorf("%s is neither a text nor a whole number", shown(v))
	}
	return strconv.FormatFloat(n, 'f', 0, 64), nil
}

// shown is a value in a message, cut. Tables hold passwords and are not shown.
func shown(v any) string {
	if _, table := v.(map[string]any); table {
		return "a table"
	}
	s := fmt.Sprintf("%q", fmt.Sprint(v))
	if len(s) > 80 {
		s = s[:80] + "…"
	}
	return s
}
