package remote

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"snitch/monitor/event"
	"snitch/monitor/store"
)

var base = time.Date(2026, 3, 1, 12, 0, 0, 123456789, time.UTC)

// hostile is what a program may call itself: NUL, invalid and overlong UTF-8,
// lone surrogates, quotes, controls, four-byte characters, a megabyte.
func hostile() []string {
	return []string{"curl\x00", "\xff\xfe\xc0\x80\xed\xa0\x80", `'); DROP TABLE snitch_batch; --`, `\' \" \\ ` + "`$1::text ?", "\x01\x1b[31m\r\n\t\x7f",
		"😀\U0010ffff\ufffe\u202e", strings.Repeat("é", 1<<15), strings.Repeat("\x01", 1<<14)}
}

func testProcess(n int) *event.Process {
	top := &event.Process{Executable: event.Executable{Path: "/sbin/init", Kind: event.ExecutableFile}, Name: "init"}
	parent := &event.Process{Executable: event.Executable{Path: "/bin/\xffsh\x00", Kind: event.ExecutableFile, SHA256: event.Digest{}}, Name: "sh", Parent: top}
	grand := &event.Process{Executable: event.Executable{Path: "/bin/bash", Kind: event.ExecutableFile}, Name: "bash", Args: hostile(), Parent: parent}
	return &event.Process{ID: event.ProcessID{PID: uint32(n + 2)}, Executable: event.Executable{Path: fmt.Sprintf("/usr/bin/p%d", n%7), Kind: event.ExecutableFile, Package: "curl"},
		Script: &event.Script{Path: "/opt/\xfe.py"}, Name: "p\xff\x00", Args: hostile(), UID: 4294967295, User: "nobody", Parent: grand,
		Cgroup: event.Cgroup{Path: "/user.slice/\xff", Unit: "x.service"}, Started: base}
}

func testConnection(id uint64, p *event.Process, sent, received uint64) event.Connection {
	return event.Connection{ID: id, Process: p, Opened: base.Add(time.Duration(id) * time.Millisecond), Last: base.Add(time.Hour), Direction: event.Out,
		Family: event.AFInet6, Proto: event.ProtoTCP, Local: netip.MustParseAddrPort("[fe80::1%eth0]:1000"), Remote: netip.MustParseAddrPort("[2001:db8::1]:443"),
		Name: event.Name{Domain: "a\xff.example", Source: event.NameDNS, SNI: "\x00"}, Country: "DE", Sent: sent, Received: received, Packets: 3,
		Result: event.ResultClosed, Closed: true, UID: 4294967295, User: "\xff", Cgroup: event.Cgroup{Path: "/x", Container: "c"}, Novelty: []string{"destination", "program"},
		Decision: event.Decision{Action: event.ActionAllow, Would: event.ActionDeny, Mode: event.ModeAudit, Rule: "r\x00", Matches: []string{"a", "b"}, Revision: "1", Reason: "why\xff"}}
}

// testGrowth has n connections of 10 bytes up and 20 down each, and a row of
// every other table.
func testGrowth(n int) *store.Growth {
	g := &store.Growth{Time: base, Run: 7}
	p := testProcess(n)
	for i := range n {
		c := testConnection(uint64(i+1), p, 10, 20)
		g.Connections = append(g.Connections, store.Grown{Connection: &c, First: true, Sent: 10, Received: 20, Packets: 3})
	}
	unknown := event.Connection{ID: 1 << 63, Opened: time.Unix(-1<<40, 0), Last: time.Unix(1<<50, 0)} // nothing is known of it
	g.Connections = append(g.Connections, store.Grown{Connection: &unknown, First: true, Sent: 1<<64 - 1})
	g.Execs = []event.ExecSeen{{Time: base, Process: p}}
	g.Losses = []event.Loss{{Time: base, Cause: event.LossHash, Count: 2, Process: p, Detail: "\xff\x00"}}
	c := testConnection(1, p, 1, 1)
	a := event.NewAlert(event.AlertRule, "r", event.ActionDeny, "because\x00", base, &c)
	g.Alerts = []event.Alert{a}
	return g
}
