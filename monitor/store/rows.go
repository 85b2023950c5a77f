package store

import (
	"net/netip"

	"snitch/monitor/event"
	"snitch/monitor/store/schema"
)

// detailBytes bounds the text of a loss.
const detailBytes = 512

const insertConnection = `INSERT INTO connection (last, process, pid, context, direction, family, proto,
laddr, lport, raddr, rport, domain, domain_source, domain_age, sni, country, sent, received, packets,
result, closed, existing, decision, novelty, names, input, decided, opened, run, id)`

// connectionColumns is how many columns insertConnection names.
const connectionColumns = 30

const updateConnection = `UPDATE connection SET last=?, process=?, pid=?, context=?, direction=?, family=?, proto=?,
laddr=?, lport=?, raddr=?, rport=?, domain=?, domain_source=?, domain_age=?, sni=?, country=?, sent=?, received=?, packets=?,
result=?, closed=?, existing=?, decision=?, novelty=?, names=?, input=?, decided=?
WHERE opened=? AND run=? AND id=?`

// refs are the numbers of the interned parts of a connection; 0 is none.
type refs struct {
	lineage
	actorRefs
	decisionRefs
	laddr, raddr                         int64
	domain, sni, country, novelty, names int64
}

// actor is who acted and where.
type actor struct {
	uid, netns uint32
	user, host string
	cgroup     event.Cgroup
}

type (
	actorRefs    struct{ context, cgroup int64 }
	decisionRefs struct{ decision, rule int64 }
)

// connection inserts or updates the row of one snapshot and adds what is new
// to the sums of its minute.
func (t *txn) connection(p *pending) error {
	c := &p.conn
	before, known := t.work.next[c.ID]
	if !known {
		before, known = t.work.known[c.ID]
	}
	r, err := t.refer(c)
	if err != nil {
		return err
	}
	now := written{totals: totals{max(c.Sent, before.sent), max(c.Received, before.received)},
		opened: schema.FromTime(c.Opened), closed: c.Closed || before.closed}
	now.packets = max(c.Packets, before.packets)
	now.denied = c.Decision.Action == event.ActionDeny
	now.would = !now.denied && c.Decision.Would == event.ActionDeny
	if known {
		now.opened = before.opened
	}
	if err := t.put(c, &r, now, known); err != nil {
		return err
	}
	delta := since(now.totals, before.totals)
	t.total.sent, t.total.received = t.total.sent+delta.sent, t.total.received+delta.received
	t.sums.add(c, &r, p.minute, sum{sent: schema.FromCount(delta.sent), received: schema.FromCount(delta.received), connections: flag(!known),
		denied: flag(now.denied) - flag(before.denied), would: flag(now.would) - flag(before.would)})
	now.undecided = t.settle(c, &r, p.minute, delta, before.undecided, !known)
	t.grew(c, before, now, known)
	t.work.next[c.ID] = now
	return nil
}

// put writes the row.
func (t *txn) put(c *event.Connection, r *refs, now written, known bool) error {
	var last any
	if !c.Last.IsZero() {
		last = schema.FromTime(c.Last) - now.opened
	}
	var age any
	if !c.Name.At.IsZero() {
		age = max(0, int64(c.Opened.Sub(c.Name.At)))
	}
	var input, decided any
	if c.Decision.Input != 0 {
		input = int64(c.Decision.Input)
	}
	if !c.Decision.At.IsZero() {
		decided = schema.FromTime(c.Decision.At) - now.opened
	}
	var pid int64
	if c.Process != nil {
		pid = int64(c.Process.ID.PID)
	}
	args := [...]any{last, orNull(r.process), pid, r.context, int64(c.Direction), int64(c.Family), int64(c.Proto),
		orNull(r.laddr), int64(c.Local.Port()), orNull(r.raddr), int64(c.Remote.Port()),
		orNull(r.domain), int64(c.Name.Source), age, orNull(r.sni), orNull(r.country),
		schema.FromCount(now.sent), schema.FromCount(now.received), schema.FromCount(c.Packets),
		int64(c.Result), flag(now.closed), flag(c.Existing), r.decision, orNull(r.novelty), orNull(r.names), input, decided,
		now.opened, t.w.run, int64(c.ID)}
	if now.opened < t.w.blocks.until {
		if err := t.w.loosen(now.opened); err != nil {
			return err
		}
	}
	if known {
		if err := t.w.inserts.flush(); err != nil { // it may be among them
			return err
		}
		res, err := t.w.c.exec(updateConnection, args[:]...)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil || n == 1 {
			t.updated++
			return err
		}
		// The row was purged meanwhile: it lives on as a new one.
	}
	t.inserted++
	return t.w.inserts.add(args[:]...)
}

