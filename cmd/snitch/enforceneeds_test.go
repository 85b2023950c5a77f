package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"snitch/cmd/internal/config"
	"snitch/enforce"
	"snitch/monitor/event"
)

// TestConfiguredNeeds: the places of a configuration, as rules name them.
func TestConfiguredNeeds(t *testing.T) {
	c := config.Default()
	places := func() (out []string) {
		for _, n := range configuredNeeds(&c) {
			if err := n.Valid(); err != nil {
				t.Error(err)
			}
			below := ""
			if n.Below {
				below = " below"
			}
			out = append(out, fmt.Sprintf("%s %s:%d/%s%s", n.Name, n.Host, n.Port, n.Proto, below))
		}
		return out
	}
	if got := places(); got != nil {
		t.Errorf("nothing is configured, and snitch needs %q", got)
	}
	c.Remote.URL, c.Records.Syslog.To, c.VirusTotal.Key = "postgres://s@db.example.net/fleet", "tls://log.example.net", "/etc/key"
	c.Fleet.Source, c.Fleet.URL = "bundle", "https://rules.example.net:8443/b.tar.gz"
	want := []string{"remote-sql db.example.net:5432/tcp", "syslog log.example.net:6514/tcp", "virustotal www.virustotal.com:443/tcp", "fleet rules.example.net:8443/tcp"}
	if diff := cmp.Diff(places(), want); diff != "" {
		t.Error(diff)
	}
	c = config.Default()
	for url, want := range map[string]string{"git@git.example.net:team/rules.git": "git.example.net:22", "ssh://git@git.example.net:2222/r": "git.example.net:2222",
		"https://git.example.net/r": "git.example.net:443", "git://[2001:db8::1]/r": "2001:db8::1:9418", "file:///srv/rules": "", "/srv/rules": "", "": ""} {
		c.Fleet.Source, c.Fleet.URL = "git", url
		var expect []string
		if want != "" {
			expect = []string{"fleet " + want + "/tcp below"}
		}
		if diff := cmp.Diff(places(), expect); diff != "" {
			t.Errorf("%s: %s", url, diff)
		}
	}
	c = config.Default()
	c.Remote.URL, c.Records.Syslog.To = "postgres://s@/fleet?socket=/run/postgresql", "unix:///dev/log"
	if got := places(); got != nil {
		t.Errorf("sockets of this host are no places: %q", got)
	}
	c.Records.Syslog.To = "udp://192.0.2.1"
	if diff := cmp.Diff(places(), []string{"syslog 192.0.2.1:514/udp"}); diff != "" {
		t.Error(diff)
	}
}

// TestEnforceOwnNeeds: snitch itself runs where everything is confined. Its
// messages reach the syslog server of the configuration by a rule that everybody
// can see; who else tries to does not get there.
func TestEnforceOwnNeeds(t *testing.T) {
	e := newEnforcing(t, "")
	writeFile(t, filepath.Join(e.rules, "b.yaml"), "version: 1\n"+confineAll)
	file := filepath.Join(t.TempDir(), "config.yaml")
	syslog := newPeer(t)
	writeFile(t, file, fmt.Sprintf("version: 1\nrecords:\n  syslog: {to: 'tcp://%s', send: alerts}\nenforce: {mode: enforce}\n", syslog.address()))
	d := e.run("--config", file)
	for _, pid := range []int{d.Process.Pid, d.status(t).Broker.PID} { // what they start is there too
		writeFile(t, filepath.Join(e.group.Dir(), "cgroup.procs"), strconv.Itoa(pid))
	}
	p := e.probe(place(t))
	p.expect(syscall.EPERM, "tcp", syslog.address()) // which is an alert
	<-syslog.came
	id := enforce.ProtectedPrefix + "syslog"
	eventually(t, "the log has both", func() bool {
		rows := records(t, d, syslog.port())
		has := func(action, rule string) bool {
			return slices.ContainsFunc(rows, func(r event.Record) bool { return r.Action == action && r.Rule == rule })
		}
		return has("allow", id) && has("deny", "all")
	})
	if out := e.snitch("enforce", "status", "--state", d.state); !strings.Contains(out, id) || !strings.Contains(out, "records.syslog.to") {
		t.Errorf("status does not show the rule:\n%s", out)
	}
	e.snitch("enforce", "off", "--state", d.state)
	d.signal(t, syscall.SIGTERM)
	d.end(t)
	e.unpinned()
}
