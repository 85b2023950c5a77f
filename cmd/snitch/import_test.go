package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"snitch/monitor/event"
	"snitch/monitor/store"
)

const importedHash = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

// TestImport: after a move from picosnitch its connections are in the log, and what
// it knew is nothing new.
func TestImport(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "snitch.db")
	db, err := sql.Open("sqlite", file)
	if err != nil {
		t.Fatal(err)
	}
	at := time.Now().Add(-time.Hour).Unix()
	_, err = db.Exec(fmt.Sprintf(`PRAGMA user_version = 3;
CREATE TABLE connections (exe text, name text, cmdline text, sha256 text, contime text, domain text, raddr text, rport integer, uid integer, conns integer, send integer, recv integer);
INSERT INTO connections VALUES ('/usr/bin/curl', 'curl', 'curl x', '%[1]s', '%[2]d', 'org.example.www', '198.51.100.1', 443, 1000, 2, 5, 6),
 ('/usr/bin/true', 'true', 'true', '', '%[2]d', '', '', -1, 0, 1, 0, 0);`, importedHash, at))
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	known := filepath.Join(dir, "record.json")
	writeFile(t, known, `{"Executables": {"/usr/bin/wget": ["wget"]}, "SHA256": {"/usr/bin/wget": {"`+importedHash+`": ""}}}`)
	state := filepath.Join(dir, "state")
	out, err := snitchCommand("import", "--state", state, file, known).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "snitch.db: 2 rows, 0 known programs\n") || !strings.Contains(string(out), "record.json: 0 rows, 1 known program\n") {
		t.Fatalf("%v\n%s", err, out)
	}
	out, err = snitchCommand("log", "--state", state, "--json").Output()
	if err != nil || strings.Count(string(out), "\n") != 1 || !strings.Contains(string(out), `"domain":"www.example.org","domain_source":"reverse"`) || !strings.Contains(string(out), `"sent":5,"received":6`) {
		t.Errorf("%v\n%s", err, out)
	}
	digest, err := event.ParseDigest(importedHash)
	if err != nil {
		t.Fatal(err)
	}
	s, err := store.Open(context.Background(), store.Config{Dir: state, Group: -1, Run: store.Run{Version: "test", Tier: "reference", Boot: "b"}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	foresee := func(exe, remote string, sha event.Digest) []string {
		return s.Foresee(&event.Connection{ID: 1, Opened: time.Now(), Direction: event.Out, Family: event.AFInet, Proto: event.ProtoTCP, Remote: netip.MustParseAddrPort(remote),
			Process: &event.Process{Executable: event.Executable{Path: exe, Kind: event.ExecutableFile, SHA256: sha}}})
	}
	if got := foresee("/usr/bin/curl", "198.51.100.1:443", digest); len(got) != 0 {
		t.Errorf("curl is new: %v", got)
	}
	if got := foresee("/usr/bin/wget", "198.51.100.1:443", event.Digest{1}); len(got) != 2 { // another file, another place
		t.Errorf("a changed wget: %v", got)
	}
	if got := foresee("/usr/bin/nc", "198.51.100.1:443", digest); len(got) != 1 || got[0] != "program" {
		t.Errorf("nc: %v", got)
	}
}

// TestImportRefuses: what is nothing of picosnitch, and a directory that a daemon
// has, are refused.
func TestImportRefuses(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "garbage"), "garbage")
	writeFile(t, filepath.Join(dir, "fake.db"), sqliteMagic+strings.Repeat("x", 4000))
	for _, args := range [][]string{nil, {filepath.Join(dir, "none")}, {filepath.Join(dir, "garbage")}, {filepath.Join(dir, "fake.db")}, {"/dev/zero"}} {
		cmd := snitchCommand(append([]string{"import", "--state", filepath.Join(dir, "state")}, args...)...)
		if out, err := cmd.CombinedOutput(); cmd.ProcessState.ExitCode() != exitUsage {
			t.Errorf("%q: %v\n%s", args, err, out)
		}
	}
	state, err := openState(filepath.Join(dir, "taken"))
	if err != nil {
		t.Fatal(err)
	}
	defer state.Close()
	cmd := snitchCommand("import", "--state", filepath.Join(dir, "taken"), filepath.Join(dir, "garbage"))
	if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "another snitch runs") {
		t.Errorf("%v\n%s", err, out)
	}
	if _, err := os.Stat(filepath.Join(dir, "none")); err == nil {
		t.Error("a file was made")
	}
}
