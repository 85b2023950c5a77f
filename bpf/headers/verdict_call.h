/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* verdict_call.h: what a program asks of a socket. A refused call fails at once
 * with EPERM. */
#ifndef SNITCH_VERDICT_CALL_H
#define SNITCH_VERDICT_CALL_H

static __always_inline bool no_address(const __u8 *a)
{
	const __u64 *w = (const __u64 *)a;

	return !w[0] && (!w[1] || w[1] == (__u64)V4_MAPPED);
}

/* The unspecified address reaches the loopback. */
static __always_inline void real_target(__u8 *to, bool v4)
{
	if (!no_address(to))
		return;
	if (v4 || ((__u32 *)to)[2])
		put_v4(to, bpf_htonl(0x7f000001));
	else
		to[15] = 1;
}

/* As put_v4, but 0.0.0.0 is an address too. */
static __always_inline void full_v4(__u8 *to, __be32 addr)
{
	__u32 *w = (__u32 *)to;

	w[0] = 0;
	w[1] = 0;
	w[2] = V4_MAPPED;
	w[3] = addr;
}

static __always_inline void call_source(struct bpf_sock *sk, struct query *q)
{
	__be32 addr[4], v4 = sk->src_ip4;

	asm volatile("" : "+r"(v4)); /* else clang joins two loads to one of an address */
	if (sk->family == AF_INET) {
		full_v4(q->from, v4);
	} else {
		addr[0] = sk->src_ip6[0];
		addr[1] = sk->src_ip6[1];
		addr[2] = sk->src_ip6[2];
		addr[3] = sk->src_ip6[3];
		put_v6(q->from, addr);
	}
	q->from_port = sk->src_port;
	if (!no_address(q->from))
		q->has |= HAS_FROM;
	if (q->from_port)
		q->has |= HAS_FROM_PORT;
}

static __always_inline __u8 wire_proto(__u32 proto)
{
	return proto == IPPROTO_MPTCP ? IPPROTO_TCP : proto;
}

static __always_inline void call_begin(struct bpf_sock_addr *ctx, struct query *q)
{
	subject_current(&q->id);
	q->cookie = bpf_get_socket_cookie(ctx);
	q->proto = wire_proto(ctx->protocol);
	q->family = ctx->family;
	q->to_port = bpf_ntohs((__u16)ctx->user_port);
	q->has = HAS_TO;
	if (has_ports(q->proto))
		q->has |= HAS_TO_PORT;
}

static __always_inline void call_v4(struct bpf_sock_addr *ctx, struct query *q)
{
	full_v4(q->to, ctx->user_ip4);
}

static __always_inline void call_v6(struct bpf_sock_addr *ctx, struct query *q)
{
	__be32 addr[4] = {ctx->user_ip6[0], ctx->user_ip6[1], ctx->user_ip6[2], ctx->user_ip6[3]};

	put_v6(q->to, addr);
}

/* A packet of this socket will be judged for the process of the call. */
static __always_inline struct verdict_sock *call_owner(struct bpf_sock *sk, struct query *q)
{
	struct verdict_sock *st = sock_make(sk);

	if (st)
		st->id = q->id;
	return st;
}

static __noinline int handle_connect(struct bpf_sock_addr *ctx, struct query *q)
{
	struct verdict_control *ctl = control();
	struct bpf_sock *sk = ctx->sk;
	struct verdict_sock *st;

	if (!enforcing(ctl) || !sk)
		return 1;
	call_begin(ctx, q);
	subflow_owner(sk, &q->id);
	real_target(q->to, q->family == AF_INET);
	q->direction = VERDICT_OUT;
	q->hook = HOOK_CONNECT;
	call_source(sk, q);
	judge(q);
	st = call_owner(sk, q);
	if (!st)
		return 0;
	st->held = 0;
	st->pace = 0;
	if (wants_source(q)) {
		st->out.verdict = VERDICT_NONE;
	} else if (!hold_begin(ctl, st, q, sk)) {
		if (is_datagram(q->proto) && !passes(q->verdict) && peer_answers(st, q))
			q->verdict = VERDICT_ALLOW;
		if (!settle(q, sk, st))
			return 0;
		remember(&st->out, q, q->to, q->to_port);
	}
	st->direction = VERDICT_OUT;
	return 1;
}

static __noinline int handle_sendmsg(struct bpf_sock_addr *ctx, struct query *q)
{
	struct bpf_sock *sk = ctx->sk;
	struct verdict_sock *st;

	if (!enforcing(control()) || !sk)
		return 1;
	call_begin(ctx, q);
	real_target(q->to, q->family == AF_INET);
	q->direction = VERDICT_OUT;
	q->hook = HOOK_SENDMSG;
	st = call_owner(sk, q);
	if (!st)
		return 0;
	call_source(sk, q);
	judge(q);
	if (wants_source(q)) {
		st->out.verdict = VERDICT_NONE;
		return 1;
	}
	if (!passes(q->verdict) && peer_answers(st, q))
		return 1;
	if (!settle(q, sk, st))
		return 0;
	if (!same_peer(&st->out, q->to, q->to_port) || st->out.generation != q->generation)
		peer_passed(st, q);
	return 1;
}

/* Whether bind() can still do something: the kernel refuses it for a socket that
 * has a port or is on its way to a peer, but asks us first. Such a one keeps its
 * owner and direction. */
static __always_inline bool bindable(const struct bpf_sock *sk)
{
	return sk->state == TCP_CLOSE && !sk->src_port;
}

/* A port that the program chose is a listener's; one that the kernel chooses is
 * judged when somebody calls it. */
static __noinline int handle_bind(struct bpf_sock_addr *ctx, struct query *q)
{
	struct bpf_sock *sk = ctx->sk;
	struct verdict_sock *st;

	if (!enforcing(control()) || !sk || ctx->type == SOCK_RAW || !bindable(sk))
		return 1;
	call_begin(ctx, q);
	q->direction = VERDICT_LISTEN;
	q->hook = HOOK_BIND;
	st = call_owner(sk, q);
	if (!st)
		return 0;
	st->direction = VERDICT_LISTEN;
	st->held = 0;
	if (!q->to_port || !(q->has & HAS_TO_PORT))
		return 1;
	judge(q);
	return settle(q, sk, st);
}

/* Sockets that no later call shows belong to who made them. One whose protocol
 * is denied wherever it goes is not made at all. */
static __noinline int handle_create(struct bpf_sock *ctx, struct query *q)
{
	__u32 proto = wire_proto(ctx->protocol);
	struct verdict_sock *st;

	if (!enforcing(control()) ||
	    (ctx->type != SOCK_RAW && (proto == IPPROTO_TCP || is_datagram(proto))))
		return 1;
	subject_current(&q->id);
	q->cookie = bpf_get_socket_cookie(ctx);
	q->proto = proto;
	q->family = ctx->family;
	q->direction = VERDICT_OUT;
	q->hook = HOOK_CREATE;
	st = sock_make(ctx);
	if (!st)
		return 0;
	st->id = q->id;
	st->direction = VERDICT_OUT;
	judge(q);
	if (q->verdict == VERDICT_DENY && !(q->uses & ~USES_PORTS))
		return settle(q, NULL, NULL);
	return 1;
}

#endif
