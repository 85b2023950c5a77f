/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* adopt.h: sockets that no hook has seen: older than the monitor, the kernel's
 * own, or from outside the cgroup in scope. */
#ifndef SNITCH_ADOPT_H
#define SNITCH_ADOPT_H

static __always_inline __u64 tcp_consumed(struct sock *sk, const struct tcp_sock *tp)
{
	__u32 unread = tp->rcv_nxt - tp->copied_seq;
	__u64 bytes = tp->bytes_received - unread;

	/* the FIN has a sequence number too; splice eats it before it reports */
	if (!unread && sk->__sk_common.skc_flags & SOCK_DONE)
		bytes--;
	return bytes;
}

static __always_inline __u8 tcp_kind(const struct tcp_sock *tp)
{
	return tcp_accepted(tp) ? FLOW_ACCEPT : FLOW_CONNECT;
}

/* Of MPTCP, which a kernel may be built without. */
static __always_inline bool is_subflow(const struct tcp_sock *tp)
{
	return bpf_core_field_exists(tp->is_mptcp) && tp->is_mptcp;
}

static __always_inline bool is_raw(__u32 type, __u32 proto)
{
	return type == SOCK_RAW || proto == IPPROTO_ICMP || proto == IPPROTO_ICMPV6;
}

static __always_inline __u8 dgram_kind(const struct sock_state *st, bool connected)
{
	if (st->raw)
		return FLOW_RAW;
	return connected ? FLOW_CONNECT : FLOW_DATAGRAM;
}

static __always_inline void adopt_stream(struct sock *sk, struct sock_state *st)
{
	struct tcp_sock *tp = bpf_skc_to_tcp_sock(sk);
	__u8 state = sk->__sk_common.skc_state;

	state_restart(st, FLOW_CONNECT, RESULT_ESTABLISHED);
	st->existing = 1;
	sock_local(sk, st->laddr, &st->lport);
	if (state == TCP_LISTEN) {
		st->kind = FLOW_LISTEN;
		st->result = RESULT_LISTENING;
		return;
	}
	if (state == TCP_SYN_SENT)
		st->result = RESULT_PENDING;
	sock_peer(sk, st->raddr, &st->rport);
	st->peer = PEER_SET;
	if (tp && state == TCP_ESTABLISHED)
		st->kind = tcp_kind(tp);
}

/* Fills a claimed state from its socket; the owner is the caller's. */
static __always_inline void adopt_fill(struct sock *sk, struct sock_state *st)
{
	struct tcp_sock *tp = bpf_skc_to_tcp_sock(sk);

	/* before it is a stream, for whoever receives meanwhile */
	if (tp)
		__sync_lock_test_and_set(&st->rx_seen, tcp_consumed(sk, tp));
	state_init(st, sk->__sk_common.skc_family, sk->sk_protocol, bpf_get_socket_cookie(sk),
		   sock_netns(sk));
	/* no release hook: kernel sockets, and sockets of another cgroup */
	st->hash = filter || is_kernel_sock(sk);
	st->existing = 1;
	st->raw = is_raw(sk->sk_type, sk->sk_protocol);
	if (st->stream)
		adopt_stream(sk, st);
}

/* A state for sk, which moves bytes and has none. NULL: use the flow map. */
static __noinline struct sock_state *adopt(struct sock *sk)
{
	struct sock_state *st;

	if (!in_scope())
		return NULL;
	st = state_make(sk);
	if (!st || !state_claim(st, CLAIM_BLANK))
		return st;
	adopt_fill(sk, st);
	state_own(st);
	state_publish(st, state_owned(st));
	return st;
}

#endif
