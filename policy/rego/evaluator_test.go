package rego

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/topdown"
	"golang.org/x/sync/errgroup"

	"snitch/monitor/event"
	"snitch/policy/rule"
	"snitch/policy/rule/ruletest"
)

var equateEmpty = cmpopts.EquateEmpty()

// TestAgainstReference compares OPA with the words of the rules on random sets.
func TestAgainstReference(t *testing.T) {
	sets, facts := 300, 40
	if testing.Short() {
		sets = 60
	}
	matched := 0
	for seed := range sets {
		g := ruletest.New(uint64(seed))
		set := g.Set()
		e, err := New(t.Context(), set)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		for range facts {
			f := g.Facts(set)
			got, err := e.Votes(t.Context(), &f)
			if err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			want := reference(set, &f)
			matched += len(want.Rules) + len(want.Confine)
			if diff := cmp.Diff(want, got, equateEmpty); diff != "" {
				t.Fatalf("seed %d: votes (-want +got):\n%s\nfacts %+v\nmodule:\n%s", seed, diff, f, exported(t, set))
			}
		}
	}
	if matched < sets*facts/10 {
		t.Errorf("only %d matches in %d evaluations: the test shows little", matched, sets*facts)
	}
}

func exported(t *testing.T, set *rule.Set) string {
	t.Helper()
	text, err := Export(set)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestNoAnswer makes a failure an error and never an empty answer.
func TestNoAnswer(t *testing.T) {
	e, err := New(t.Context(), ruletest.Mixed(50))
	if err != nil {
		t.Fatal(err)
	}
	f := known()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if v, err := e.Votes(ended, &f); err == nil {
		t.Errorf("an ended context gives %v", v)
	}
	if v, err := e.Votes(t.Context(), &f); err != nil {
		t.Errorf("afterwards: %v, %v", v, err)
	}
}

// TestConcurrent shares one evaluator.
func TestConcurrent(t *testing.T) {
	set := ruletest.Mixed(300)
	e, err := New(t.Context(), set)
	if err != nil {
		t.Fatal(err)
	}
	var group errgroup.Group
	for worker := range 4 {
		group.Go(func() error {
			facts := ruletest.MixedFacts(300, 150)
			for i := range facts {
				f := &facts[(i+worker*7)%len(facts)]
				got, err := e.Votes(t.Context(), f)
				if err != nil {
					return err
				}
				if diff := cmp.Diff(reference(set, f), got, equateEmpty); diff != "" {
					return errors.New(diff)
				}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		t.Error(err)
	}
}

// TestSubjectCache forgets, and answers the same afterwards.
func TestSubjectCache(t *testing.T) {
	set := rule.NewSet([]rule.Rule{{ID: "x", Action: event.ActionAllow, Mode: event.ModeEnforce, Match: by(rule.ProcessMatch{Exe: paths("/bin/7*")})}}, nil, nil, nil)
	e, err := New(t.Context(), set)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 * maxSubjects {
		s := rule.Subject{Exe: fmt.Sprintf("/bin/%d", i), Kind: event.ExecutableFile}
		if got, want := len(e.in.subject(&s).holds) == 1, strings.HasPrefix(s.Exe, "/bin/7"); got != want {
			t.Fatalf("%s: %v", s.Exe, got)
		}
	}
	if kept := len(e.in.subjects.young) + len(e.in.subjects.old); kept > maxSubjects {
		t.Errorf("%d subjects are kept, more than %d", kept, maxSubjects)
	}
}

// FuzzFacts decides on hostile texts and compares.
func FuzzFacts(f *testing.F) {
	set := ruletest.New(3).SetOf(40, 3)
	e, err := New(f.Context(), set)
	if err != nil {
		f.Fatal(err)
	}
	f.Add("/usr/bin/git", "git push", "ci", "api.github.com", []byte{140, 82, 112, 5}, uint16(443), uint8(1))
	f.Add("container:c1:/usr/bin/git", "\xff\xfe*", "..", ".", []byte{0xfe, 0x80, 15: 1}, uint16(0), uint8(255))
	f.Fuzz(func(t *testing.T, exe, cmdline, user, domain string, addr []byte, port uint16, kind uint8) {
		facts := known()
		facts.Process = rule.Subject{Exe: exe, Kind: event.ExecutableKind(kind % 6), Cmdline: cmdline, Name: user, User: user, Cgroup: exe, Unit: cmdline, Script: domain}
		facts.Ancestors[0].Exe, facts.Ancestors[1].Cmdline = exe, cmdline
		facts.To.Addr, _ = netip.AddrFromSlice(addr)
		facts.To.Addr = facts.To.Addr.Unmap()
		facts.To.Port, facts.To.Names = port, []rule.Name{{Domain: domain, Trusted: kind&1 == 0}, {Domain: user, Trusted: true}}
		got, err := e.Votes(t.Context(), &facts)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(reference(set, &facts), got, equateEmpty); diff != "" {
			t.Fatal(diff)
		}
	})
}

// TestOddAnswer refuses an answer that is not two sets of ids.
func TestOddAnswer(t *testing.T) {
	for text, want := range map[string]bool{
		`{"a"}`: true,
		`set()`: true,
		`["a"]`: false,
		`{1}`:   false,
		`{}`:    false,
	} {
		if got, err := ids(topdown.QueryResult{rulesVar: ast.MustParseTerm(text)}, rulesVar); (err == nil) != want {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	if got, err := ids(topdown.QueryResult{}, rulesVar); err == nil {
		t.Errorf("nothing: %v", got)
	}
}
