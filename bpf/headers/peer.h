/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * peer.h: whom a datagram call talks to. The hook (sendmsg4 …, or the packet
 * for raw sockets) runs inside the call, before the trace point of its end, in
 * the same thread. It leaves the peer in a slot claimed by the thread; for the
 * primary peer it leaves nothing when sending, which costs nothing.
 */
#ifndef SNITCH_PEER_H
#define SNITCH_PEER_H

static __always_inline void slot_fill(struct peer_slot *slot, const __u8 *addr, __u16 port)
{
	__builtin_memcpy(slot->peer.addr, addr, 16);
	slot->peer.port = port;
}

static __always_inline struct sock_peers *peers_make(void *sk)
{
	struct sock_peers *p = bpf_sk_storage_get(&peers, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);

	return p ? p : bpf_sk_storage_get(&peers, sk, 0, 0); /* see state_make */
}

/* Leaves peer for the end of this thread's call. */
static __noinline int peer_leave(void *sk, struct sock_state *st, const __u8 *addr, __u16 port)
{
	struct sock_peers *p = peers_make(sk);
	struct peer over = {.port = port};
	__u32 tid = current_tid();

	if (p) {
#pragma unroll
		for (int i = 0; i < PEER_SLOTS; i++) { /* the end of its last call was not seen */
			if (p->slot[i].tid != tid)
				continue;
			slot_fill(&p->slot[i], addr, port);
			return 0;
		}
	}
	__sync_fetch_and_add(&st->slots, 1);
	if (p) {
#pragma unroll
		for (int i = 0; i < PEER_SLOTS; i++) {
			struct peer_slot *slot = &p->slot[i];

			if (slot->tid || __sync_val_compare_and_swap(&slot->tid, 0, tid))
				continue;
			slot_fill(slot, addr, port);
			return 0;
		}
	}
	__builtin_memcpy(over.addr, addr, 16);
	if (bpf_map_update_elem(&calls, &tid, &over, BPF_ANY)) {
		__sync_fetch_and_add(&st->slots, -1);
		loss(LOSS_PEER);
	}
	return 0;
}

/* Takes what this thread's hook left; false if nothing. */
static __noinline int peer_take(struct sock *sk, struct sock_state *st, struct peer *peer)
{
	struct sock_peers *p = bpf_sk_storage_get(&peers, sk, 0, 0);
	__u32 tid = current_tid();
	struct peer *over;

	if (p) {
#pragma unroll
		for (int i = 0; i < PEER_SLOTS; i++) {
			struct peer_slot *slot = &p->slot[i];

			if (slot->tid != tid)
				continue;
			*peer = slot->peer;
			__sync_lock_test_and_set(&slot->tid, 0);
			__sync_fetch_and_add(&st->slots, -1);
			return 1;
		}
	}
	over = bpf_map_lookup_elem(&calls, &tid);
	if (!over)
		return 0;
	*peer = *over;
	bpf_map_delete_elem(&calls, &tid);
	__sync_fetch_and_add(&st->slots, -1);
	return 1;
}

/* The first peer becomes the primary one, for good. */
static __always_inline bool peer_primary(struct sock_state *st, const __u8 *addr, __u16 port,
					 __u8 kind, bool inbound)
{
	if (st->peer != PEER_NONE ||
	    __sync_val_compare_and_swap(&st->peer, PEER_NONE, PEER_BUSY) != PEER_NONE)
		return false;
	__builtin_memcpy(st->raddr, addr, 16);
	st->rport = port;
	st->kind = kind;
	st->inbound = inbound;
	__sync_lock_test_and_set(&st->peer, PEER_SET);
	return true;
}

static __always_inline bool peer_is_primary(struct sock_state *st, const __u8 *addr, __u16 port)
{
	return st->peer == PEER_SET && st->rport == port && same_addr(st->raddr, addr);
}

/* Queues the sender of a packet that a program may read without asking who
 * sent it. Runs in softirq. */
static __noinline int peer_queue(void *sk, const __u8 *addr, __u16 port, __u32 len, __u32 header)
{
	struct sock_peers *p = peers_make(sk);
	struct peer_packet *q;
	__u32 head;

	if (!p) {
		loss(LOSS_SOCKET_STATE);
		return 0;
	}
	head = __sync_fetch_and_add(&p->head, 1);
	if (head && !p->many) {
		q = &p->queue[(head - 1) % PEER_QUEUE];
		if (q->peer.port != port || !same_addr(q->peer.addr, addr))
			p->many = 1;
	}
	q = &p->queue[head % PEER_QUEUE];
	__builtin_memcpy(q->peer.addr, addr, 16);
	q->peer.port = port;
	q->len = len;
	q->header = header;
	return 0;
}

static __always_inline bool packet_fits(const struct peer_packet *q, __u32 bytes)
{
	return q->len == bytes || q->len - q->header == bytes;
}

/* Finds the sender of a datagram that was read without its address: the oldest
 * queued one of that length, else the newest. */
static __noinline int peer_dequeue(struct sock *sk, struct peer *peer, __u32 bytes)
{
	struct sock_peers *p = bpf_sk_storage_get(&peers, sk, 0, 0);
	__u32 at;

	if (!p || !p->head) {
		loss(LOSS_PEER);
		return 0;
	}
	if (!p->many) {
		p->tail++;
		*peer = p->queue[(p->head - 1) % PEER_QUEUE].peer;
		return 1;
	}
	at = p->tail;
	if (p->head - at > PEER_QUEUE)
		at = p->head - PEER_QUEUE;
#pragma unroll
	for (int i = 0; i < PEER_QUEUE; i++) {
		struct peer_packet *q = &p->queue[at % PEER_QUEUE];

		if (at == p->head)
			break;
		at++;
		if (!packet_fits(q, bytes))
			continue;
		*peer = q->peer;
		p->tail = at;
		return 1;
	}
	*peer = p->queue[(p->head - 1) % PEER_QUEUE].peer;
	loss(LOSS_PEER);
	return 1;
}

#endif
