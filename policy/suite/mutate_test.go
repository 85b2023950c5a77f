package suite

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"snitch/policy/rule"
)

// TestMutantsOfOneRule names every mistake that is tried with a rule that has
// everything, and one that has hardly anything.
func TestMutantsOfOneRule(t *testing.T) {
	cfg := load(t, map[string]string{"a.yaml": `version: 1
confine: [{id: c, process: {exe: /a, user: u}, except: [{process: {uid: 0}}]}]
rules:
  - id: d
    action: deny
    process: {exe: /a, ancestor: {name: x}}
    to: {host: [a.org, .b.org], port: 0-65535, scope: lan}
    direction: [out, in]
    novelty: program
    except: [{process: {exe: /b}}, {to: {port: 1}}]
`})
	var got []string
	for _, m := range mutants(cfg.Set) {
		got = append(got, m.ID+": "+m.Change)
	}
	want := []string{
		"d: remove the rule", "d: allow instead of deny", "d: mode audit instead of enforce", "d: drop exception 1", "d: drop exception 2",
		"d: drop process.exe", "d: drop process.ancestor", "d: drop process.ancestor.name", "d: drop to.host", "d: drop to.port", "d: drop to.scope",
		"d: widen to.host by a label or a bit", "d: drop direction", "d: drop novelty",
		"c: remove the confinement", "c: mode audit instead of enforce", "c: drop exception 1", "c: drop process.exe", "c: drop process.user",
	}
	if d := cmp.Diff(got, want); d != "" {
		t.Errorf("mutants, -got +want:\n%s", d)
	}
}

// thorough kills every mutant of the rules above: a hit and the near misses.
const thorough = tests + `  - name: git is confined
    when: {process: {exe: /usr/bin/git, user: ci, parent: {exe: /opt/runner/2.3/bin/Worker}}, to: "tcp://example.org[203.0.113.1]:443"}
    expect: {action: deny, rule: git-locked}
  - name: curl is not
    when: {process: {exe: /usr/bin/curl}, to: "tcp://example.org[203.0.113.1]:443"}
    expect: {action: alert, rule: none, matches: none}
  - name: the collector may paste
    when: {process: {exe: /usr/bin/ir-collector}, to: "tcp://pastebin.com[203.0.113.1]:443"}
    expect: {action: alert, rule: none}
  - name: another user
    when: {process: {exe: /usr/bin/git, user: eve, parent: {exe: /opt/runner/2.3/bin/Worker}}, to: "tcp://github.com[140.82.112.5]:443"}
    expect: {action: deny, rule: git-locked}
  - name: another parent
    when: {process: {exe: /usr/bin/git, user: ci, parent: {exe: /bin/sh}}, to: "tcp://github.com[140.82.112.5]:443"}
    expect: {action: deny, rule: git-locked}
  - name: another port
    when: {process: {exe: /usr/bin/git, user: ci, parent: {exe: /opt/runner/2.3/bin/Worker}}, to: "tcp://github.com[140.82.112.5]:444"}
    expect: {action: deny, rule: git-locked}
  - name: another protocol
    when: {process: {exe: /usr/bin/git, user: ci, parent: {exe: /opt/runner/2.3/bin/Worker}}, to: "udp://github.com[140.82.112.5]:443"}
    expect: {action: deny, rule: git-locked}
  - name: a neighbour of the network
    when: {process: {exe: /usr/bin/git, user: ci, parent: {exe: /opt/runner/2.3/bin/Worker}}, to: "tcp://11.0.0.1:443"}
    expect: {action: deny, rule: git-locked}
  - name: another program under the runner
    when: {process: {exe: /usr/bin/curl, user: ci, parent: {exe: /opt/runner/2.3/bin/Worker}}, to: "tcp://github.com[140.82.112.5]:443"}
    expect: {action: alert, rule: none}
  - name: telnet over udp is none
    when: {process: {exe: /usr/bin/telnet}, to: "udp://203.0.113.1:23"}
    expect: {action: alert, matches: none}
  - name: a port beside telnet's
    when: {process: {exe: /usr/bin/telnet}, to: "tcp://203.0.113.1:24"}
    expect: {action: alert, matches: none}
`

func TestMutation(t *testing.T) {
	cfg := load(t, map[string]string{"a.yaml": rules, "a_test.yaml": tests})
	cfg.Mutate = true
	weak := run(t, cfg).Mutation
	if weak.Killed == 0 || weak.Score() > 60 {
		t.Errorf("three cases kill %d of %d", weak.Killed, weak.Total())
	}
	for _, m := range weak.Survivors {
		if m.Pos.File != "a.yaml" || m.Pos.Line == 0 {
			t.Errorf("%s: %s has position %s", m.ID, m.Change, m.Pos)
		}
	}
	cfg = load(t, map[string]string{"a.yaml": rules, "a_test.yaml": thorough})
	cfg.Mutate = true
	r := run(t, cfg)
	for _, res := range r.Results {
		if !res.Passed() {
			t.Errorf("%s: %s", res.Name, res.Message())
		}
	}
	for _, m := range r.Mutation.Survivors {
		t.Errorf("survived: %s: %s", m.ID, m.Change)
	}
	if r.Mutation.Total() != weak.Total() || r.Mutation.Score() != 100 {
		t.Errorf("%d of %d killed", r.Mutation.Killed, r.Mutation.Total())
	}
}

// TestMutantsByOPA lets OPA decide the mutants of the rules as whole sets, which
// must say the same as the shortcut of one vote.
func TestMutantsByOPA(t *testing.T) {
	cfg := load(t, map[string]string{"a.yaml": rules, "a_test.yaml": tests})
	cfg.Mutate = true
	var survivors []string
	for _, m := range run(t, cfg).Mutation.Survivors {
		survivors = append(survivors, m.ID+": "+m.Change)
	}
	var slow []string
	for _, m := range mutants(cfg.Set) {
		set := applied(cfg.Set, m)
		opa, err := NewOPA(t.Context(), set)
		if err != nil {
			t.Fatal(err)
		}
		r := run(t, Config{Set: set, Tests: cfg.Tests, Voter: opa, Now: now})
		if r.Failed() == 0 {
			slow = append(slow, m.ID+": "+m.Change)
		}
	}
	if d := cmp.Diff(survivors, slow); d != "" {
		t.Errorf("survivors, -shortcut +OPA:\n%s", d)
	}
}

// applied is the set with a mutant in it.
func applied(set *rule.Set, m Mutant) *rule.Set {
	var rules []rule.Rule
	var confine []rule.Confine
	for _, r := range set.Rules {
		switch {
		case r.ID != m.ID:
			rules = append(rules, r)
		case m.rule != nil:
			rules = append(rules, *m.rule)
		}
	}
	for _, c := range set.Confine {
		switch {
		case c.ID != m.ID:
			confine = append(confine, c)
		case m.confine != nil:
			confine = append(confine, *m.confine)
		}
	}
	var lists []*rule.List
	for _, l := range set.Lists {
		lists = append(lists, l)
	}
	return rule.NewSet(rules, confine, lists, nil)
}
