package explain

import (
	"encoding/json"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"snitch/monitor/event"
	"snitch/policy/rule"
	"snitch/policy/table"
)

var update = flag.Bool("update", false, "write the golden files")

// TestGolden prints explanations of an example as people and programs read them.
func TestGolden(t *testing.T) {
	tab := table.Compile(exampleSet())
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name   string
		change func(*rule.Facts)
		custom []rule.CustomVote
	}{
		{name: "allowed", change: func(*rule.Facts) {}},
		{name: "wrong-user", change: func(f *rule.Facts) { f.Process.User = "alice" }},
		{name: "untrusted-name", change: func(f *rule.Facts) { f.To.Names[0].Trusted, f.To.Names[0].Source = false, event.NameSNI }},
		{name: "paste", change: func(f *rule.Facts) {
			f.Process.Exe, f.To.Names[0].Domain = "/usr/bin/curl", "a.pastebin.com"
		}},
		{name: "exception", change: func(f *rule.Facts) {
			f.Process.Exe, f.To.Names[0].Domain = "/usr/bin/ir-collector", "pastebin.com"
		}},
		{name: "no-rule", change: func(f *rule.Facts) { f.Process.Exe, f.To.Port = "/tmp/\x1b[31mx", 9 }},
		{name: "custom", change: func(*rule.Facts) {}, custom: []rule.CustomVote{{ID: "custom.hours.night", Action: event.ActionAlert,
			Reason: "at night", Pos: rule.Position{File: "hours.rego", Line: 4, Col: 1}}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := exampleFacts()
			c.change(&f)
			e := Explain(tab, &f, now, c.custom...)
			asJSON, err := json.MarshalIndent(e, "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			golden(t, c.name+".txt", e.Text())
			golden(t, c.name+".json", string(asJSON)+"\n")
		})
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got; -update writes it):\n%s", name, diff)
	}
}

func exampleFacts() rule.Facts {
	return rule.Facts{
		Process: rule.Subject{Exe: "/usr/bin/git", Kind: event.ExecutableFile, User: "ci", UID: 900, HasUID: true, Unit: rule.None},
		Ancestors: []rule.Subject{{Exe: "/opt/runner/2.3/bin/Worker", Kind: event.ExecutableFile, User: "ci"},
			{Exe: "/usr/lib/systemd/systemd", Kind: event.ExecutableFile, User: "root"}},
		Direction: event.Out, Proto: "tcp",
		To: rule.Endpoint{Addr: netip.MustParseAddr("140.82.112.5"), Port: 443, HasPort: true,
			Names: []rule.Name{{Domain: "api.github.com", Source: event.NameDNS, Trusted: true}}},
	}
}

// exampleSet is that of policy.md, with a confinement and rules in audit.
func exampleSet() *rule.Set {
	exe := func(texts ...string) (out []rule.Pattern) {
		for _, text := range texts {
			out = append(out, rule.Pattern{Text: text, Kind: rule.PathPattern})
		}
		return out
	}
	at := func(line int) rule.Position { return rule.Position{File: "ci.yaml", Line: line, Col: 5} }
	out := []event.Direction{event.Out}
	return rule.NewSet([]rule.Rule{
		{ID: "ci-git-github", Action: event.ActionAllow, Mode: event.ModeEnforce, Reason: "CI clones over HTTPS", Pos: at(6), Match: rule.Match{
			Process: &rule.ProcessMatch{Exe: exe("/usr/bin/git"), User: []string{"ci"}, Parent: &rule.ProcessMatch{Exe: exe("/opt/runner/*/bin/Worker")}},
			To: &rule.EndpointMatch{Host: []rule.Host{{Kind: rule.HostName, Name: "github.com"}, {Kind: rule.HostBelow, Name: "github.com"},
				{Kind: rule.HostNet, Net: netip.MustParsePrefix("10.0.0.0/8")}}, Port: []rule.PortRange{{First: 443, Last: 443}, {First: 8000, Last: 8099}},
				Proto: []string{"tcp"}}, Direction: out}},
		{ID: "no-paste", Action: event.ActionDeny, Mode: event.ModeEnforce, Pos: at(11), Match: rule.Match{
			To: &rule.EndpointMatch{Host: []rule.Host{{Kind: rule.HostSuffix, Name: "pastebin.com"}}}, Direction: out},
			Except: []rule.Match{{Process: &rule.ProcessMatch{Exe: exe("/usr/bin/ir-collector")}}}},
		{ID: "no-tmp", Action: event.ActionDeny, Mode: event.ModeAudit, Reason: "programs in /tmp", Pos: at(15),
			Match: rule.Match{Process: &rule.ProcessMatch{Exe: exe("/tmp/**")}}},
		{ID: "old-allow", Action: event.ActionAllow, Mode: event.ModeEnforce, Pos: at(18), Expires: time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC),
			Match: rule.Match{Process: &rule.ProcessMatch{Exe: exe("/usr/bin/*")}}},
	}, []rule.Confine{
		{ID: "git-locked", Mode: event.ModeEnforce, Pos: at(3), Process: &rule.ProcessMatch{Exe: exe("/usr/bin/git")}},
	}, nil, nil)
}
