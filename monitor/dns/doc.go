// Package dns finds the domain name that belongs to a connection and says
// where it has it from.
//
// Promise: a name with source dns was received by this very process (or by the
// process it was forked from, before the fork) in a DNS answer that matches a
// query seen on the same socket: id, question, server address and port. Nothing
// that another process or an uninvited packet says makes such a name. All other
// sources are labelled as what they are; docs/names.md says what each is worth.
//
// Ranking, best first, and why:
//
//  1. dns: the process asked for this name and got this address.
//  2. resolved: nss-resolve asks systemd-resolved without a packet, so the
//     monitor of resolved is the only witness; it does not say who asked.
//  3. hosts: programs read the hosts file before DNS, hence for a process
//     without an answer of its own this is where the name came from; only root
//     can write it. It stands behind dns because a process with an answer for
//     this address has asked for that name and not for the one in the file.
//  4. dns-other: a configured resolver told another process of the host (nscd,
//     sssd, the image before an exec). Never for loopback addresses.
//  5. sni, quic: what the client claims in its ClientHello.
//  6. names of 1, 2 and 4 that were learned only after the connection began.
//  7. reverse: the owner of the address claims it. Off unless configured.
//
// Within one source the name that equals the claim of the ClientHello wins, else
// the one learned last. A claim that differs from the name stays beside it.
//
// A fork copies the memory of the parent, and so the child keeps the names that
// its parent had at that moment. An exec throws the memory away: the new image
// starts without names of its own and sees those of the old one as dns-other.
//
// Every input is hostile. All tables are bounded, drop what is oldest and count
// it as event.LossNameTable.
//
// Terms. A fact is one name of one address with its server and its times. A
// scope is who may use a fact: one process, or the host. A claim is the name in
// a ClientHello. The host's network namespace is the one that snitch runs in:
// a resolver counts as configured, and an answer as dns-other, only there, for
// in a namespace of its own any user can be 127.0.0.53.
package dns
