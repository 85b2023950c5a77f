package query_test

import (
	"errors"
	"strings"
	"testing"

	"snitch/monitor/event"
	"snitch/monitor/store/query"
)

func TestParseErrors(t *testing.T) {
	cases := []struct{ filter, want string }{
		{"", `position 1: no operator`},
		{"curl", `position 5: no operator (write FIELD=VALUE`},
		{"expr=x", `position 1: no field "expr" (did you mean "exe"?)`},
		{"!rprt=443", `position 2: no field "rprt" (did you mean "rport"?)`},
		{"address=1", `position 1: no field "address" (one of: exe`},
		{"addr=1", `(did you mean "raddr"?)`},
		{"exe!x", `position 4: no operator (the operators are = != ~ !~)`},
		{"!exe!=x", `position 5: excluded twice`},
		{"rport~4", `position 6: rport has no parts to search in`},
		{"rport=443,http", `position 11: "http" is no number or range (write rport=443`},
		{"rport=70000", `position 7: 70000 is too large`},
		{"rport=9-1", `the range 9-1 is empty (write rport=1-9)`},
		{"rport=", `position 7: "" is no number`},
		{"uid=-1", `is no number`},
		{"pid=4294967296", `too large`},
		{"raddr=10.0.0/8", `"10.0.0/8" is no network`},
		{"raddr=example.org", `"example.org" is no address`},
		{"raddr=10.0.0.1-::1", `is empty`},
		{"raddr=fe80::1%eth0", `an address with a zone`},
		{"raddr=::ffff:1.2.3.4/90", `mixes IPv4 and IPv6`},
		{"sha256=12g", `'g' is no hexadecimal digit`},
		{"sha256=" + strings.Repeat("a", 65), `65 digits`},
		{"proto=tpc", `no protocol "tpc" (did you mean "tcp"?)`},
		{"proto=ipv4", `no protocol "ipv4"`},
		{"result=refusd", `no result "refusd" (did you mean "refused"?)`},
		{"direction=inbound", `no direction "inbound" (one of: out in listen)`},
		{"domain=.", `a dot is no name`},
		{`exe=a\`, `position 6: a backslash with nothing behind it`},
		{strings.Repeat("x", 9000), `longer than 8192 bytes`},
		{"rport=" + strings.Repeat("1,", 300) + "1", `more than 256 values`},
	}
	for _, tc := range cases {
		_, err := query.Parse([]string{"name=curl", tc.filter})
		var pe *query.ParseError
		if !errors.As(err, &pe) || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%q:\ngot  %v\nwant %s", tc.filter, err, tc.want)
		}
	}
	if _, err := query.Parse(make([]string, 65)); err == nil {
		t.Error("65 filters were accepted")
	}
}

// TestMatch pins down what filters mean; TestFiltersAgree holds SQL to it.
func TestMatch(t *testing.T) {
	r := event.Record{Ancestor: event.Ancestor{Exe: "/usr/bin/curl", Name: "curl", Cmdline: "curl -s https://a,b*c", SHA256: "ab12" + strings.Repeat("0", 60)},
		Parent: &event.Ancestor{Exe: "/usr/bin/bash", Name: "bash"}, Ancestors: []event.Ancestor{{Exe: "/sbin/init"}},
		PID: 77, UID: 1000, User: "bob", Unit: "snitch.service", NetNS: 4026531840, Direction: "out", Family: "ipv4", Proto: "tcp",
		RAddr: "10.1.2.3", RPort: 8042, LAddr: "fe80::1%eth0", LPort: 40000, Domain: "api.github.com", Country: "DE",
		Result: "closed", Action: "none", Novelty: []string{"new-program", "new-parent"}}
	yes := []string{"exe=/usr/bin/curl", "exe=/usr/*", "exe=*curl", "exe~bin", "exe=/bin/x,/usr/bin/curl", "exe!=/bin/x", "!exe=/bin/x", "name!~ssh",
		`cmdline=curl -s https://a\,b\*c`, `cmdline~a\,b\*`, "sha256=ab12", "sha256=AB1", "parent.exe=/usr/bin/bash", "grandparent.exe=", "grandparent.name!=init",
		"ancestor.exe=/sbin/init,/x", "ancestor.name=bash", "pid=77", "uid=1000", "uid=0-1000", "user=bob", "unit=snitch.*", "container=", "script=",
		"netns=4026531840", "direction=out", "family=ipv4", "proto=tcp,udp", "proto=ip-6", "raddr=10.0.0.0/8", "raddr=10.1.2.3", "raddr=10.1.2.0-10.1.2.9",
		"raddr=::ffff:10.0.0.0/104", "laddr=fe80::/10", "rport=8000-8099", "rport=1,8042", "lport!=22", "domain=api.github.com", "domain=*.github.com",
		"domain=.github.com", "domain=.GitHub.com.", "domain~hub", "domain!=", "country=de", "result=closed,denied", "action=none", "rule=", "novelty=new-parent", "novelty=new-*", "matches=", "existing=no"}
	no := []string{"exe=/usr/bin/cur", "exe=curl", "exe!=/usr/bin/curl", "!exe~bin", "name=CURL", "cmdline=curl", "sha256=b1", "sha256=", "parent.exe=", "parent.name=curl",
		"ancestor.exe=/usr/bin/curl", "ancestor.exe=", "uid=0", "unit=", "proto=udp", "raddr=11.0.0.0/8", "raddr=", "raddr=::/0", "laddr=0.0.0.0/0", "rport=443",
		"domain=github.com", "domain=*.api.github.com", "domain=.hub.com", "domain=", "country=US", "novelty=", "novelty=new", "result!=closed", "existing=yes", "matches=x"}
	for want, filters := range map[bool][]string{true: yes, false: no} {
		for _, f := range filters {
			fs, err := query.Parse([]string{f})
			if err != nil {
				t.Error(err)
				continue
			}
			if got := fs.Match(&r); got != want {
				t.Errorf("%s: match is %v, want %v", f, got, want)
			}
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"exe=/usr/bin/curl", "!rport=1-2,3", `cmdline~a\,b\*c`, "raddr=10.0.0.0/8,::1", "domain=.github.com", "sha256=ab,", "proto=ip-99", "\x00=\xff"} {
		f.Add(s)
	}
	records := []event.Record{{}, {Ancestor: event.Ancestor{Exe: "/usr/bin/curl"}, Parent: &event.Ancestor{}, RAddr: "10.0.0.1", Domain: "github.com", Proto: "tcp"}}
	f.Fuzz(func(t *testing.T, s string) {
		fs, err := query.Parse([]string{s})
		var pe *query.ParseError
		if errors.As(err, &pe) && (pe.Offset < 0 || pe.Offset > len(s)) {
			t.Fatalf("position %d of %q", pe.Offset, s)
		}
		if err != nil {
			return
		}
		opposite, err := query.Parse([]string{flip(s)})
		for i := range records {
			if got := fs.Match(&records[i]); err == nil && opposite.Match(&records[i]) == got {
				t.Fatalf("%q and %q both give %v", s, flip(s), got)
			}
		}
	})
}

// flip turns a filter into its opposite.
func flip(s string) string {
	if rest, ok := strings.CutPrefix(s, "!"); ok {
		return rest
	}
	return "!" + s
}
