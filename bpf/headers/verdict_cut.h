/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* verdict_cut.h: user space asks after a flip: which connections are forbidden
 * now? It destroys them. */
#ifndef SNITCH_VERDICT_CUT_H
#define SNITCH_VERDICT_CUT_H

/* What only cutting reads of a socket. */
struct cookie___cut {
	__s64 counter;
};

struct sock_common___cut {
	int skc_bound_dev_if;
	struct cookie___cut skc_cookie;
} __attribute__((preserve_access_index));

static __always_inline void typed_local(struct sock *sk, __u8 *addr)
{
	struct sock_common *c = &sk->__sk_common;

	if (c->skc_family == AF_INET)
		full_v4(addr, c->skc_rcv_saddr);
	else
		put_v6(addr, c->skc_v6_rcv_saddr.in6_u.u6_addr32);
}

static __always_inline void typed_peer(struct sock *sk, __u8 *addr)
{
	struct sock_common *c = &sk->__sk_common;

	if (c->skc_family == AF_INET)
		full_v4(addr, c->skc_daddr);
	else
		put_v6(addr, c->skc_v6_daddr.in6_u.u6_addr32);
}

static __always_inline void cut_query(struct sock *sk, struct verdict_sock *st, struct query *q)
{
	bool out = st->direction == VERDICT_OUT;
	__u16 port = bpf_ntohs(sk->__sk_common.skc_dport);

	typed_local(sk, out ? q->from : q->to);
	typed_peer(sk, out ? q->to : q->from);
	q->to_port = out ? port : sk->__sk_common.skc_num;
	q->from_port = out ? sk->__sk_common.skc_num : port;
	q->has = HAS_TO | HAS_TO_PORT | HAS_FROM | HAS_FROM_PORT;
	q->direction = out ? VERDICT_OUT : VERDICT_IN;
	q->proto = wire_proto(sk->sk_protocol);
	q->family = sk->__sk_common.skc_family;
	q->hook = HOOK_CUT;
	q->id = st->id;
	/* Linux 5.10 has no helper for it here; 0: nobody asked for one yet */
	q->cookie = ((struct sock_common___cut *)sk)->skc_cookie.counter;
}

/* Writes a connection with a peer that is denied now. */
static __always_inline void cut_socket(struct seq_file *seq, struct sock *sk,
				       struct verdict_sock *st)
{
	__u16 port = sk->__sk_common.skc_dport;
	__u8 state = sk->__sk_common.skc_state;
	struct verdict_event e = {};
	struct query q = {};

	if (!st->id.start || !st->direction || !port || state == TCP_LISTEN || state == TCP_CLOSE ||
	    !has_ports(wire_proto(sk->sk_protocol)))
		return;
	cut_query(sk, st, &q);
	judge(&q);
	if (q.verdict != VERDICT_DENY)
		return;
	event_fill(&e, &q, VERDICT_DENIED, VERDICT_DENY);
	e.netns = sk->__sk_common.skc_net.net->ns.inum;
	e.interface = ((struct sock_common___cut *)sk)->skc_bound_dev_if;
	bpf_seq_write(seq, &e, sizeof(e));
}

/* The same by descriptor, where the kernel cannot list sockets by their storage.
 * What more than one descriptor names is written more than once. */
static __always_inline void cut_file(struct seq_file *seq, struct file *file)
{
	struct socket *socket = bpf_sock_from_file(file);
	struct sock *sk = socket ? socket->sk : NULL;
	struct verdict_sock *st;

	if (!sk ||
	    (sk->__sk_common.skc_family != AF_INET && sk->__sk_common.skc_family != AF_INET6))
		return;
	st = sock_get(sk);
	if (st)
		cut_socket(seq, sk, st);
}

#endif
