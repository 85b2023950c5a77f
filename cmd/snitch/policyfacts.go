package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"snitch/monitor/event"
	"snitch/monitor/store/query"
	"snitch/policy"
	"snitch/policy/history"
	"snitch/policy/rule"
)

// lastDecided is the last connection that was denied or alerted: its facts, when
// it was decided, and the rules that did, nil when the record does not keep them.
func lastDecided(ctx context.Context, state string) (f *rule.Facts, at time.Time, set *rule.Set, err error) {
	rows, err := (&HistoryOptions{State: state}).open(ctx, []string{"would=alert,deny"})
	if err != nil {
		return nil, at, nil, err
	}
	defer rows.db.Close()
	newest := rows.query
	newest.Limit, newest.Order = 1, query.NewestFirst
	var last *event.Record
	err = rows.db.Connections(ctx, newest, func(r event.Record) error {
		last = &r
		return nil
	})
	switch {
	case err != nil:
		return nil, at, nil, databaseError(err)
	case last == nil:
		return nil, at, nil, errorWithHint(errors.New("no connection was denied or alerted"), "name one by --to, or by a line of 'snitch log --json'")
	}
	return rows.decided(ctx, last.Time, last.Rule)
}

// decided is the connection that was opened at a time, by preference one that a
// rule decided: its facts, nil when there is none, when it was decided, and the
// rules that did, nil when the record does not keep them.
func (s *recordedRows) decided(ctx context.Context, opened time.Time, by string) (f *rule.Facts, at time.Time, set *rule.Set, err error) {
	s.query.Since, s.query.Until = opened, opened.Add(time.Nanosecond)
	var revision string
	err = s.Rows(ctx, true, func(r *history.Row) error {
		if r.Opened != opened.UnixNano() {
			return nil // it began before, and was active then
		}
		d, err := r.Decision()
		if err != nil || f != nil && d.Rule != by {
			return err
		}
		facts, _, err := r.Facts()
		f, at, revision = &facts, d.At, d.Revision
		return err
	})
	if err != nil {
		return nil, at, nil, databaseError(err)
	}
	if at.IsZero() {
		at = time.Now()
	}
	kept, err := s.rules(ctx)
	if err != nil {
		return nil, at, nil, databaseError(err)
	}
	if sets := kept.Sets[revision]; len(sets) > 0 {
		set = sets[len(sets)-1].Set()
	}
	return f, at, set, nil
}

// lineFacts reads the first line of `snitch log --json`.
func lineFacts(b []byte) (*rule.Facts, error) {
	line, _, _ := bytes.Cut(bytes.TrimSpace(b), []byte("\n"))
	var r event.Record
	if err := json.Unmarshal(line, &r); err != nil {
		return nil, usageError(fmt.Errorf("standard input is no line of the log: %w", err), "pipe it from 'snitch log --json --limit 1'")
	}
	return recordFacts(&r)
}

// recordFacts makes the connection of a record again, and facts of it as the
// engine does. What a record does not keep is unknown: whether an allow may rest
// on its name is judged by the source, and of ancestors there is the program
// only.
func recordFacts(r *event.Record) (*rule.Facts, error) {
	c := event.Connection{Process: recordProcess(r), UID: r.UID, User: r.User, Country: r.Country, Novelty: r.Novelty,
		Cgroup: event.Cgroup{Path: r.Cgroup, Unit: r.Unit, Container: r.Container}}
	var ok bool
	if c.Family, c.Proto, ok = protocolNumbers(r.Family, r.Proto); !ok {
		return nil, usageError(fmt.Errorf("family %q and protocol %q are not known", r.Family, r.Proto), "pipe a line of 'snitch log --json'")
	}
	for _, d := range []event.Direction{event.Out, event.In, event.Listen} {
		if d.String() == r.Direction {
			c.Direction = d
		}
	}
	if c.Direction == event.DirectionInvalid {
		return nil, usageError(fmt.Errorf("direction %q is not known", r.Direction), "pipe a line of 'snitch log --json'")
	}
	var err error
	if c.Local, err = recordEnd(r.LAddr, r.LPort); err != nil {
		return nil, err
	}
	if c.Remote, err = recordEnd(r.RAddr, r.RPort); err != nil {
		return nil, err
	}
	if r.Domain != "" {
		source := event.ParseNameSource(r.DomainSource)
		c.Name = event.Name{Domain: r.Domain, Source: source, SNI: r.SNI, Trusted: source == event.NameDNS || source == event.NameResolved}
	}
	f := policy.Facts(&c)
	for i := range f.Ancestors {
		a := &f.Ancestors[i]
		a.HasUID, a.UID, a.Script = false, 0, ""
	}
	return &f, nil
}

func recordEnd(addr string, port uint16) (netip.AddrPort, error) {
	if addr == "" {
		return netip.AddrPort{}, nil
	}
	a, err := netip.ParseAddr(addr)
	if err != nil {
		return netip.AddrPort{}, usageError(fmt.Errorf("address: %w", err), "pipe a line of 'snitch log --json'")
	}
	return netip.AddrPortFrom(a, port), nil
}

// recordProcess builds the lineage from its top.
func recordProcess(r *event.Record) *event.Process {
	lineage := []*event.Ancestor{&r.Ancestor, r.Parent, r.Grandparent}
	for i := range r.Ancestors {
		lineage = append(lineage, &r.Ancestors[i])
	}
	var p *event.Process
	for i := min(len(lineage), event.MaxAncestors+1) - 1; i >= 0; i-- {
		if lineage[i] != nil {
			p = ancestorProcess(lineage[i], p)
		}
	}
	p.UID, p.User = r.UID, r.User
	if r.Script != "" {
		digest, _ := event.ParseDigest(r.ScriptSHA256) // one that does not parse is not known
		p.Script = &event.Script{Path: r.Script, SHA256: digest}
	}
	return p
}

func ancestorProcess(a *event.Ancestor, parent *event.Process) *event.Process {
	p := &event.Process{Name: a.Name, Parent: parent, Executable: event.Executable{Path: a.Exe, View: a.ExeView, Package: a.Package, Kind: event.ExecutableUnknown}}
	if a.Cmdline != "" {
		p.Args = []string{a.Cmdline}
	}
	for k := event.ExecutableFile; k <= event.ExecutableUnknown; k++ {
		if k.String() == a.ExeKind {
			p.Executable.Kind = k
		}
	}
	p.Executable.SHA256, _ = event.ParseDigest(a.SHA256) // one that does not parse is not known
	return p
}

// protocolNumbers reads what event.FamilyName and event.ProtoName wrote.
func protocolNumbers(family, proto string) (f, p uint16, ok bool) {
	for _, f = range []uint16{event.AFInet, event.AFInet6, event.AFPacket, event.AFVsock, event.AFXDP} {
		if event.FamilyName(f) != family {
			continue
		}
		for p = range uint16(event.ProtoMPTCP + 1) {
			if event.ProtoName(f, p) == proto {
				return f, p, true
			}
		}
	}
	return 0, 0, false
}
