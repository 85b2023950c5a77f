/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* address.h: addresses of sockets as 16 bytes, IPv4 as v4-mapped. */
#ifndef SNITCH_ADDRESS_H
#define SNITCH_ADDRESS_H

#define V4_MAPPED bpf_htonl(0xffff)

static __always_inline void put_v4(__u8 *to, __be32 addr)
{
	__u32 *w = (__u32 *)to;

	w[0] = 0;
	w[1] = 0;
	w[2] = addr ? V4_MAPPED : 0;
	w[3] = addr;
}

static __always_inline void put_v6(__u8 *to, const __be32 *addr)
{
	__u32 *w = (__u32 *)to;

	w[0] = addr[0];
	w[1] = addr[1];
	w[2] = addr[2];
	w[3] = addr[3];
}

static __always_inline bool same_addr(const __u8 *a, const __u8 *b)
{
	const __u64 *x = (const __u64 *)a, *y = (const __u64 *)b;

	return x[0] == y[0] && x[1] == y[1];
}

static __always_inline void sock_peer(struct sock *sk, __u8 *addr, __u16 *port)
{
	struct sock_common *c = &sk->__sk_common;

	if (c->skc_family == AF_INET6) {
		__u32 *w = (__u32 *)addr;

		w[0] = c->skc_v6_daddr.in6_u.u6_addr32[0];
		w[1] = c->skc_v6_daddr.in6_u.u6_addr32[1];
		w[2] = c->skc_v6_daddr.in6_u.u6_addr32[2];
		w[3] = c->skc_v6_daddr.in6_u.u6_addr32[3];
	} else {
		put_v4(addr, c->skc_daddr);
	}
	*port = bpf_ntohs(c->skc_dport);
}

static __always_inline void sock_local(struct sock *sk, __u8 *addr, __u16 *port)
{
	struct sock_common *c = &sk->__sk_common;

	if (c->skc_family == AF_INET6) {
		__u32 *w = (__u32 *)addr;

		w[0] = c->skc_v6_rcv_saddr.in6_u.u6_addr32[0];
		w[1] = c->skc_v6_rcv_saddr.in6_u.u6_addr32[1];
		w[2] = c->skc_v6_rcv_saddr.in6_u.u6_addr32[2];
		w[3] = c->skc_v6_rcv_saddr.in6_u.u6_addr32[3];
	} else {
		put_v4(addr, c->skc_rcv_saddr);
	}
	*port = c->skc_num;
	if (!*port) /* MPTCP, before and after it is bound */
		*port = bpf_ntohs(BPF_CORE_READ((struct inet_sock *)sk, inet_sport));
}

static __always_inline __u32 sock_netns(struct sock *sk)
{
	return sk->__sk_common.skc_net.net->ns.inum;
}

/* IPPROTO_*; of packet sockets the Ethernet protocol, if the kernel's own BTF
 * knows it (af_packet may be a module). */
static __always_inline __u16 sock_proto(struct sock *sk)
{
	struct packet_sock *po = (struct packet_sock *)sk;

	if (sk->__sk_common.skc_family != AF_PACKET)
		return sk->sk_protocol;
	return bpf_core_field_exists(po->num) ? bpf_ntohs(BPF_CORE_READ(po, num)) : 0;
}

/* Whether sk is connected to the state's primary peer. */
static __always_inline bool at_primary(struct sock *sk, const struct sock_state *st)
{
	struct sock_common *c = &sk->__sk_common;
	const __u32 *w = (const __u32 *)st->raddr;

	if (bpf_ntohs(c->skc_dport) != st->rport)
		return false;
	if (c->skc_family == AF_INET)
		return c->skc_daddr == w[3];
	return c->skc_v6_daddr.in6_u.u6_addr32[3] == w[3] &&
	       c->skc_v6_daddr.in6_u.u6_addr32[2] == w[2] &&
	       c->skc_v6_daddr.in6_u.u6_addr32[1] == w[1] &&
	       c->skc_v6_daddr.in6_u.u6_addr32[0] == w[0];
}

#endif
