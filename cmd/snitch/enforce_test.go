package main

import (
	"bytes"
	"context"
	"errors"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"

	"snitch/cmd/internal/control"
	"snitch/enforce"
	"snitch/monitor/event"
	"snitch/monitor/store"
	"snitch/monitor/store/query"
	"snitch/policy/bundle"
	"snitch/policy/rule"
)

// TestRecordedProtectedRules: a set that was enforced is read back from the
// record as it was, sessions included, and can be looked at again.
func TestRecordedProtectedRules(t *testing.T) {
	ctx, dir := t.Context(), t.TempDir()
	p := enforce.Protected{Sessions: []enforce.Session{{Peer: netip.MustParseAddr("203.0.113.9"), Local: netip.MustParseAddrPort("192.0.2.7:22")}}}
	files := []bundle.File{{Path: "a.yaml", Data: []byte("version: 1\nrules:\n  - {id: no-ssh, action: deny, to: {port: 22}}\n")}}
	plain, err := loadSnapshot(&bundle.Snapshot{Files: files})
	if err != nil {
		t.Fatal(err)
	}
	set, err := p.Merge(plain)
	if err != nil {
		t.Fatal(err)
	}
	data, err := p.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	s, err := store.Open(ctx, store.Config{Dir: dir, Group: -1, Run: store.Run{Version: "test", Tier: "reference", Boot: "b"}})
	if err != nil {
		t.Fatal(err)
	}
	err = s.PutRuleSet(set.Revision, []store.RuleFile{{Path: "a.yaml", Data: files[0].Data}, {Path: enforce.ProtectedFile, Data: data}})
	if err := errors.Join(err, s.Flush(ctx), s.Close()); err != nil {
		t.Fatal(err)
	}
	rows, err := (&HistoryOptions{History: filepath.Join(dir, "snitch.db")}).open(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.db.Close()
	kept, err := rows.db.RuleSets(ctx)
	if err != nil || len(kept) != 1 {
		t.Fatalf("%v, %v", kept, err)
	}
	back, err := rows.ruleSet(ctx, query.RuleSet{ID: kept[0].ID, Revision: kept[0].Revision})
	if err != nil {
		t.Fatal(err)
	}
	if back.Revision != set.Revision || back.Rule("snitch.protected.ssh-1") == nil || len(back.Rule("no-ssh").Except) != 2 {
		t.Errorf("read back: %+v", back)
	}
	if _, err := wouldDeny(ctx, rows, back, nil); err != nil {
		t.Errorf("look at it again: %v", err)
	}
}

// TestPanicRemoves: what backends left is removed although one of them fails,
// and the failure is told.
func TestPanicRemoves(t *testing.T) {
	dir := t.TempDir()
	var removed []string
	works := func(name string) remover {
		return remover{what: name, remove: func(_ context.Context, state string) error {
			if !enforce.Panicked(state) {
				t.Error("the mark comes first")
			}
			removed = append(removed, name)
			return nil
		}}
	}
	fails := remover{what: "nft table", remove: func(context.Context, string) error { return errors.New("busy") }}
	var out, errOut bytes.Buffer
	io := stdio{out: &out, err: &errOut}
	err := runEnforcePanic(t.Context(), io, EnforceOptions{State: dir}, []remover{works("links"), fails, works("queue")})
	if err == nil || strings.Join(removed, " ") != "links queue" || !strings.Contains(out.String(), "FAILED   nft table: busy") {
		t.Errorf("%v, %v\n%s", err, removed, out.String())
	}
}

func TestEnforceLines(t *testing.T) {
	r := enforce.Report{Mode: event.ModeEnforce, Source: enforce.SourceSaved, By: "root\x1b[2J", Armed: true, Fail: enforce.FailAuto,
		Backend: &enforce.Status{Backend: "cgroup", Mode: event.ModeEnforce, Denied: 7, Unheld: []enforce.Unheld{{Rule: "a", Pos: rule.Position{File: "a.yaml", Line: 3, Col: 5}, Reason: "no LSM"}}}}
	e := reported(r)
	e.Left = 42
	got := enforceLines(e, r.Since)
	for _, want := range []string{"ROLLED BACK in 42s unless confirmed", "fail-open: connections pass, always so until confirmed", "7 denied", "NOT ENFORCED: a (a.yaml:3:5): no LSM"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in\n%s", want, got)
		}
	}
	if strings.ContainsRune(got, 0x1b) {
		t.Error("it moves the terminal")
	}
	for err, code := range map[error]int{control.ErrNotRunning: exitNo, control.ErrNotRoot: exitNo, control.ErrNoEnforcement: exitLacks} {
		if got := conclude(&bytes.Buffer{}, enforceError(err)); got != code {
			t.Errorf("%v: exit %d, want %d", err, got, code)
		}
	}
}
