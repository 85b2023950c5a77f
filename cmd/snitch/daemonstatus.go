package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"snitch/cmd/internal/control"
	"snitch/monitor/event"
	"snitch/monitor/store/schema"
)

// status gathers what every room tells. It is called from the goroutines of the
// control socket.
func (d *daemon) status(context.Context) (control.Status, error) {
	m := d.monitor.Stats()
	s := control.Status{
		Running: true, Version: build().Version, PID: os.Getpid(), State: d.state.path, Started: d.started,
		Uptime: time.Since(d.started).Seconds(), Mode: d.modeNow().String(), Tier: d.kernel.Tier().String(), Mechanisms: mechanisms(d.kernel),
		Events:      control.Events{Execs: m.Execs, Forks: m.Forks, Exits: m.Exits, Payloads: m.Payloads, Flows: m.Flows},
		Losses:      map[string]control.Loss{},
		Connections: control.Connections{Total: m.Connections, Open: m.Open, Ignored: d.filter.Ignored().Connections, Sent: m.Sent, Received: m.Received},
		Processes:   m.Processes, Live: d.hub.Live(), Outputs: d.outputsStatus(), Reputation: d.reputationStatus(),
	}
	for cause, l := range m.Losses {
		s.Losses[cause.String()] = control.Loss{Count: l.Count, Sent: l.Sent, Received: l.Received}
	}
	if n := s.Live.Lost; n > 0 {
		s.Losses[event.LossLive.String()] = control.Loss{Count: n}
	}
	h := d.hasher.Stats()
	s.Digests = control.Digests{Entries: h.Entries, Pending: h.Pending, Hits: h.Hits, Misses: h.Misses, Bytes: h.Bytes, Fanotify: h.Fanotify}
	n := d.names.Stats()
	s.Names = control.Names{Addresses: n.Addresses, Answers: n.Answers, Believed: n.Paired, Hellos: n.Hellos, Resolved: n.Resolved}
	b := d.broker.Status()
	s.Broker = control.Broker{PID: b.PID, Alive: b.Alive, Helpers: b.Helpers, Starts: b.Starts, Failed: b.Failed}
	s.Database = d.databaseStatus()
	s.Remote = d.remoteStatus()
	s.Policy, s.Fleet = d.policyStatus(), d.fleetStatus()
	s.Enforce = reported(d.enforce.Status())
	s.Packages, s.Desktops = d.packagesStatus(), d.desktopsStatus()
	s.Memory.RSS, s.Memory.PSS = memory(os.Getpid())
	s.Memory.BrokerRSS, s.Memory.BrokerPSS = memory(b.PID)
	return s, nil
}

// modeNow is the one that the kernel has.
func (d *daemon) modeNow() event.Mode {
	if b := d.enforce.Status().Backend; b != nil {
		return b.Mode
	}
	return event.ModeAudit
}

func (d *daemon) packagesStatus() control.Packages {
	o := d.owner.Stats()
	s := control.Packages{Databases: []control.PackageDatabase{}, Asked: o.Asked, Dropped: o.Dropped, Failed: o.Failed + o.Deadline}
	for _, db := range o.Databases {
		s.Databases = append(s.Databases, control.PackageDatabase{Name: db.Name, Packages: db.Packages, Files: db.Files, Bytes: uint64(db.Bytes), LoadTime: db.Load.Seconds()})
	}
	return s
}

func (d *daemon) desktopsStatus() control.Desktops {
	if d.notifier == nil {
		return control.Desktops{}
	}
	n := d.notifier.Stats()
	return control.Desktops{Enabled: true, Desks: int(n.Desks), Alerts: n.Alerts, Shown: n.Shown, Dropped: n.Dropped, Failed: n.Failed}
}

func (d *daemon) databaseStatus() control.Database {
	s := d.store.Stats()
	return control.Database{Path: filepath.Join(d.state.path, schema.FileName), Bytes: s.Bytes, Rows: s.Rows, Pending: s.Pending, Lost: s.Lost,
		Oldest: s.Retention.Oldest, LastWrite: s.LastWrite, LastError: s.LastError}
}

// memory reads what a process maps, in bytes; zeros when it is gone.
func memory(pid int) (rss, pss uint64) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return 0, 0
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		name, rest, _ := strings.Cut(lines.Text(), ":")
		kb, err := strconv.ParseUint(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
		if err != nil {
			continue
		}
		switch name {
		case "Rss":
			rss = kb << 10
		case "Pss":
			pss = kb << 10
		}
	}
	return rss, pss
}
