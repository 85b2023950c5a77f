// Package nft is the backend for hosts without usable cgroup BPF: it compiles
// rules to one nftables table of its own and owns that table alone. The user's
// tables are neither read nor changed, and nothing here runs the nft command.
//
// Promise. Set makes a new table in one transaction and then removes the old
// one: at no moment half of a policy holds, and nothing passes that both deny. A
// rule that packets cannot be matched by (a program, its hash, a name of the
// peer) is refused by id, position and key, never left out.
// Fail-open is kept by the kernel: the table lets everything pass when nobody
// has refreshed its heartbeat for enforce.BeatTimeout.
//
// Terms. A view is what one chain can tell of a packet: which end began, and
// whether the owner of the socket is known there. Where it is not, a deny waits
// for the view that knows it and an allow counts as given (docs/nftables.md). A
// line is one nft rule. Connections that are older than the connection tracking
// of the namespace are never judged by packets: cutting them is enforce/cut's.
package nft
