package config

import (
	"fmt"
	"strings"
	"testing"
)

// cases has for each setting values at its bounds, which are taken, and values
// that are refused.
var cases = map[string]struct{ good, bad []string }{
	"state":                      {[]string{"/x", "/"}, []string{"x", "./x", "[a]"}},
	"interval":                   {[]string{"100ms", "1h"}, []string{"99ms", "61m", "10", "-1s", "soon"}},
	"drain_interval":             {[]string{"50ms", "1m"}, []string{"49ms", "61s"}},
	"retention.age":              {[]string{"1h", "520w", "off"}, []string{"59m", "0", "never"}},
	"retention.size":             {[]string{"1MB", "1000000", "off"}, []string{"999kB", "-1", "big", "2EB"}},
	"flow_entries":               {[]string{"64", "4_194_304"}, []string{"63", "4194305", "1e3", "0x40", "-64"}},
	"every_exec":                 {[]string{"true", "false"}, []string{"yes", "1", "True"}},
	"reverse_dns":                {[]string{"true", "false"}, []string{"off"}},
	"hash.max_size":              {[]string{"1MiB", "1TiB"}, []string{"1MB", "1025GiB"}},
	"hash.deadline":              {[]string{"10ms", "1h"}, []string{"9ms", "3601s"}},
	"hash.entries":               {[]string{"64", "4194304"}, []string{"63", "4194305"}},
	"cgroup":                     {[]string{"/sys/fs/cgroup"}, []string{"cgroup"}},
	"tier":                       {Tiers(), []string{"Auto", "best"}},
	"rules.dir":                  {[]string{"/r"}, []string{"r"}},
	"rules.test":                 {[]string{"true", "false"}, []string{"on"}},
	"rules.off":                  {[]string{"[]", "none", "a-b", "[a, b.c]", "a, b"}, []string{"[A]", "[[a]]", "[~]", `["a b!"]`, "{a: b}"}},
	"notify.desktop":             {[]string{"true", "false"}, []string{"maybe"}},
	"notify.quiet":               {[]string{"off", "00:00-23:59"}, []string{"24:00-07:00", "22:00", "22:00-", "7-8"}},
	"enforce.mode":               {Modes(), []string{"on"}},
	"enforce.fail":               {Fails(), []string{"half"}},
	"enforce.backend":            {Backends(), []string{"iptables"}},
	"enforce.hold.deadline":      {[]string{"100ms", "1m"}, []string{"99ms", "61s"}},
	"enforce.hold.then":          {[]string{"allow", "deny"}, []string{"alert"}},
	"enforce.hold.programs":      {[]string{"auto", "off", "/", "/a, /b"}, []string{"a", "/a, b", "all"}},
	"enforce.protect_ssh":        {[]string{"true", "false"}, []string{"no"}},
	"log.addresses":              {[]string{"true", "false"}, []string{"no"}},
	"log.ports":                  {[]string{"true", "false"}, []string{"0"}},
	"log.commands":               {[]string{"true", "false"}, []string{"never"}},
	"log.ignore.ports":           {[]string{"[]", "1", "[1, 65535]"}, []string{"[0]", "[65536]", "[http]", "[-1]", "[1.5]"}},
	"log.ignore.domains":         {[]string{"[]", "[example.org]", `["*.Example.org.", .local]`, "[xn--bcher-kva.example]"}, []string{`["."]`, "[a..b]", "[bücher.example]", "[a/b]", `["*.*"]`}},
	"log.ignore.networks":        {[]string{"[]", "[10.0.0.0/8, 192.0.2.1]", `["fe80::/10", "::ffff:192.0.2.1"]`}, []string{"[10.0.0.1/8]", "[10.0.0.0/33]", "[example.org]", `["fe80::1%eth0"]`}},
	"log.ignore.sha256":          {[]string{"[]", "['abababababababababababababababababababababababababababababababab']"}, []string{"[ab]", "['abababababababababababababababababababababababababababababababag']"}},
	"records.dir":                {[]string{"/x"}, []string{"x"}},
	"records.connections":        {[]string{"off", "csv", "json"}, []string{"true"}},
	"records.programs":           {[]string{"true", "false"}, []string{"off"}},
	"records.errors":             {[]string{"true", "false"}, []string{"off"}},
	"records.size":               {[]string{"4096", "off"}, []string{"4095", "-1"}},
	"records.keep":               {[]string{"0", "1000"}, []string{"-1", "1001"}},
	"records.journal":            {[]string{"off", "alerts", "connections"}, []string{"all"}},
	"records.syslog.to":          {[]string{"off", "unix:///dev/log", "udp://h", "tcp://h:1", "'tls://[::1]:65535'"}, []string{"h", "udp://", "tcp://h:0", "tls://h:65536", "unix://x", "http://h"}},
	"records.syslog.send":        {[]string{"alerts", "connections"}, []string{"off"}},
	"records.syslog.facility":    {[]string{"kern", "local7"}, []string{"local8", "3"}},
	"records.syslog.ca":          {[]string{"/x"}, []string{"x"}},
	"records.syslog.certificate": {[]string{"/x"}, []string{"x"}},
	"records.syslog.key":         {[]string{"/x", "credential:k"}, []string{"x", "'credential:'", "credential:../x", "credential:.x"}},
	"virustotal.key":             {[]string{"/k", "credential:vt"}, []string{"k", "credential:a/b"}},
	"virustotal.upload":          {[]string{"true", "false"}, []string{"yes"}},
	"virustotal.max_upload":      {[]string{"1MB", "650MB"}, []string{"999kB", "651MB"}},
	"virustotal.interval":        {[]string{"1s", "1d"}, []string{"999ms", "25h"}},
	"virustotal.url":             {[]string{"https://h", "http://127.0.0.1:1"}, []string{"h", "http://h", "https://h/x"}},
	"virustotal.ca":              {[]string{"/c"}, []string{"c"}},
	"remote.url":                 {[]string{"postgres://snitch@db.example.net/snitch", "mariadb://s@[::1]:3307/d", "mysql://s@/d?socket=/run/mysqld/mysqld.sock"}, []string{"db.example.net", "postgres://s:secret@h/d", "postgres://s@h/d?sslmode=disable", "oracle://s@h/d"}},
	"remote.password_file":       {[]string{"/etc/snitch/password", "credential:db"}, []string{"password", "credential:../x"}},
	"remote.tls":                 {[]string{"required", "off"}, []string{"prefer", "true"}},
	"remote.ca_file":             {[]string{"/etc/ssl/ca.pem"}, []string{"ca.pem"}},
	"remote.cert_file":           {[]string{"/etc/ssl/host.pem"}, []string{"./host.pem"}},
	"remote.key_file":            {[]string{"/etc/ssl/host.key", "credential:k"}, []string{"host.key"}},
	"remote.host":                {[]string{"web-1", "a.b_c", "x"}, []string{"a b", "é", "\"\\0\"", "a/b"}},
	"remote.spool":               {[]string{"1MB", "1TB"}, []string{"999kB", "off", "2TB"}},
	"metrics.listen":             {[]string{"off", "socket", "127.0.0.1:9465", `"[::1]:1"`}, []string{"on", "0.0.0.0:9465", ":9465", "192.0.2.1:80", "127.0.0.1", "127.0.0.1:0", "127.0.0.1:65536", "localhost:9465"}},
	"fleet.source":               {FleetSources(), []string{"https", "on"}},
	"fleet.url":                  {[]string{"none", "https://x.example/rules.tar.gz", "/srv/rules.tar.gz", "ssh://git@x.example/r.git", "git://127.0.0.1:9418/r"}, []string{"http://x.example/r", "ext::sh -c x", "rules.tar.gz", "-x", "https://", "git@x.example:r.git", "https://u:p@x.example/r"}},
	"fleet.keys":                 {[]string{"/etc/k"}, []string{"k"}},
	"fleet.branch":               {[]string{"main", "a/b-c_1.x"}, []string{"-x", "a..b", "a b", "/a", "a/", "a.lock"}},
	"fleet.path":                 {[]string{".", "rules", "a/b"}, []string{"/a", "../a", "a/../..", "a//b", ""}},
	"fleet.interval":             {[]string{"5s", "1d"}, []string{"4s", "25h"}},
	"fleet.host":                 {[]string{"auto", "web-1.example.org"}, []string{"a b", "[x]"}},
	"fleet.token":                {[]string{"/etc/t"}, []string{"secret"}},
	"fleet.ca":                   {[]string{"/etc/ca.pem"}, []string{"ca.pem"}},
	"fleet.ssh_key":              {[]string{"/etc/id"}, []string{"id"}},
	"fleet.known_hosts":          {[]string{"/etc/kh"}, []string{"kh"}},
	"fleet.trial":                {[]string{"off", "1m", "7d"}, []string{"59s", "0"}},
	"fleet.trial_alerts":         {[]string{"1", "1000000"}, []string{"0", "1000001"}},
	"fleet.trial_errors":         {[]string{"1", "1000000"}, []string{"0"}},
	"log_level":                  {LogLevels(), []string{"trace", "INFO"}},
}

