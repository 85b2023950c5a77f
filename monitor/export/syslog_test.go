package export

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"snitch/monitor/event"
)

// parsed is a message of RFC 5424, read strictly.
type parsed struct {
	pri                       int
	time, host, app, pid, msg string
	id                        string
	params                    map[string]string
}

var header = regexp.MustCompile(`^<(\d{1,3})>1 (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z) ([!-~]{1,255}) ([!-~]{1,48}) (\d{1,7}) ([!-~]{1,32}) \[snitch@32473`)

// parse5424 reads a message as the grammar of RFC 5424 §6 has it.
func parse5424(b []byte) (p parsed, err error) {
	s := string(b)
	m := header.FindStringSubmatch(s)
	if m == nil {
		return p, fmt.Errorf("header of %q", s)
	}
	p = parsed{time: m[2], host: m[3], app: m[4], pid: m[5], id: m[6], params: map[string]string{}}
	p.pri, _ = strconv.Atoi(m[1])
	for s = s[len(m[0]):]; strings.HasPrefix(s, " "); {
		name, rest, ok := strings.Cut(s[1:], `="`)
		if !ok || name == "" || strings.ContainsAny(name, ` =]"`) || len(name) > 32 {
			return p, fmt.Errorf("name of a parameter in %q", s)
		}
		var value strings.Builder
		i := 0
		for ; i < len(rest) && rest[i] != '"'; i++ {
			if rest[i] == ']' {
				return p, fmt.Errorf("bare ] in %q", rest)
			}
			if rest[i] == '\\' && i+1 < len(rest) && strings.ContainsRune(`"\]`, rune(rest[i+1])) {
				i++
			}
			value.WriteByte(rest[i])
		}
		if i == len(rest) || !utf8.ValidString(value.String()) {
			return p, fmt.Errorf("value in %q", rest)
		}
		p.params[name], s = value.String(), rest[i+1:]
	}
	msg, ok := strings.CutPrefix(s, "] \xef\xbb\xbf")
	if !ok || !utf8.ValidString(msg) {
		return p, fmt.Errorf("end in %q", s)
	}
	p.msg = msg
	return p, nil
}

var origin = Origin{Host: "host.example", App: "snitch", PID: 7, Facility: 3}

func connectionItem() *Item {
	c := sample(5)
	return &Item{Time: opened, Connection: &Change{Event: Opened, ID: c.ID, Record: event.NewRecord(&c, func(uint32) string { return "root" })}}
}

func TestSyslogFormat(t *testing.T) {
	p, err := parse5424(origin.Format(connectionItem(), maxDatagram))
	if err != nil {
		t.Fatal(err)
	}
	if p.pri != 3*8+6 || p.time != "2026-07-01T08:00:00.123456Z" || p.host != "host.example" || p.app != "snitch" || p.pid != "7" || p.id != "connection" {
		t.Errorf("header %+v", p)
	}
	for name, want := range map[string]string{"event": "opened", "exe": "/usr/bin/curl", "raddr": "198.51.100.1", "rport": "443", "domain": "www.example.org",
		"sent": "10", "cmdline": "curl https://u:pass@example.org", "parent_exe": "/bin/sh"} {
		if p.params[name] != want {
			t.Errorf("%s is %q, want %q", name, p.params[name], want)
		}
	}
	if want := "opened /usr/bin/curl out tcp www.example.org:443 established, 10 bytes up, 20 down, none"; p.msg != want {
		t.Errorf("got  %s\nwant %s", p.msg, want)
	}
	c := sample(1)
	a := event.NewAlert(event.AlertRule, "r1", event.ActionAlert, "why", opened, &c)
	if p, err = parse5424(origin.Format(&Item{Time: opened, Alert: &a}, maxDatagram)); err != nil || p.pri != 3*8+4 || p.params["rule"] != "r1" || p.id != "alert" {
		t.Errorf("%+v %v", p, err)
	}
	if p, err = parse5424(origin.Format(&Item{Time: opened, Program: newProgram(opened, c.Process, []string{"hash"})}, maxDatagram)); err != nil || p.params["what"] != "hash" {
		t.Errorf("%+v %v", p, err)
	}
	if origin.Format(&Item{}, maxDatagram) != nil {
		t.Error("nothing became a message")
	}
}

