package main

import (
	"bufio"
	"encoding/csv"
	"encoding/json"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"snitch/bpf/bpftest"
	"snitch/monitor/event"
	"snitch/monitor/export"
)

// syslogServer takes framed messages over TCP.
func syslogServer(t *testing.T) (address string, messages func() []string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	var mu sync.Mutex
	var got []string
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		r := bufio.NewReader(conn)
		for {
			length, err := r.ReadString(' ')
			n, atoiErr := strconv.Atoi(strings.TrimSpace(length))
			if err != nil || atoiErr != nil {
				return
			}
			b := make([]byte, n)
			if _, err := io.ReadFull(r, b); err != nil {
				return
			}
			mu.Lock()
			got = append(got, string(b))
			mu.Unlock()
		}
	}()
	return l.Addr().String(), func() []string {
		mu.Lock()
		defer mu.Unlock()
		return append([]string{}, got...)
	}
}

// TestRecords: what happens is in the logs and at the syslog server, as it is in
// the record; warnings are in the log of errors.
func TestRecords(t *testing.T) {
	if testing.Short() {
		t.Skip("short: runs the daemon for long")
	}
	group, err := bpftest.OpenCgroup()
	if err != nil {
		t.Fatal(err)
	}
	defer group.Close()
	address, messages := syslogServer(t)
	config := filepath.Join(t.TempDir(), "config.yaml")
	writeFile(t, config, "version: 1\nrecords: {connections: json, syslog: {to: \"tcp://"+address+"\", send: connections}}\n")
	d := startDaemon(t, nil, "--config", config, "--cgroup", group.Dir(), "--interval", "1h")
	talkIn(t, group, "/proc/self/exe", "1111", "22")
	logs := func(name string) string {
		b, _ := os.ReadFile(filepath.Join(d.state, "log", name)) // not there yet
		return string(b)
	}
	eventually(t, "the connection is in the log, to its end", func() bool {
		return strings.Contains(lineWith(logs("connections.jsonl"), `"event":"closed"`, `"direction":"out"`), `"sent":1111,"received":22`)
	})
	eventually(t, "the program is in the history", func() bool { return strings.Contains(logs("programs.jsonl"), `"what":["program"`) })
	eventually(t, "the connection is at the syslog server", func() bool {
		return strings.Contains(strings.Join(messages(), "\n"), `[snitch@32473 event="closed"`)
	})
	writeFile(t, config, "version: 1\ntier: wrong\n")
	d.signal(t, syscall.SIGHUP)
	eventually(t, "the fault is in the log of errors", func() bool {
		return strings.Contains(logs("errors.jsonl"), `"level":"ERROR","msg":"the configuration does not load`)
	})
	eventually(t, "the outputs are well", func() bool {
		for _, o := range d.status(t).Outputs {
			if o.Written == 0 && o.Name != "connections" || o.Lost != 0 || o.Error != "" {
				return false
			}
		}
		return len(d.status(t).Outputs) == 3
	})
	for line := range strings.Lines(logs("connections.jsonl") + logs("programs.jsonl") + logs("errors.jsonl")) {
		if !json.Valid([]byte(line)) {
			t.Errorf("no JSON: %q", line)
		}
	}
	for _, name := range []string{"connections.jsonl", "programs.jsonl", "errors.jsonl"} {
		if info, err := os.Stat(filepath.Join(d.state, "log", name)); err != nil || info.Mode().Perm() != 0o640 {
			t.Errorf("%s: %v %v", name, info, err)
		}
	}
	d.signal(t, syscall.SIGTERM)
	d.end(t)
}

// TestNoLogs: a directory of logs that cannot be used is said in status and by an
// alert; the daemon records all the same.
func TestNoLogs(t *testing.T) {
	if testing.Short() {
		t.Skip("short: runs the daemon")
	}
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "logs"), "a file")
	config := filepath.Join(dir, "config.yaml")
	writeFile(t, config, "version: 1\nrecords: {dir: "+filepath.Join(dir, "logs")+"}\n")
	d := startDaemon(t, nil, "--config", config, "--interval", "200ms")
	if out := d.status(t).Outputs; len(out) != 1 || out[0].Name != "logs" || out[0].Error == "" {
		t.Errorf("outputs: %+v", out)
	}
	eventually(t, "an alert says so", func() bool {
		out, err := snitchCommand("alerts", "--state", d.state).CombinedOutput()
		return err == nil && strings.Contains(string(out), ruleLogs)
	})
	d.signal(t, syscall.SIGTERM)
	d.end(t)
}

// lineWith is the first line that has all words.
func lineWith(lines string, words ...string) string {
	for line := range strings.Lines(lines) {
		has := true
		for _, w := range words {
			has = has && strings.Contains(line, w)
		}
		if has {
			return line
		}
	}
	return ""
}

// TestCSVForm: the log of connections has the columns of the export, behind the
// change and its number; hostile values stay in their cells.
func TestCSVForm(t *testing.T) {
	header, form, err := csvForm()
	if err != nil {
		t.Fatal(err)
	}
	var all []byte
	all = append(all, header...)
	for i, c := range seeded() {
		line, err := form(&export.Item{Time: time.Now(), Connection: &export.Change{Event: export.Opened, ID: uint64(i), Record: event.NewRecord(&c, func(uint32) string { return "" })}})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, line...)
	}
	if line, err := form(&export.Item{Alert: &event.Alert{}}); line != nil || err != nil {
		t.Errorf("an alert became %q, %v", line, err)
	}
	rows, err := csv.NewReader(strings.NewReader(string(all))).ReadAll()
	if err != nil || len(rows) != 4 {
		t.Fatalf("%d rows, %v", len(rows), err)
	}
	if rows[0][0] != "event" || rows[0][1] != "id" || rows[0][2] != "time" || rows[3][0] != "opened" || rows[3][1] != "2" {
		t.Errorf("%q\n%q", rows[0], rows[3])
	}
	if strings.ContainsAny(string(all), "\x1b\x07") {
		t.Errorf("it moves a terminal: %q", all)
	}
}
