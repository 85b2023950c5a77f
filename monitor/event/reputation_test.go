package event

import (
	"encoding/json"
	"testing"
)

// TestReputations reads what is written, and no other word.
func TestReputations(t *testing.T) {
	for _, r := range append(Reputations(), ReputationUnasked) {
		b, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		var got Reputation
		if err := json.Unmarshal(b, &got); err != nil || got != r {
			t.Errorf("%s reads as %d (%v)", b, got, err)
		}
		if asked := r != ReputationUnasked; asked != (r.String() != "") {
			t.Errorf("%d is called %q", r, r)
		}
	}
	got := ReputationClean
	if err := json.Unmarshal([]byte(`"Clean"`), &got); err == nil || got != ReputationClean {
		t.Errorf("Clean reads as %d (%v)", got, err)
	}
	if err := got.UnmarshalText([]byte(Reputation(200).String())); err == nil {
		t.Errorf("a number without a name reads as %d", got)
	}
}
