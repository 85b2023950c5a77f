package process

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"snitch/monitor/event"
)

// opened is the descriptor of a file that is about to run.
func opened(t *testing.T, path string) int {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return int(f.Fd())
}

// TestComing tells what a process becomes before it does: a program, a script by
// its interpreter, and when it cannot be told.
func TestComing(t *testing.T) {
	b := newBench(t)
	dir := t.TempDir()
	sh := shell(t, dir, "prog")
	pid := start(t, command(sh, "-c", waiting))
	all := Need{Digest: true, Script: true, ScriptDigest: true}
	coming := func(path string, need Need) (*event.Process, bool) {
		t.Helper()
		return b.Coming(context.Background(), uint32(pid), opened(t, path), need)
	}
	if p, met := coming(sh, all); p != nil || met {
		t.Errorf("a process that nobody told of: %+v, met %t", p, met)
	}
	now := b.settled(observed(t, pid, 7).ID)

	program := shell(t, dir, "other")
	p, _ := coming(program, all)
	if p == nil {
		t.Fatal("nothing is known of a program")
	}
	checkExe(t, p, program, "", event.ExecutableFile, content(t, program))
	if p.Name != "other" || p.Parent != now.Parent || p.Script != nil || len(p.Args) != 0 || p.ID.PID != uint32(pid) || p.ID.Exec != now.ID.Exec+1 {
		t.Errorf("becomes %+v", p)
	}

	script, nested := filepath.Join(dir, "script"), filepath.Join(dir, "nested")
	for path, text := range map[string]string{script: "#! " + program + " -e\ntrue\n", nested: "#!" + script + "\n"} {
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, chain := range [][]string{{script}, {nested, script}} {
		for _, path := range chain {
			if p, met := coming(path, all); p != nil || !met {
				t.Errorf("a script is no program: %+v", p)
			}
		}
		p, _ = coming(program, all)
		if p == nil || p.Script == nil || p.Script.Path != chain[0] || p.Script.SHA256 != content(t, chain[0]) || p.Executable.Path != program {
			t.Fatalf("the interpreter of %s: %+v", chain[0], p)
		}
	}
	if p, _ = coming(program, all); p == nil || p.Script != nil {
		t.Errorf("the script of another exec: %+v", p)
	}

	// What failed between script and interpreter is not the script of the next.
	if err := os.WriteFile(script, []byte("#!/nowhere\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if p, _ = coming(script, all); p != nil {
		t.Errorf("a script is no program: %+v", p)
	}
	if p, _ = coming(program, all); p == nil || p.Script != nil {
		t.Errorf("a script whose interpreter is not there: %+v", p)
	}

	// What nobody can see yet.
	interpreter := shell(t, dir, "python3.13")
	if p, met := coming(interpreter, all); p != nil || !met {
		t.Errorf("an interpreter's script is in its arguments: %+v", p)
	}
	if p, _ = coming(interpreter, Need{}); p == nil {
		t.Error("nobody asks for scripts: an interpreter is a program")
	}
	if p, _ = coming(program, Need{Name: true}); p != nil {
		t.Errorf("it may be started by a link of another name: %+v", p)
	}
}

// TestComingLate: what is not read in time is pending, and nothing leaks.
func TestComingLate(t *testing.T) {
	b := newBench(t)
	sh := shell(t, t.TempDir(), "prog")
	pid := start(t, command(sh, "-c", waiting))
	b.settled(observed(t, pid, 7).ID)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	p, _ := b.Coming(ctx, uint32(pid), opened(t, sh), Need{Digest: true})
	if p == nil || p.Executable.Reason != event.HashPending && p.Executable.Reason != event.HashKnown {
		t.Errorf("got %+v", p)
	}
}

func FuzzParseLine(f *testing.F) {
	for _, line := range []string{"#!/bin/sh\n", "#! \t/usr/bin/env python3 -u\n", "#!", "#!/x\x00y", "\x7fELF", "#!" + strings.Repeat("a", maxLine)} {
		f.Add([]byte(line))
	}
	f.Fuzz(func(t *testing.T, head []byte) {
		got := parseLine(head)
		if strings.ContainsAny(got, " \t\n\x00") || len(got) > len(head) || got != "" && !strings.HasPrefix(string(head), "#!") {
			t.Errorf("%q: %q", head, got)
		}
	})
}
