package main

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"snitch/bpf/bpftest"
)

// TestIgnoreFromReload: connections that the configuration ignores are not
// recorded, from the signal on and without a restart.
func TestIgnoreFromReload(t *testing.T) {
	if testing.Short() {
		t.Skip("short: runs the daemon for long")
	}
	group, err := bpftest.OpenCgroup()
	if err != nil {
		t.Fatal(err)
	}
	defer group.Close()
	config := filepath.Join(t.TempDir(), "config.yaml")
	writeFile(t, config, "version: 1\n")
	d := startDaemon(t, nil, "--config", config, "--cgroup", group.Dir(), "--interval", "1h")
	logged := func() string {
		out, err := snitchCommand("log", "--state", d.state, "--json").Output()
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	talkIn(t, group, "/proc/self/exe", "1111", "22")
	eventually(t, "it is recorded", func() bool { return strings.Count(logged(), `"sent":1111`) == 1 })
	writeFile(t, config, "version: 1\nlog: {ignore: {networks: [127.0.0.0/8]}}\n")
	d.signal(t, syscall.SIGHUP)
	eventually(t, "the reload is said", func() bool { return strings.Contains(d.stderr.String(), "msg=reloaded changed=[log.ignore.networks]") })
	talkIn(t, group, "/proc/self/exe", "3333", "44")
	eventually(t, "both ends are counted as ignored", func() bool { return d.status(t).Connections.Ignored >= 2 })
	if n := d.status(t).Connections.Ignored; n != 2 {
		t.Errorf("%d are counted as ignored", n)
	}
	writeFile(t, config, "version: 1\n")
	d.signal(t, syscall.SIGHUP)
	eventually(t, "the second reload is said", func() bool { return strings.Count(d.stderr.String(), "msg=reloaded") == 2 })
	talkIn(t, group, "/proc/self/exe", "5555", "66")
	eventually(t, "recording goes on", func() bool { return strings.Contains(logged(), `"sent":5555`) })
	if out := logged(); strings.Contains(out, `"sent":3333`) || strings.Contains(out, `"received":3333`) {
		t.Errorf("an ignored connection is recorded:\n%s", out)
	}
	d.signal(t, syscall.SIGTERM)
	d.end(t)
}
