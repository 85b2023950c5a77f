package monitor

import "snitch/monitor/event"

// Complete asks for the names of c's peer, best first. c needs its process,
// cookie, protocol, peer and time. Safe for concurrent use.
func (m *Monitor) Complete(c *event.Connection) {
	if !hasPeer(c.Remote) || c.Process == nil {
		return
	}
	id, peer := c.Process.ID, c.Remote.Addr()
	c.Name = m.deps.Names.Lookup(id, c.Cookie, c.Proto, peer, c.Opened)
	c.Names = nil // a snapshot that was handed over keeps its own
	for _, e := range m.deps.Names.Candidates(id, c.Cookie, c.Proto, peer, c.Opened) {
		if len(c.Names) == event.MaxNames {
			break
		}
		e.Name.Trusted = e.Trustworthy()
		c.Names = append(c.Names, e.Name)
	}
	if len(c.Names) > 0 {
		c.Name.Trusted = c.Names[0].Trusted
	}
}
