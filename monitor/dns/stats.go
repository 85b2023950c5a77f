package dns

import "net/netip"

// Stats counts since the start, except for the states and sizes at its end.
type Stats struct {
	Queries   uint64 // DNS queries seen
	Answers   uint64 // DNS answers seen
	Paired    uint64 // answers that belong to a query
	Unpaired  uint64 // answers that nobody asked for; never believed
	Partial   uint64 // paired answers that were cut
	Foreign   uint64 // records in paired answers about other names; never believed
	Malformed uint64
	BadNames  uint64 // DNS messages about something that is no host name
	Ignored   uint64 // mDNS, LLMNR, other classes and operations, unknown kinds
	Learned   uint64 // facts stored, renewals included

	StreamsBroken  uint64 // TCP streams that could not be put in order
	Hellos         uint64 // ClientHellos read to their end
	HellosBad      uint64 // first bytes of a connection that are no ClientHello
	Claims         uint64 // names in ClientHellos
	Initials       uint64 // QUIC Initial packets
	InitialsSealed uint64 // of these, such as did not open

	ResolvedAnswers uint64 // answers that systemd-resolved reported
	ResolvedBad     uint64 // messages of its monitor that were not understood
	ReverseAsked    uint64
	ReverseDropped  uint64 // questions that did not fit the queue
	Dropped         uint64 // facts that bounded tables dropped (event.LossNameTable)

	Resolved   string // "connected", or why there is no connection to systemd-resolved's monitor
	Hosts      string // "" or why the hosts file could not be read
	ResolvConf string // "" or why no resolver configuration could be read
	Resolvers  []netip.Addr
	HostNames  int // names in the hosts file
	Addresses  int // addresses with a name from DNS, all scopes
	Processes  int // processes with names or heirs of such
	Pending    int // queries that wait for their answer
}

// Stats is safe for concurrent use.
func (n *Names) Stats() Stats {
	n.mu.Lock()
	defer n.mu.Unlock()
	s := n.stats
	s.Resolvers = n.resolvers.list()
	s.HostNames = n.hosts.names
	s.Addresses = n.table.addrs
	s.Processes = n.table.scopes.len()
	s.Pending = n.pending.len()
	return s
}
