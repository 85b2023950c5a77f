package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestParse(t *testing.T) {
	full := Config{State: "/srv/snitch", Interval: 30 * time.Second, DrainInterval: 500 * time.Millisecond,
		Retention: Retention{Age: 90 * 24 * time.Hour, Size: 0}, FlowEntries: 1024, EveryExec: true, ReverseDNS: true,
		Hash: Hash{MaxSize: 512 << 20, Deadline: time.Second, Entries: 100}, Cgroup: "/sys/fs/cgroup/x", Tier: "counters", LogLevel: "debug",
		Fleet: defaultFleet(), Rules: Rules{Dir: "/srv/rules", Test: true, Off: "a.b, c-1"}, Notify: Notify{Quiet: "22:00-07:00"},
		Enforce:    Enforce{Mode: "enforce", Fail: "closed", Backend: "nft", Hold: Hold{Deadline: 500 * time.Millisecond, Then: "deny", Programs: "/mnt,/srv"}},
		Log:        Log{Ports: true, Ignore: Ignore{Ports: "443, 53", Domains: "example.org", Networks: "10.0.0.0/8, 192.0.2.1/32"}},
		Remote:     Remote{URL: "mariadb://s@h/d", PasswordFile: "/p", TLS: TLSOff, CAFile: "/a", CertFile: "/c", KeyFile: "/k", Host: "web-1", Spool: 1e9},
		Metrics:    Metrics{Listen: "127.0.0.1:9465"},
		Records:    Records{Dir: "/l", Connections: "csv", Size: 1e6, Keep: 1, Journal: "alerts", Syslog: Syslog{To: "tls://h:6514", Send: "connections", Facility: "local0", CA: "/c", Certificate: "/d", Key: "credential:k"}},
		VirusTotal: VirusTotal{Key: "/k", Upload: true, MaxUpload: 1e6, Interval: time.Minute, URL: "https://p:8443", CA: "/c"}}
	for name, c := range map[string]struct {
		in   string
		want Config
	}{
		"empty":         {"", Default()},
		"only comments": {"# nothing\n", Default()},
		"only version":  {"version: 1\n", Default()},
		"everything": {`version: 1
state: /srv/snitch/
interval: 30s
drain_interval: 500ms
retention:
  age: 90d
  size: off
flow_entries: 1024
every_exec: true
reverse_dns: true
hash: {max_size: 512MiB, deadline: 1s, entries: 100}
cgroup: /sys/fs/cgroup/x
tier: counters
log_level: debug
records:
  {dir: /l, connections: csv, programs: false, errors: false, size: 1MB, keep: 1, journal: alerts, syslog: {to: "tls://h", send: connections, facility: local0, ca: /c, certificate: /d, key: "credential:k"}}
virustotal: {key: /k, upload: true, max_upload: 1MB, interval: 1m, url: "https://p:8443/", ca: /c}
log:
  addresses: false
  commands: false
  ignore: {ports: [443, 53], domains: [.example.org], networks: [10.0.0.0/8, 192.0.2.1]}
rules: {dir: /srv/rules, test: true, off: "a.b, c-1"}
notify: {desktop: false, quiet: "22:00-07:00"}
enforce: {mode: enforce, fail: closed, backend: nft, hold: {deadline: 500ms, then: deny, programs: "/mnt, /srv"}, protect_ssh: false}
remote: {url: "mariadb://s@h/d", password_file: /p, tls: "off", ca_file: /a, cert_file: /c, key_file: /k, host: web-1, spool: 1GB}
metrics: {listen: "127.0.0.1:9465"}
`, full},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Parse("f.yaml", []byte(c.in))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
}

// TestEverySettingIsReachable: a setting that no key leads to cannot be set.
func TestEverySettingIsReachable(t *testing.T) {
	for _, s := range settings {
		prefix, key := "", s.path
		if dot := strings.LastIndexByte(s.path, '.'); dot >= 0 {
			prefix, key = s.path[:dot+1], s.path[dot+1:]
		}
		found := false
		for _, k := range keysBelow(prefix) {
			found = found || k == key
		}
		if !found {
			t.Errorf("%s is not among the keys below %q", s.path, prefix)
		}
	}
}

func TestFaults(t *testing.T) {
	for name, c := range map[string]struct{ in, want string }{
		"unknown":         {"version: 1\nintervall: 3s\n", `f.yaml:2:1: unknown setting "intervall": did you mean "interval"?`},
		"nothing near":    {"version: 1\nfrobnicate: 3s\n", `f.yaml:2:1: unknown setting "frobnicate"`},
		"nested unknown":  {"version: 1\nretention:\n  agee: 3d\n", `f.yaml:3:3: unknown setting "retention.agee": did you mean "retention.age"?`},
		"misplaced":       {"version: 1\nmax_size: 3d\n", `f.yaml:2:1: unknown setting "max_size": did you mean "hash.max_size"?`},
		"dotted":          {"version: 1\nhash.entries: 100\n", `f.yaml:2:1: unknown setting "hash.entries": write "hash:" and below it, indented, "entries: …"`},
		"no version":      {"state: /x\n", `f.yaml:1:1: the first line is "version: 1"`},
		"version second":  {"state: /x\nversion: 1\n", `f.yaml:1:1: the first line is "version: 1"`},
		"newer version":   {"version: 2\n", `f.yaml:1:10: version "2" is not known: this snitch reads version 1`},
		"twice":           {"version: 1\ntier: auto\ntier: auto\n", `f.yaml:3:1: "tier" stands already in line 2`},
		"second document": {"version: 1\n---\nversion: 1\n", `f.yaml:2:1: a second document: everything stands in one`},
		"list":            {"- a\n", `f.yaml:1:1: want "key: value" lines`},
		"list as value":   {"version: 1\nstate: [a]\n", `f.yaml:2:8: state wants one value`},
		"scalar as map":   {"version: 1\nhash: 7\n", `f.yaml:2:7: want "key: value" lines`},
		"no value":        {"version: 1\nstate:\n", `f.yaml:2:7: state has no value (remove the line for the default)`},
		"relative":        {"version: 1\nstate: var\n", `f.yaml:2:8: state: "var" is no absolute path`},
		"no duration":     {"version: 1\ninterval: 3\n", `f.yaml:2:11: interval: "3" is no duration (30s, 10m, 1h30m, 7d, 2w)`},
		"too short":       {"version: 1\ninterval: 1ms\n", `f.yaml:2:11: interval: 1ms is not between 100ms and 1h`},
		"no choice":       {"version: 1\ntier: fast\n", `f.yaml:2:7: tier: "fast" is not one of auto, reference, fexit, counters`},
		"no bool":         {"version: 1\nevery_exec: yes\n", `f.yaml:2:13: every_exec: "yes" is neither true nor false`},
		"no rule id":      {"version: 1\nrules: {off: A_b!}\n", `f.yaml:2:14: rules.off: "A_b!" is no id of a rule`},
		"no hours":        {"version: 1\nnotify: {quiet: 7-25}\n", `f.yaml:2:17: notify.quiet: "7-25" are no hours like 22:00-07:00`},
		"no fail mode":    {"version: 1\nenforce: {fail: maybe}\n", `f.yaml:2:17: enforce.fail: "maybe" is not one of auto, open, closed`},
		"deep unknown":    {"version: 1\nenforce: {hold: {after: 2s}}\n", `f.yaml:2:18: unknown setting "enforce.hold.after"`},
		"too many":        {"version: 1\nflow_entries: 99999999999\n", `f.yaml:2:15: flow_entries: 99999999999 is not between 64 and 4194304`},
		"anchor":          {"version: 1\nstate: &a /x\ncgroup: *a\n", "f.yaml:2:8: anchors and aliases are not used here\nf.yaml:3:9: anchors and aliases are not used here"},
		"merge":           {"version: 1\n<<: {state: /x}\n", `f.yaml:2:1: this key is no plain word`},
		"tag":             {"version: 1\nstate: !!binary aGk=\n", `f.yaml:2:8: state: tag !!binary is not used here`},
		"syntax":          {"version: 1\nstate: [\n", `f.yaml:2:1: did not find expected node content`},
		"all at once":     {"version: 1\ntier: fast\nstat: /x\n", "f.yaml:2:7: tier: \"fast\" is not one of auto, reference, fexit, counters\nf.yaml:3:1: unknown setting \"stat\": did you mean \"state\"?"},
		"huge":            {strings.Repeat("#", maxFile+1), "f.yaml: is larger than 1.0 MB"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse("f.yaml", []byte(c.in))
			var faults *FaultsError
			if !errors.As(err, &faults) {
				t.Fatalf("got %v", err)
			}
			if got := err.Error(); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestLoad(t *testing.T) {
	file := filepath.Join(t.TempDir(), "c.yaml")
	if _, err := Load(file); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	if err := os.WriteFile(file, []byte("version: 1\nlog_level: warn\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if c, err := Load(file); err != nil || c.LogLevel != "warn" {
		t.Errorf("%+v %v", c, err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("version: 1\nhash: {max_size: 1GB}\n"))
	f.Add([]byte("version: 1\n<<: *a\n? [x]\n: y\n---\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := Parse("f", b)
		var faults *FaultsError
		if err != nil && (!errors.As(err, &faults) || len(faults.Faults) == 0) {
			t.Fatalf("error without faults: %v", err)
		}
		if err != nil {
			return
		}
		// What was read is what is written, and is read again as it was.
		again, err := Parse("again", []byte(c.YAML()))
		if err != nil || again != c {
			t.Fatalf("%q gave %+v, which is written as\n%s\nand read as %+v, %v", b, c, c.YAML(), again, err)
		}
	})
}
