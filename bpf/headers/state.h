/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* state.h: the life of a socket's state, from claim to flush. */
#ifndef SNITCH_STATE_H
#define SNITCH_STATE_H

static __always_inline struct sock_state *state_of(void *sk)
{
	return bpf_sk_storage_get(&sockets, sk, 0, 0);
}

static __always_inline struct sock_state *state_make(void *sk)
{
	struct sock_state *st = bpf_sk_storage_get(&sockets, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);

	if (!st) /* of two that create at once one is refused */
		st = bpf_sk_storage_get(&sockets, sk, 0, 0);
	if (!st)
		loss(LOSS_SOCKET_STATE);
	return st;
}

static __always_inline bool state_claim(struct sock_state *st, __u32 from)
{
	return __sync_val_compare_and_swap(&st->claim, from, CLAIM_BUSY) == from;
}

static __always_inline void state_publish(struct sock_state *st, __u32 claim)
{
	/* exchange is a full barrier: what was written before is seen first */
	__sync_lock_test_and_set(&st->claim, claim);
}

static __always_inline __u32 state_owned(struct sock_state *st)
{
	return st->hash ? CLAIM_SHARED : CLAIM_OWNED;
}

/* Makes the current task the owner; the state is BUSY. */
static __always_inline void state_own(struct sock_state *st)
{
	current_id(&st->owner);
	current_comm(st->comm);
	st->uid = (__u32)bpf_get_current_uid_gid();
	st->cgroup = bpf_get_current_cgroup_id();
}

/* Whether bytes that the current task moves may be added to st: the fast path. */
static __always_inline bool state_mine(struct sock_state *st)
{
	return st->claim == CLAIM_OWNED && is_current(&st->owner);
}

/* An accepted socket belongs to whoever moves bytes first. */
static __always_inline bool state_mine_now(struct sock_state *st)
{
	if (st->claim == CLAIM_OPEN && state_claim(st, CLAIM_OPEN)) {
		state_own(st);
		state_publish(st, state_owned(st));
	}
	return state_mine(st);
}

static __always_inline void state_sent(struct sock_state *st, __u64 bytes)
{
	__sync_fetch_and_add(&st->sent, bytes);
	__sync_fetch_and_add(&st->sent_ops, 1);
}

static __always_inline void state_received(struct sock_state *st, __u64 bytes)
{
	__sync_fetch_and_add(&st->received, bytes);
	__sync_fetch_and_add(&st->recv_ops, 1);
}

/* Moves the counters to v; false when there was nothing. */
static __always_inline bool state_take(struct sock_state *st, struct flow_value *v)
{
	if (st->sent_ops) {
		__sync_fetch_and_add(&st->taken, TAKING);
		v->sent_ops = __sync_lock_test_and_set(&st->sent_ops, 0);
		v->sent = __sync_lock_test_and_set(&st->sent, 0);
		__sync_fetch_and_add(&st->taken, v->sent - TAKING);
	}
	if (st->recv_ops) {
		v->recv_ops = __sync_lock_test_and_set(&st->recv_ops, 0);
		v->received = __sync_lock_test_and_set(&st->received, 0);
	}
	return v->sent_ops || v->recv_ops;
}

/* Key and identity of the state's own flow. */
static __always_inline void state_flow(const struct sock_state *st, struct flow *f)
{
	f->key.id = st->owner;
	f->key.cookie = st->cookie;
	__builtin_memcpy(f->key.raddr, st->raddr, 16);
	f->key.rport = st->rport;
	f->key.proto = st->proto;
	f->key.kind = st->kind;
	__builtin_memcpy(f->value.laddr, st->laddr, 16);
	f->value.lport = st->lport;
	f->value.family = st->family;
	f->value.netns = st->netns;
	f->value.uid = st->uid;
	f->value.cgroup = st->cgroup;
	__builtin_memcpy(f->value.comm, st->comm, COMM_LEN);
	f->value.result = st->result;
	f->value.first = st->first;
	if (st->inbound)
		f->value.flags |= FLOW_RECV_FIRST;
	if (st->existing)
		f->value.flags |= FLOW_EXISTING;
}

/* Moves all of the state into the flow map: the socket is closed, or is about
 * to become another connection. */
static __noinline int state_flush(struct sock_state *st)
{
	struct flow f = {};
	bool bytes = state_take(st, &f.value);

	if (!bytes && !st->told && !st->stream)
		return 0;
	state_flow(st, &f);
	f.value.last = bpf_ktime_get_boot_ns();
	st->emitted = st->result;
	return flow_close(&f);
}

/* What a new state is; first, claim and owner are the caller's. */
static __always_inline void state_init(struct sock_state *st, __u16 family, __u16 proto,
				       __u64 cookie, __u32 netns)
{
	st->family = family;
	st->proto = proto;
	st->cookie = cookie;
	st->netns = netns;
	st->stream = proto == IPPROTO_TCP || proto == IPPROTO_MPTCP;
	st->result = st->stream ? RESULT_PENDING : RESULT_ESTABLISHED;
	st->first = bpf_ktime_get_boot_ns();
}

/* Prepares a stream socket's state for a new connection or listener. The
 * socket lock is held; what was there before has been flushed. */
static __always_inline void state_restart(struct sock_state *st, __u8 kind, __u8 result)
{
	st->kind = kind;
	st->result = result;
	st->emitted = 0;
	st->told = 0;
	st->out_done = kind == FLOW_ACCEPT;
	st->in_done = 0;
	st->hello = 0;
	st->lport = 0;
	st->existing = 0;
	st->heal = HEAL_NONE;
}

/* A child gets its cookie late. */
static __always_inline void state_cookie(struct sock *sk, struct sock_state *st)
{
	if (!st->cookie)
		st->cookie = bpf_get_socket_cookie(sk);
}

static __always_inline bool is_kernel_sock(struct sock *sk)
{
	return BPF_CORE_READ_BITFIELD(sk, sk_kern_sock);
}

#endif