// refer interns the parts of c.
func (t *txn) refer(c *event.Connection) (r refs, err error) {
	in := t.w.intern
	if c.Process != nil {
		if r.lineage, err = t.process(c.Process); err != nil {
			return r, err
		}
	}
	if r.actorRefs, err = t.actor(actor{c.UID, c.NetNS, c.User, c.Host, c.Cgroup}); err != nil {
		return r, err
	}
	if r.decisionRefs, err = t.decide(&c.Decision); err != nil {
		return r, err
	}
	for _, a := range [...]struct {
		to   *int64
		from netip.Addr
	}{{&r.laddr, c.Local.Addr()}, {&r.raddr, c.Remote.Addr()}} {
		if a.from.IsValid() {
			if *a.to, err = in.address(a.from); err != nil {
				return r, err
			}
		}
	}
	return r, t.referNames(c, &r)
}

// referNames interns the parts of c that most connections do not have.
func (t *txn) referNames(c *event.Connection, r *refs) (err error) {
	in := t.w.intern
	if c.Name.Domain != "" {
		if r.domain, err = in.domain(c.Name.Domain); err != nil {
			return err
		}
	}
	if c.Name.SNI != "" {
		if r.sni, err = in.domain(c.Name.SNI); err != nil {
			return err
		}
	}
	if c.Country != "" {
		if r.country, err = in.text(c.Country); err != nil {
			return err
		}
	}
	if len(c.Novelty) > 0 {
		if r.novelty, err = in.list(c.Novelty); err != nil {
			return err
		}
	}
	names := c.Names
	if len(names) == 0 && c.Name.Domain != "" {
		names = []event.Name{c.Name}
	}
	r.names, err = t.nameList(names)
	return err
}

// oneName is the only name of most peers.
type oneName struct {
	domain  string
	source  event.NameSource
	trusted bool
}

// nameList interns the names of a peer, a single one once per transaction.
func (t *txn) nameList(names []event.Name) (id int64, err error) {
	switch len(names) {
	case 0:
		return 0, nil
	case 1:
		key := oneName{names[0].Domain, names[0].Source, names[0].Trusted}
		if id, ok := t.names[key]; ok {
			return id, nil
		}
		if id, err = t.w.intern.list(nameList(names)); err == nil {
			t.names[key] = id
		}
		return id, err
	}
	return t.w.intern.list(nameList(names))
}

// nameList is how the names of a peer are kept.
func nameList(names []event.Name) []string {
	out := make([]string, 0, event.MaxNames)
	for i := range names[:min(len(names), event.MaxNames)] {
		out = append(out, schema.FromName(names[i].Source.String(), names[i].Trusted, names[i].Domain))
	}
	return out
}

// process interns p once per transaction.
func (t *txn) process(p *event.Process) (lineage, error) {
	if l, ok := t.processes[p]; ok {
		return l, nil
	}
	l, err := t.w.intern.process(p, event.MaxAncestors)
	if err == nil {
		t.processes[p] = l
	}
	return l, err
}

// actor interns a once per transaction.
func (t *txn) actor(a actor) (r actorRefs, err error) {
	if r, ok := t.actors[a]; ok {
		return r, nil
	}
	r, err = t.w.intern.context(&a)
	if err == nil {
		t.actors[a] = r
	}
	return r, err
}

func (t *txn) exec(e event.ExecSeen) error {
	l, err := t.process(e.Process)
	if err != nil {
		return err
	}
	a, err := t.actor(actor{uid: e.Process.UID, netns: e.Process.NetNS, user: e.Process.User, cgroup: e.Process.Cgroup})
	if err != nil {
		return err
	}
	t.execs++
	_, err = t.w.c.exec("INSERT INTO exec_log (time, run, id, process, pid, context) VALUES (?, ?, ?, ?, ?, ?)",
		schema.FromTime(e.Time), t.w.run, t.execs, l.process, int64(e.Process.ID.PID), a.context)
	return err
}

func (t *txn) loss(l event.Loss) error {
	var process any
	if l.Process != nil {
		line, err := t.process(l.Process)
		if err != nil {
			return err
		}
		process = line.process
	}
	t.losses++
	_, err := t.w.c.exec("INSERT INTO loss (time, run, id, cause, count, sent, received, process, detail) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
		schema.FromTime(l.Time), t.w.run, t.losses, int64(l.Cause), schema.FromCount(l.Count),
		schema.FromCount(l.Sent), schema.FromCount(l.Received), process, l.Detail[:min(len(l.Detail), detailBytes)])
	return err
}

func orNull(id int64) any {
	if id == 0 {
		return nil
	}
	return id
}

func flag(b bool) int64 {
	if b {
		return 1
	}
	return 0
}
