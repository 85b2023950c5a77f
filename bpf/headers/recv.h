/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* recv.h: a call that received bytes has ended; the current task is the actor. */
#ifndef SNITCH_RECV_H
#define SNITCH_RECV_H

static __always_inline void stream_recv(struct sock *sk, struct sock_state *st, __u64 bytes)
{
	if (state_mine(st) || state_mine_now(st)) {
		state_received(st, bytes);
		return;
	}
	if (st->claim != CLAIM_BLANK && !st->subflow)
		stream_account(sk, st, NULL, HOW_RECEIVE, bytes);
}

/* Whether the datagram came from the primary peer; if not, *peer says from
 * whom. taken: the address was asked for and is known. */
static __always_inline bool recv_peer(struct sock *sk, struct sock_state *st, struct peer *peer,
				      int ret)
{
	__u32 named = st->named;

	if (named && named == current_tid()) {
		__sync_lock_test_and_set(&st->named, 0);
		return true;
	}
	if (st->slots && peer_take(sk, st, peer))
		return false;
	if (sk->__sk_common.skc_dport)
		return connected_peer(sk, st, peer, true);
	/* the program did not ask who sent it */
	st->named_io = 0;
	if (ret < 0 || !peer_dequeue(sk, peer, ret))
		return false;
	if (peer_is_primary(st, peer->addr, peer->port))
		return true;
	return state_mine(st) &&
	       peer_primary(st, peer->addr, peer->port, dgram_kind(st, false), true);
}

static __always_inline void dgram_recv(struct sock *sk, struct sock_state *st, int ret, int flags)
{
	struct peer peer = {};
	bool primary = recv_peer(sk, st, &peer, ret);

	if (ret < 0 || flags & MSG_PEEK)
		return;
	if (primary) {
		if (state_mine(st)) {
			state_received(st, ret);
			return;
		}
		peer_copy(&peer, st);
	}
	dgram_account(sk, st, &peer, HOW_RECEIVE, ret);
}

static __noinline int recv_unknown(struct sock *sk, int ret, int flags)
{
	struct sock_state *st;

	if (ret <= 0 || flags & MSG_PEEK)
		return 0;
	st = adopt(sk);
	if (!st)
		return 0;
	if (st->stream)
		stream_recv(sk, st, ret);
	else
		dgram_recv(sk, st, ret, flags);
	return 0;
}

/* Everything but TCP. */
static __always_inline void handle_recv(struct sock *sk, int ret, int flags)
{
	__u16 family = sk->__sk_common.skc_family;
	struct sock_state *st;

	if (family != AF_INET && family != AF_INET6) {
		if (is_network(family) && !(flags & (MSG_PEEK | MSG_ERRQUEUE)))
			other_account(sk, family, ret, HOW_RECEIVE);
		return;
	}
	if (sk->sk_protocol == IPPROTO_TCP || flags & MSG_ERRQUEUE)
		return;
	st = state_of(sk);
	if (!st)
		recv_unknown(sk, ret, flags);
	else if (!st->stream)
		dgram_recv(sk, st, ret, flags);
	else if (ret > 0 && !(flags & MSG_PEEK))
		stream_recv(sk, st, ret);
}

/* A program took bytes out of a TCP socket: by recv, splice, io_uring or
 * mapping. What it took is computed from the start of the stream, so nothing
 * is missed and a peek does not count. The socket lock is held. */
static __always_inline void handle_tcp_received(struct sock *sk)
{
	struct sock_state *st = state_of(sk);
	struct tcp_sock *tp = bpf_skc_to_tcp_sock(sk);
	__u64 consumed;
	__s64 bytes;

	if (!tp || is_subflow(tp))
		return;
	if (!st) {
		adopt(sk);
		return;
	}
	if (!st->stream) /* being adopted; the base line is taken there */
		return;
	consumed = tcp_consumed(sk, tp);
	bytes = consumed - st->rx_seen;
	if (bytes <= 0)
		return;
	st->rx_seen = consumed;
	if (sk->sk_lock.owned)
		stream_recv(sk, st, bytes);
	else if (st->claim == CLAIM_OWNED) /* softirq: the current task is not the actor */
		state_received(st, bytes);
	else
		stream_account(sk, st, st, HOW_RECEIVE, bytes);
}

#endif
