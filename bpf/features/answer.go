package features

import "fmt"

// Answer is what a probe found out.
type Answer uint8

const (
	// Unknown means that the probe could not be run to its end. Asking again
	// may give another answer.
	Unknown Answer = iota
	// Yes means that the thing was run and worked.
	Yes
	// No means that the kernel refused it, or took it and never ran it.
	No
)

// String returns unknown, yes or no.
func (a Answer) String() string {
	switch a {
	case Unknown:
		return "unknown"
	case Yes:
		return "yes"
	case No:
		return "no"
	}
	return fmt.Sprintf("answer(%d)", uint8(a))
}

// MarshalText writes the answer's name.
func (a Answer) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (a *Answer) UnmarshalText(text []byte) error {
	for _, known := range []Answer{Unknown, Yes, No} {
		if known.String() == string(text) {
			*a = known
			return nil
		}
	}
	return fmt.Errorf("answer %q is not one of unknown, yes, no", text)
}

// Result is one probe's answer. Reason is empty for a plain yes; Consequence
// says what the product loses, and is empty when it loses nothing.
type Result struct {
	Feature     Feature `json:"name"`
	Answer      Answer  `json:"answer"`
	Reason      string  `json:"reason,omitempty"`
	Consequence string  `json:"consequence,omitempty"`
}

func (r Result) String() string {
	text := r.Feature.String() + ": " + r.Answer.String()
	if r.Reason != "" {
		text += " (" + r.Reason + ")"
	}
	return text
}