// TestEachSetting: each setting takes its bounds, refuses what is beyond with the
// place, and what it took is written and read as it was.
func TestEachSetting(t *testing.T) {
	if len(cases) != len(settings) {
		t.Errorf("%d settings have cases, there are %d", len(cases), len(settings))
	}
	for _, s := range settings {
		c := cases[s.path]
		if len(c.good) == 0 || len(c.bad) == 0 {
			t.Errorf("%s has no cases", s.path)
		}
		for _, v := range c.good {
			got, err := Parse("f", []byte(fileWith(s.path, v)))
			if err != nil {
				t.Errorf("%s refuses %s: %v", s.path, v, err)
				continue
			}
			if again, err := Parse("f", []byte(got.YAML())); err != nil || again != got {
				t.Errorf("%s: %s is written so that it is read as %+v, %v", s.path, v, again, err)
			}
		}
		for _, v := range c.bad {
			_, err := Parse("f", []byte(fileWith(s.path, v)))
			line := 2 + strings.Count(s.path, ".")
			if want := fmt.Sprintf("f:%d:", line); err == nil || !strings.HasPrefix(err.Error(), want) || !strings.Contains(err.Error(), s.path) {
				t.Errorf("%s takes %s, or does not say where it is wrong: %v", s.path, v, err)
			}
		}
	}
}

func fileWith(path, value string) string {
	out := "version: 1\n"
	keys := strings.Split(path, ".")
	for i, k := range keys {
		out += strings.Repeat("  ", i) + k + ":"
		if i < len(keys)-1 {
			out += "\n"
		}
	}
	return out + " " + value + "\n"
}