// TestSyslogBound: what does not fit is left away, and said.
func TestSyslogBound(t *testing.T) {
	i := connectionItem()
	i.Connection.Cmdline = strings.Repeat(`"]\`, 5000)
	i.Connection.Exe = "/" + strings.Repeat("é", 3000)
	for _, limit := range []int{480 + 1100, maxDatagram, maxMessage} {
		b := origin.Format(i, limit)
		p, err := parse5424(b)
		if err != nil || len(b) > limit || p.params["truncated"] != "1" || p.params["action"] == "" {
			t.Errorf("limit %d: %d bytes, %+v, %v", limit, len(b), p.params, err)
		}
	}
}

// FuzzSyslog: whatever a process calls itself, the message is one of RFC 5424
// within its bound, says no more than one thing, and frames are found again.
func FuzzSyslog(f *testing.F) {
	f.Add("/usr/bin/x", "curl a b", "example.org", "rule")
	f.Add("\x00\n] [a b=\"c\"]", "\xff\xfe\\\"]", "<0>1 - - -", "x\" y=\"z")
	f.Fuzz(func(t *testing.T, exe, cmdline, domain, rule string) {
		i := connectionItem()
		i.Connection.Exe, i.Connection.Cmdline, i.Connection.Domain, i.Connection.Rule = exe, cmdline, domain, rule
		o := origin
		o.Host = rule
		b := o.Format(i, maxDatagram)
		p, err := parse5424(b)
		if err != nil {
			t.Fatal(err)
		}
		if len(b) > maxDatagram {
			t.Fatalf("%d bytes", len(b))
		}
		if got, want := p.params["exe"], plainText(exe, maxValue); got != want && p.params["truncated"] == "" {
			t.Fatalf("exe %q, want %q", got, want)
		}
		for _, s := range append([]string{p.msg}, p.params["cmdline"], p.params["domain"]) {
			for _, r := range s {
				if !unicode.IsPrint(r) {
					t.Fatalf("%q moves a terminal", s)
				}
			}
		}
		length, rest, _ := strings.Cut(string(Frame(b)), " ")
		if n, err := strconv.Atoi(length); err != nil || n != len(rest) || rest != string(b) {
			t.Fatalf("frame of %q", length)
		}
		line, err := JSONLines(i)
		if err != nil || strings.Count(string(line), "\n") != 1 || !json.Valid(line) {
			t.Fatalf("%q %v", line, err)
		}
	})
}

func TestTargets(t *testing.T) {
	for in, want := range map[string]string{
		"unix:///dev/log": "unix:///dev/log", "udp://loghost": "udp://loghost:514", "tcp://loghost/": "tcp://loghost:601", "tls://loghost": "tls://loghost:6514",
		"tls://[2001:db8::1]:1514": "tls://[2001:db8::1]:1514", "tls://192.0.2.1:65535": "tls://192.0.2.1:65535",
	} {
		got, err := ParseTarget(in)
		if err != nil || got.String() != want {
			t.Errorf("%s: %s, %v", in, got, err)
		}
		if again, err := ParseTarget(got.String()); err != nil || again != got {
			t.Errorf("%s is read as %+v, %v", got, again, err)
		}
	}
	for _, in := range []string{"", "loghost", "http://x", "unix://x/y", "unix:relative", "udp://", "tcp://x:0", "tcp://x:65536", "tls://u:p@x", "tls://x/path", "tls://x?y", "udp://a b", "tcp://x:y"} {
		if got, err := ParseTarget(in); err == nil {
			t.Errorf("%q is read as %+v", in, got)
		}
	}
}

func TestHeaderName(t *testing.T) {
	for in, want := range map[string]string{"": "-", "\n\x00é": "-", "a b": "ab", strings.Repeat("x", 300): strings.Repeat("x", 255)} {
		if got := headerName(in, 255); got != want {
			t.Errorf("%q: %q", in, got)
		}
	}
	if timeOf(time.Time{}) != "0001-01-01T00:00:00.000000Z" {
		t.Error(timeOf(time.Time{}))
	}
}
