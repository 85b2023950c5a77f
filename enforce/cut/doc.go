// Package cut destroys sockets of connections that a new decision forbids, by
// SOCK_DESTROY of sock_diag. Both ends learn it at once: the program's next call
// fails with ECONNABORTED, and the peer of a TCP connection gets a reset.
//
// Promise. Only what was named is destroyed: a socket is found by its addresses
// and, where the flow tells one, by its cookie, which the kernel gives to no
// other socket of the boot. A socket that is gone already is no error. Other
// network namespaces are reached by a netlink socket that was opened inside.
package cut
