/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * verdict_peer.h: who began between a datagram socket and a peer. What was
 * allowed in one direction may be answered in the other.
 */
#ifndef SNITCH_VERDICT_PEER_H
#define SNITCH_VERDICT_PEER_H

static __always_inline void peer_key(struct verdict_peer_key *key, const struct query *q,
				     const __u8 *addr, __u16 port, __u8 direction)
{
	key->cookie = q->cookie;
	__builtin_memcpy(key->addr, addr, 16);
	key->port = port;
	key->direction = direction;
}

/* Whether the peer of q was allowed in the other direction, by these tables. */
static __noinline int peer_answers(struct verdict_sock *st, struct query *q)
{
	bool out = q->direction == VERDICT_OUT;
	struct verdict_peer_key key = {};
	struct judged *other;
	__u32 *generation;

	if (!st)
		return 0;
	other = out ? &st->in : &st->out;
	if (out)
		peer_key(&key, q, q->to, q->to_port, VERDICT_IN);
	else
		peer_key(&key, q, q->from, q->from_port, VERDICT_OUT);
	if (same_peer(other, key.addr, key.port) && other->generation == q->generation)
		return 1;
	generation = bpf_map_lookup_elem(&peers, &key);
	return generation && *generation == q->generation;
}

/* Remembers the peer of a datagram that passes. The one before it keeps its
 * right to an answer in the map. */
static __noinline int peer_passed(struct verdict_sock *st, struct query *q)
{
	bool out = q->direction == VERDICT_OUT;
	struct verdict_peer_key key = {};
	struct judged *mine;
	__u32 generation;

	if (!st)
		return 0;
	mine = out ? &st->out : &st->in;
	generation = mine->generation;
	if (mine->verdict && generation == q->generation) {
		peer_key(&key, q, mine->addr, mine->port, q->direction);
		bpf_map_update_elem(&peers, &key, &generation, BPF_ANY);
	}
	if (out)
		remember(mine, q, q->to, q->to_port);
	else
		remember(mine, q, q->from, q->from_port);
	return 0;
}

#endif
