package main

import (
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"snitch/monitor/event"
	"snitch/monitor/store"
)

// TestPolicyStories runs testdata/script/*.txtar: what people and CI machines do
// with rules. They need no rights and no daemon.
func TestPolicyStories(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits":   exits,
			"junit":   junitLines,
			"github":  githubLines,
			"denied":  denied,
			"hostile": hostile,
			"json":    jsonLines,
		},
		Setup: func(env *testscript.Env) error {
			env.Setenv("NO_COLOR", "1")
			env.Setenv("TZ", "UTC")
			return nil
		},
	})
}

// exits runs a command and wants its exit code: exits CODE COMMAND ARG…
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND ARG…")
	}
	got := "0"
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var exit interface{ ExitCode() int }
		if !errors.As(err, &exit) {
			ts.Fatalf("run %q: %v", args[1:], err)
		}
		got = fmt.Sprint(exit.ExitCode())
	}
	if got != args[0] {
		ts.Fatalf("%q ends with %s, want %s", args[1:], got, args[0])
	}
}

// junitLines reads a JUnit file as a CI server does and writes a line for each
// case: junit FILE OUT.
func junitLines(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: junit FILE OUT")
	}
	var doc struct {
		XMLName xml.Name `xml:"testsuites"`
		Tests   int      `xml:"tests,attr"`
		Bad     int      `xml:"failures,attr"`
		Suites  []struct {
			Name  string `xml:"name,attr"`
			Cases []struct {
				Name    string `xml:"name,attr"`
				File    string `xml:"file,attr"`
				Line    int    `xml:"line,attr"`
				Failure *struct {
					Message string `xml:"message,attr"`
				} `xml:"failure"`
			} `xml:"testcase"`
		} `xml:"testsuite"`
	}
	ts.Check(xml.Unmarshal([]byte(ts.ReadFile(args[0])), &doc))
	var b strings.Builder
	fmt.Fprintf(&b, "%d tests, %d failures\n", doc.Tests, doc.Bad)
	for _, s := range doc.Suites {
		for _, c := range s.Cases {
			result := "ok"
			if c.Failure != nil {
				result = c.Failure.Message
			}
			fmt.Fprintf(&b, "%s | %s:%d | %s | %s\n", s.Name, c.File, c.Line, c.Name, result)
		}
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(b.String()), 0o600))
}

// githubLines reads workflow commands as GitHub's runner does and writes a line
// for each: github FILE OUT.
func githubLines(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: github FILE OUT")
	}
	data := strings.NewReplacer("%0D", "\r", "%0A", "\n", "%25", "%")
	property := strings.NewReplacer("%0D", "\r", "%0A", "\n", "%3A", ":", "%2C", ",", "%25", "%")
	var b strings.Builder
	for line := range strings.Lines(ts.ReadFile(args[0])) {
		rest, ok := strings.CutPrefix(strings.TrimSpace(line), "::")
		head, message, found := strings.Cut(rest, "::")
		name, properties, _ := strings.Cut(head, " ")
		if !ok || !found {
			ts.Fatalf("%q is no workflow command", line)
		}
		values := map[string]string{}
		for p := range strings.SplitSeq(properties, ",") {
			key, value, ok := strings.Cut(p, "=")
			if !ok {
				ts.Fatalf("property %q of %q", p, line)
			}
			values[key] = property.Replace(value)
		}
		fmt.Fprintf(&b, "%s %s:%s:%s [%s] %s\n", name, values["file"], values["line"], values["col"], values["title"], strings.ReplaceAll(data.Replace(message), "\n", " / "))
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(b.String()), 0o600))
}

// jsonLines wants a file to be one JSON document: json FILE.
func jsonLines(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: json FILE")
	}
	var v any
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[0])), &v))
}

// denied writes a database whose connections were allowed, then denied, then
// allowed again: denied DIR.
func denied(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: denied DIR")
	}
	rows := seeded()
	for i, would := range []event.Action{event.ActionAllow, event.ActionDeny, event.ActionAllow} {
		rows[i].Decision.Would, rows[i].Decision.Action = would, event.ActionAllow
	}
	s, err := store.Open(context.Background(), store.Config{Dir: ts.MkAbs(args[0]), Group: -1, Run: store.Run{Version: "test", Tier: "reference", Boot: "b"}})
	ts.Check(err)
	s.Append(store.Batch{Time: time.Now(), Connections: rows})
	ts.Check(errors.Join(s.Flush(context.Background()), s.Close()))
}
