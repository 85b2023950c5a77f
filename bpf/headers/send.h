/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* send.h: a call that sent bytes has ended; the current task is the actor. */
#ifndef SNITCH_SEND_H
#define SNITCH_SEND_H

/* Families other than IP whose traffic leaves the machine or the guest. */
static __always_inline bool is_network(__u16 family)
{
	return family == AF_PACKET || family == AF_VSOCK || family == AF_XDP;
}

static __noinline int other_account(struct sock *sk, __u16 family, int ret, __u32 how)
{
	struct peer none = {};

	if (ret <= 0 || !in_scope())
		return 0;
	how |= family == AF_PACKET ? FLOW_PACKET : FLOW_SEEN;
	return account(sk, NULL, &none, how, ret);
}

static __always_inline void peer_copy(struct peer *peer, const struct sock_state *st)
{
	__builtin_memcpy(peer->addr, st->raddr, 16);
	peer->port = st->rport;
}

/* Bytes of a stream that are not the owner's. */
static __noinline int stream_account(struct sock *sk, struct sock_state *st,
				     struct sock_state *actor, __u32 how, __u64 bytes)
{
	struct peer peer = {};

	sock_peer(sk, peer.addr, &peer.port);
	if (!peer.port) /* reset meanwhile */
		peer_copy(&peer, st);
	how |= st->kind ? st->kind : FLOW_CONNECT;
	if (st->existing)
		how |= HOW_EXISTING;
	st->told = 1;
	return account(sk, actor, &peer, how, bytes);
}

static __always_inline void stream_send(struct sock *sk, struct sock_state *st, int ret)
{
	if (ret <= 0)
		return;
	if (state_mine(st) || state_mine_now(st)) {
		state_sent(st, ret);
		return;
	}
	if (st->claim != CLAIM_BLANK && !st->subflow) {
		__sync_fetch_and_add(&st->taken, ret);
		stream_account(sk, st, NULL, 0, ret);
	}
}

/* A datagram with a peer for which the state does not stand, or of an actor
 * who is not its owner. */
static __noinline int dgram_account(struct sock *sk, struct sock_state *st, struct peer *peer,
				    __u32 how, __u64 bytes)
{
	if (st->kind == FLOW_ACCEPT) /* of SCTP */
		how |= FLOW_ACCEPT;
	else
		how |= dgram_kind(st, sk->__sk_common.skc_dport);
	if (st->raw)
		how |= HOW_NO_PORT;
	if (st->existing)
		how |= HOW_EXISTING;
	st->told = 1;
	return account(sk, NULL, peer, how, bytes);
}

/* Whether a call without an address is one with the primary peer; if not, the
 * peer is in *peer. Makes the first peer the primary one. */
static __always_inline bool connected_peer(struct sock *sk, struct sock_state *st,
					   struct peer *peer, bool inbound)
{
	if (st->peer == PEER_SET && at_primary(sk, st))
		return true;
	sock_peer(sk, peer->addr, &peer->port);
	return state_mine(st) &&
	       peer_primary(st, peer->addr, peer->port, dgram_kind(st, true), inbound);
}

static __always_inline bool send_peer(struct sock *sk, struct sock_state *st, struct peer *peer)
{
	if (st->slots && peer_take(sk, st, peer))
		return false;
	if (sk->__sk_common.skc_dport)
		return connected_peer(sk, st, peer, false);
	/* unconnected: the hook left nothing, so it saw the primary peer */
	return st->peer == PEER_SET;
}

static __always_inline void dgram_send(struct sock *sk, struct sock_state *st, int ret)
{
	struct peer peer = {};
	bool primary = send_peer(sk, st, &peer);

	if (ret < 0)
		return;
	if (primary) {
		if (state_mine(st)) {
			state_sent(st, ret);
			return;
		}
		peer_copy(&peer, st);
	}
	dgram_account(sk, st, &peer, 0, ret);
}

static __noinline int send_unknown(struct sock *sk, int ret)
{
	struct sock_state *st;

	if (ret <= 0)
		return 0;
	st = adopt(sk);
	if (!st)
		return 0;
	if (st->stream)
		stream_send(sk, st, ret);
	else
		dgram_send(sk, st, ret);
	return 0;
}

static __always_inline void handle_send(struct sock *sk, int ret)
{
	__u16 family = sk->__sk_common.skc_family;
	struct sock_state *st;

	if (family != AF_INET && family != AF_INET6) {
		if (is_network(family))
			other_account(sk, family, ret, 0);
		return;
	}
	st = state_of(sk);
	if (!st)
		send_unknown(sk, ret);
	else if (st->stream)
		stream_send(sk, st, ret);
	else
		dgram_send(sk, st, ret);
}

#endif
