package main

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"snitch/bpf/bpftest"
	"snitch/monitor/event"
)

// TestReputation: a program that VirusTotal calls malicious is an alert; who asks
// is a helper without privileges, with the key of a file that only root may read.
func TestReputation(t *testing.T) {
	if testing.Short() {
		t.Skip("short: runs the daemon for long")
	}
	group, err := bpftest.OpenCgroup()
	if err != nil {
		t.Fatal(err)
	}
	defer group.Close()
	var wrong atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("x-apikey") != "secret0" || !strings.HasPrefix(r.URL.Path, "/api/v3/files/") || r.Method != http.MethodGet {
			wrong.Add(1)
		}
		_, _ = w.Write([]byte(`{"data":{"attributes":{"last_analysis_stats":{"malicious":3,"suspicious":0,"harmless":1,"undetected":66}}}}`))
	}))
	defer server.Close()
	dir := t.TempDir()
	config, key := filepath.Join(dir, "config.yaml"), filepath.Join(dir, "key")
	writeFile(t, key, "secret0\n")
	writeFile(t, config, "version: 1\nvirustotal: {key: "+key+", interval: 1s, url: \""+server.URL+"\"}\n")
	if err := os.Chmod(key, 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := snitchCommand("run", "--state", filepath.Join(dir, "s"), "--config", config).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "others than root may read it (mode 0644)") {
		t.Errorf("a key that all may read was taken: %v\n%s", err, out)
	}
	if err := os.Chmod(key, 0o600); err != nil {
		t.Fatal(err)
	}
	d := startDaemon(t, nil, "--config", config, "--cgroup", group.Dir(), "--interval", "1h")
	talkIn(t, group, "/proc/self/exe", "1111", "22")
	var alerts string
	eventually(t, "an alert is raised", func() bool {
		if err := d.client.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		b, err := snitchCommand("alerts", "--state", d.state, "--json").Output()
		alerts = lineWith(string(b), `"rule":"virustotal"`)
		return err == nil && alerts != ""
	})
	if !strings.Contains(alerts, `"reason":"malicious: 3 of 70 engines of VirusTotal call it malicious, 0 suspicious"`) || !strings.Contains(alerts, `"sha256":"`) {
		t.Error(alerts)
	}
	var told struct{ SHA256 string }
	if err := json.Unmarshal([]byte(alerts), &told); err != nil {
		t.Fatal(err)
	}
	sha, err := event.ParseDigest(told.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	if v, err := d.client.Reputation(t.Context(), sha); err != nil || v.Verdict != "malicious" || v.Malicious != 3 || v.Engines != 70 || v.At.IsZero() {
		t.Errorf("of the file the daemon says %+v, %v", v, err)
	}
	if v, err := d.client.Reputation(t.Context(), event.Digest{1}); err != nil || v.Verdict != "" {
		t.Errorf("of another file the daemon says %+v, %v", v, err)
	}
	st := d.status(t)
	if !slices.Contains(st.Broker.Helpers, "reputation") || st.Reputation == nil || st.Reputation.Known == 0 || st.Reputation.Error != "" || wrong.Load() != 0 {
		t.Errorf("%+v %+v, %d wrong questions", st.Broker, st.Reputation, wrong.Load())
	}
	if info, err := os.Stat(filepath.Join(d.state, verdictsFile)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info, err)
	}
	d.signal(t, syscall.SIGTERM)
	d.end(t)
}

// TestReputationDecides: a rule that asks for what VirusTotal says decides what is
// open again when the answer comes, and nothing waits for that.
func TestReputationDecides(t *testing.T) {
	group := ownGroup(t)
	answer := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-answer:
			_, _ = w.Write([]byte(`{"data":{"attributes":{"last_analysis_stats":{"malicious":1,"undetected":1}}}}`))
		case <-r.Context().Done():
		}
	}))
	defer server.Close()
	defer server.CloseClientConnections()
	dir := t.TempDir()
	config, key, rules := filepath.Join(dir, "config.yaml"), filepath.Join(dir, "key"), filepath.Join(dir, "rules")
	if err := os.Mkdir(rules, 0o755); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(rules, "a.yaml"), "version: 1\nrules:\n  - {id: called-malicious, action: deny, process: {reputation: malicious}}\n")
	writeFile(t, key, "secret0\n")
	writeFile(t, config, "version: 1\nvirustotal: {key: "+key+", interval: 1s, url: \""+server.URL+"\"}\n")
	if err := errors.Join(os.Chmod(key, 0o600), os.Chmod(rules, 0o755)); err != nil {
		t.Fatal(err)
	}
	d := startDaemon(t, nil, "--config", config, "--rules", rules, "--cgroup", group.Dir(), "--interval", "1h")
	cmd := exec.Command("/proc/self/exe")
	cmd.Args[0] = "hold"
	cmd.Env = append(os.Environ(), groupVariable+"="+group.Dir())
	end, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := errors.Join(end.Close(), cmd.Wait()); err != nil {
			t.Error(err)
		}
	}()
	var log []byte
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the log said:\n%s", log)
		}
	})
	row := func(words ...string) bool {
		if err := d.client.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		var err error
		log, err = snitchCommand("log", "--state", d.state, "--json").Output()
		return err == nil && lineWith(string(log), append(words, `"direction":"out"`, `"result":"established"`)...) != ""
	}
	eventually(t, "it is decided without an answer", func() bool { return row(`"would":"alert"`, `"rule":""`) })
	close(answer)
	eventually(t, "it is decided again", func() bool { return row(`"would":"deny"`, `"rule":"called-malicious"`) })
	why, err := snitchCommand("policy", "explain", "--last", "--state", d.state).Output()
	if err != nil || !strings.Contains(string(why), "called-malicious") || !strings.Contains(string(why), "reputation") {
		t.Errorf("%v\n%s", err, why)
	}
	d.signal(t, syscall.SIGTERM)
	d.end(t)
}
