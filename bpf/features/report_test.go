package features

import (
	"strings"
	"testing"
)

// reportOf has a yes for every feature but those.
func reportOf(missing ...Feature) Report {
	var r Report
	for _, f := range All() {
		result := Result{Feature: f, Answer: Yes}
		for _, m := range missing {
			if f == m {
				result = Result{Feature: f, Answer: No, Reason: "of a test"}
			}
		}
		r.Results = append(r.Results, result)
	}
	return r
}

func TestReportTier(t *testing.T) {
	for _, test := range []struct {
		name string
		r    Report
		want Tier
		why  string
	}{
		{"everything", reportOf(), TierReference, ""},
		{"6.1", reportOf(SendTracepoint, RecvTracepoint), TierFexit,
			"reference: tp_btf/sock_send_length: no (of a test)"},
		{"6.1 locked down", reportOf(SendTracepoint, FexitSend, FexitRecv), TierCounters,
			"fexit: fexit/inet_sendmsg: no (of a test)"},
		{"5.10", reportOf(SendTracepoint, TracingStorage), TierCounters,
			"fexit: sk_storage in tracing: no (of a test)"},
		{"no ring", reportOf(RingBuffer), TierInvalid, "counters: ring buffer: no (of a test)"},
		{"nothing asked", Report{}, TierInvalid, "counters: btf: unknown (not probed)"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, why := test.r.Tier()
			if got != test.want || !strings.Contains(strings.Join(why, "\n"), test.why) {
				t.Errorf("got %v because %q, want %v because %q", got, why, test.want, test.why)
			}
		})
	}
}

func TestReportRuns(t *testing.T) {
	if ok, why := reportOf().Runs(TierCounters); !ok || why != "" {
		t.Errorf("a kernel with everything does not run counters: %s", why)
	}
	if ok, why := reportOf(FexitSend).Runs(TierFexit); ok || why != "fexit/inet_sendmsg: no (of a test)" {
		t.Errorf("got %v, %q", ok, why)
	}
	if ok, _ := reportOf().Runs(TierAuto); ok {
		t.Error("auto is a tier that runs")
	}
}

func TestTierNames(t *testing.T) {
	for _, tier := range []Tier{TierAuto, TierReference, TierFexit, TierCounters} {
		if got, err := ParseTier(tier.String()); got != tier || err != nil {
			t.Errorf("ParseTier(%q) is %v, %v", tier, got, err)
		}
	}
	for _, name := range []string{"", "invalid", "Reference", "tier(9)"} {
		if got, err := ParseTier(name); got != TierInvalid || err == nil {
			t.Errorf("ParseTier(%q) is %v, %v", name, got, err)
		}
	}
}

func TestFeatureNames(t *testing.T) {
	seen := map[string]bool{}
	for _, f := range All() {
		if seen[f.String()] || f.String() == "" || facts[f].consequence == "" {
			t.Errorf("feature %d is called %q and costs %q", f, f, facts[f].consequence)
		}
		seen[f.String()] = true
		var back Feature
		if err := back.UnmarshalText([]byte(f.String())); err != nil || back != f {
			t.Errorf("%v reads back as %v, %v", f, back, err)
		}
	}
}
