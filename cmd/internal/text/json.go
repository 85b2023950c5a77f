package text

import (
	"bytes"
	"encoding/json"
	"unicode"
	"unicode/utf8"
)

// JSON returns v as one line of JSON, without a line feed, in which every rune
// that is not printable is escaped. encoding/json alone leaves DEL, the C1
// controls (which some terminals obey) and bidirectional controls as they are.
func JSON(v any) ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return escapeJSON(bytes.TrimSuffix(buf.Bytes(), []byte("\n"))), nil
}

// escapeJSON rewrites what stands inside strings: outside of them JSON is
// printable ASCII.
func escapeJSON(line []byte) []byte {
	clean := true
	for _, c := range line {
		clean = clean && c >= 0x20 && c < 0x7f
	}
	if clean {
		return line
	}
	out := make([]byte, 0, len(line)+32)
	for i := 0; i < len(line); {
		r, size := utf8.DecodeRune(line[i:])
		switch {
		case r == utf8.RuneError && size <= 1:
			out = append(out, `\ufffd`...)
		case unicode.IsPrint(r):
			out = append(out, line[i:i+size]...)
		default:
			out = appendEscaped(out, r)
		}
		i += size
	}
	return out
}

func appendEscaped(out []byte, r rune) []byte {
	if r >= 0x10000 {
		r -= 0x10000
		out = appendEscaped(out, 0xd800+(r>>10))
		r = 0xdc00 + (r & 0x3ff)
	}
	const hex = "0123456789abcdef"
	return append(out, '\\', 'u', hex[r>>12&15], hex[r>>8&15], hex[r>>4&15], hex[r&15])
}
