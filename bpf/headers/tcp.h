/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * tcp.h: the life of stream sockets. The trace point fires before the state
 * changes. LISTEN and SYN_SENT are process context; everything else may be
 * softirq, where the current task is anybody.
 */
#ifndef SNITCH_TCP_H
#define SNITCH_TCP_H

/* The current task begins to listen or, by MPTCP, to connect. */
static __noinline int stream_begin(struct sock *sk, __u8 kind, __u8 result)
{
	struct tcp_sock *tp = bpf_skc_to_tcp_sock(sk);
	struct sock_state *st;

	if (!in_scope())
		return 0;
	st = state_make(sk);
	if (!st)
		return 0;
	if (st->kind == FLOW_LISTEN && st->result == RESULT_LISTENING && kind == FLOW_LISTEN)
		return 0; /* MPTCP says it twice */
	if (st->claim != CLAIM_BLANK)
		state_flush(st);
	if (!state_claim(st, st->claim))
		return 0;
	state_init(st, sk->__sk_common.skc_family, sk->sk_protocol, bpf_get_socket_cookie(sk),
		   sock_netns(sk));
	state_restart(st, kind, result);
	st->rx_seen = 0;
	st->taken = 0;
	st->hash = is_kernel_sock(sk);
	st->subflow = tp && is_subflow(tp);
	if (!st->stream) /* SCTP serves all its peers on the listener */
		st->bound = 1;
	state_own(st);
	state_publish(st, state_owned(st));
	return 0;
}

/* A socket that a listener made: its state is a copy of the listener's, whose
 * counters are 0. */
static __always_inline void stream_inherit(struct sock_state *st, __u16 proto)
{
	st->cookie = 0; /* up to 6.12 the kernel sets the child's after this */
	st->first = bpf_ktime_get_boot_ns();
	st->inbound = 1;
	st->proto = proto;
	st->released = 0;
	state_restart(st, FLOW_ACCEPT, RESULT_PENDING);
	st->subflow = 0;
	st->peer = PEER_NONE;
	st->in_done = 1;
}

static __always_inline void stream_child(struct sock *sk, struct sock_state *st)
{
	stream_inherit(st, sk->sk_protocol);
	st->hash = is_kernel_sock(sk);
	if (!st->sent_ops && !st->recv_ops) /* else it is late: see stream_late */
		state_publish(st, CLAIM_OPEN);
}

/* Whether it is a listener's child by now, which nobody told the state. */
static __always_inline bool stream_unborn(const struct sock_state *st, __be16 dport)
{
	return st->kind == FLOW_LISTEN && st->stream && dport;
}

static __noinline int stream_established(struct sock *sk, struct sock_state *st)
{
	struct tcp_sock *tp = bpf_skc_to_tcp_sock(sk);

	if (st->kind == FLOW_LISTEN)
		stream_child(sk, st);
	st->subflow = tp && is_subflow(tp);
	if (tp)
		heal_begin(st, tp);
	st->result = RESULT_ESTABLISHED;
	sock_local(sk, st->laddr, &st->lport);
	if (sk->__sk_common.skc_dport) { /* MPTCP copies it from the subflow later */
		if (st->peer != PEER_SET || !at_primary(sk, st))
			sock_peer(sk, st->raddr, &st->rport);
		st->peer = PEER_SET;
	}
	return 0;
}

/* Nobody told that it was established, and its lock is not held: the next
 * segment that leaves looks at the sequence numbers. */
static __always_inline void stream_late(struct sock *sk, struct sock_state *st)
{
	stream_established(sk, st);
	st->heal = HEAL_NONE;
	st->out_done = 0;
}

static __always_inline void stream_told(struct sock *sk, struct sock_state *st)
{
	stream_established(sk, st);
	state_cookie(sk, st);
}

static __always_inline __u8 error_result(int err, __u8 otherwise)
{
	switch (err) {
	case ECONNREFUSED:
		return RESULT_REFUSED;
	case ETIMEDOUT:
		return RESULT_TIMEOUT;
	case EHOSTUNREACH:
	case ENETUNREACH:
		return RESULT_UNREACHABLE;
	case ECONNRESET:
	case EPIPE:
		return RESULT_RESET;
	}
	return otherwise;
}

static __always_inline __u8 closed_result(struct sock *sk, const struct sock_state *st, int old)
{
	if (old == TCP_SYN_SENT)
		return error_result(sk->sk_err, RESULT_ABORTED);
	if (st->kind == FLOW_LISTEN)
		return RESULT_CLOSED;
	return error_result(sk->sk_err, RESULT_CLOSED);
}

static __noinline int stream_closed(struct sock *sk, struct sock_state *st, int old)
{
	struct tcp_sock *tp = bpf_skc_to_tcp_sock(sk);

	if (st->released || st->claim == CLAIM_BLANK)
		return 0;
	state_cookie(sk, st);
	if (tp)
		heal_closing(st, tp, old);
	if (!st->lport) /* lost once it is closed */
		sock_local(sk, st->laddr, &st->lport);
	if (sk->__sk_common.skc_dport && !at_primary(sk, st)) /* connect to 0.0.0.0 */
		sock_peer(sk, st->raddr, &st->rport);
	st->result = closed_result(sk, st, old);
	/* nobody will release it: never accepted, or a kernel socket */
	if ((!sk->sk_socket || st->hash) && !st->subflow) {
		if (!sk->sk_socket)
			st->released = 1;
		state_flush(st);
	}
	return 0;
}

/* accept() made a socket for an SCTP association: the current task's, which no
 * hook has seen. */
static __noinline int sctp_accepted(struct sock *sk)
{
	struct sock_state *st;

	if (!in_scope())
		return 0;
	st = state_make(sk);
	if (!st || !state_claim(st, CLAIM_BLANK))
		return 0;
	state_init(st, sk->__sk_common.skc_family, sk->sk_protocol, bpf_get_socket_cookie(sk),
		   sock_netns(sk));
	st->hash = is_kernel_sock(sk);
	sock_peer(sk, st->raddr, &st->rport);
	st->kind = FLOW_ACCEPT;
	st->inbound = 1;
	__sync_lock_test_and_set(&st->peer, PEER_SET);
	state_own(st);
	state_publish(st, state_owned(st));
	return 0;
}

static __always_inline void handle_set_state(struct sock *sk, int old, int new)
{
	struct sock_state *st;

	switch (new) {
	case TCP_LISTEN:
		stream_begin(sk, FLOW_LISTEN, RESULT_LISTENING);
		return;
	case TCP_SYN_SENT:
		if (sk->sk_protocol == IPPROTO_MPTCP)
			stream_begin(sk, FLOW_CONNECT, RESULT_PENDING);
		return;
	case TCP_SYN_RECV:
		if (old != TCP_LISTEN)
			return;
		break;
	case TCP_ESTABLISHED:
	case TCP_CLOSE:
		break;
	default:
		return;
	}
	st = state_of(sk);
	if (!st && new == TCP_ESTABLISHED && sk->sk_protocol == IPPROTO_SCTP && !sk->sk_socket)
		sctp_accepted(sk);
	if (!st || !st->stream)
		return;
	if (new == TCP_CLOSE)
		stream_closed(sk, st, old);
	else if (new == TCP_ESTABLISHED)
		stream_told(sk, st);
	else
		stream_child(sk, st);
}

#endif
