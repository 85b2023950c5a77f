package record

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"time"

	"snitch/monitor/event"
)

// account is a user of the machine.
func account(name string) uint32 {
	switch name {
	case "root":
		return 0
	case "mara":
		return 1000
	case "jonas":
		return 1001
	case "www-data":
		return 33
	case "_apt":
		return 42
	case "lp":
		return 7
	case "avahi":
		return 108
	case "systemd-resolve":
		return 992
	case "systemd-timesync":
		return 997
	case "postgres":
		return 999
	case "prometheus":
		return 110
	}
	return 65534
}

// crowd makes processes. Those of one program, command line and version on one
// day are one process.
type crowd struct {
	programs []program
	byName   map[string]int
	made     map[image]*event.Process
	pid      uint32
	begin    time.Time
	days     int
}

type image struct{ program, args, day int }

func newCrowd(all []program, begin time.Time, days int) *crowd {
	c := &crowd{programs: all, byName: map[string]int{}, made: map[image]*event.Process{}, pid: 900, begin: begin, days: days}
	for i := range all {
		if _, ok := c.byName[all[i].name]; !ok {
			c.byName[all[i].name] = i
		}
	}
	return c
}

// process is the one of a program, with one of its command lines, on a day.
func (c *crowd) process(program, args, day int) *event.Process {
	key := image{program, args, day}
	if p := c.made[key]; p != nil {
		return p
	}
	if len(c.made) > 4096 { // earlier days
		for k := range c.made {
			if k.day < day-1 {
				delete(c.made, k)
			}
		}
	}
	p := c.start(program, args, day)
	c.made[key] = p
	return p
}

func (c *crowd) start(program, args, day int) *event.Process {
	g := &c.programs[program]
	c.pid += 1 + uint32(len(g.exe))%7
	at := c.begin.Add(time.Duration(day)*24*time.Hour + time.Duration(c.pid%3600)*time.Second)
	p := &event.Process{ID: event.ProcessID{PID: c.pid, Exec: 1, Start: uint64(at.UnixNano())}, Name: g.name[:min(len(g.name), 15)],
		Args: []string{g.args[args]}, UID: account(g.user), User: g.user, GID: account(g.user), NetNS: 4026531840, MountNS: 4026531841, PIDNS: 4026531836, Started: at,
		Executable: c.file(g, day)}
	if g.script != "" {
		p.Script = &event.Script{Path: g.script, SHA256: sha256.Sum256([]byte(g.script)), Reason: event.HashKnown}
		if strings.HasPrefix(g.script, "-m ") {
			p.Script.SHA256, p.Script.Reason = event.Digest{}, event.HashNoFile
		}
	}
	if program > 0 {
		p.Parent = c.process(c.byName[g.parent], 0, day) // "" is no name: systemd
	}
	p.Cgroup = c.cgroup(g, p.Parent)
	if g.container != "" {
		p.NetNS, p.MountNS, p.PIDNS = 4026532600+uint32(g.container[0]), 4026532700+uint32(g.container[0]), 4026532800+uint32(g.container[0])
		p.Executable.View = "container:" + g.container
		if p.Script != nil {
			p.Script.View = p.Executable.View
		}
	}
	return p
}

// file is the program's file on a day: updates replace it now and then.
func (c *crowd) file(g *program, day int) event.Executable {
	version := 0
	if g.versions > 1 {
		version = day * g.versions / max(1, c.days)
	}
	x := event.Executable{Path: g.exe, Kind: event.ExecutableFile, SHA256: sha256.Sum256(fmt.Appendf(nil, "%s %d", g.exe, version)), Reason: event.HashKnown, Package: g.pkg}
	switch g.kind {
	case "memfd":
		x.Kind = event.ExecutableMemfd
	case "deleted":
		x.Kind, x.Path = event.ExecutableDeleted, strings.Replace(g.exe, "k2Lq", fmt.Sprintf("k%dLq", version), 1)
	}
	if x.Path == "/usr/sbin/cups-browsed" && day > c.days/2 {
		x.Package = "modified:" + g.pkg
	}
	return x
}

func (c *crowd) cgroup(g *program, parent *event.Process) event.Cgroup {
	switch {
	case g.container != "":
		unit := "docker-" + g.container + ".scope"
		return event.Cgroup{Path: "/system.slice/" + unit, Unit: unit, Container: g.container}
	case g.unit != "" && g.user != "mara" && g.user != "jonas":
		return event.Cgroup{Path: "/system.slice/" + g.unit, Unit: g.unit}
	case g.unit != "":
		uid := account(g.user)
		return event.Cgroup{Path: fmt.Sprintf("/user.slice/user-%d.slice/user@%d.service/app.slice/%s", uid, uid, g.unit), Unit: g.unit}
	case parent != nil:
		return parent.Cgroup
	}
	return event.Cgroup{Path: "/"}
}
