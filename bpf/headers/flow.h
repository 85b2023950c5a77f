/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* flow.h: the flow map, and what happens when it is full. */
#ifndef SNITCH_FLOW_H
#define SNITCH_FLOW_H

/* The bytes of v found no entry: keep them for their process. */
static __noinline int flow_lost(struct flow_key *key, struct flow_value *v)
{
	struct loss zero = {}, *l;
	__u32 slot = 0;
	void *map;

	loss_bytes(LOSS_FLOW_MAP_FULL, v->sent, v->received);
	map = bpf_map_lookup_elem(&overflow, &slot);
	if (!map)
		return -1;
	l = bpf_map_lookup_elem(map, &key->id);
	if (!l) {
		bpf_map_update_elem(map, &key->id, &zero, BPF_NOEXIST);
		l = bpf_map_lookup_elem(map, &key->id);
	}
	if (!l) {
		loss_bytes(LOSS_OVERFLOW_FULL, v->sent, v->received);
		return -1;
	}
	__sync_fetch_and_add(&l->count, 1);
	__sync_fetch_and_add(&l->sent, v->sent);
	__sync_fetch_and_add(&l->received, v->received);
	return -1;
}

/* Counts a new flow; wakes user space once in a generation, when half full. */
static __always_inline void flow_inserted(void)
{
	struct record wake = {.type = RECORD_WAKE, .len = sizeof(wake)};

	if (__sync_fetch_and_add(&flows_inserted, 1) + 1 != flows_wake)
		return;
	wake.time = bpf_ktime_get_boot_ns();
	if (bpf_ringbuf_output(&ring, &wake, sizeof(wake), BPF_RB_FORCE_WAKEUP))
		loss(LOSS_RING_FULL);
}

static __always_inline void flow_merge(struct flow_value *to, const struct flow_value *v)
{
	if (v->sent_ops) {
		__sync_fetch_and_add(&to->sent, v->sent);
		__sync_fetch_and_add(&to->sent_ops, v->sent_ops);
	}
	if (v->recv_ops) {
		__sync_fetch_and_add(&to->received, v->received);
		__sync_fetch_and_add(&to->recv_ops, v->recv_ops);
	}
	to->last = v->last;
	if (v->result != to->result)
		to->result = v->result;
	if (v->flags & ~to->flags & (FLOW_CLOSED | FLOW_EXISTING))
		to->flags |= v->flags & (FLOW_CLOSED | FLOW_EXISTING);
}

/* Adds v to the flow of key. Whatever happens, its bytes are counted once. */
static __noinline int flow_add(struct flow_key *key, struct flow_value *v)
{
	struct flow_value *old;
	__u32 slot = 0;
	void *map;

	map = bpf_map_lookup_elem(&flows, &slot);
	if (!map)
		return flow_lost(key, v);
	old = bpf_map_lookup_elem(map, key);
	if (!old) {
		if (!bpf_map_update_elem(map, key, v, BPF_NOEXIST)) {
			flow_inserted();
			return 0;
		}
		/* full, or another CPU was faster */
		old = bpf_map_lookup_elem(map, key);
		if (!old)
			return flow_lost(key, v);
	}
	flow_merge(old, v);
	return 0;
}

/* The last delta of a socket. */
static __always_inline int flow_close(struct flow *f)
{
	f->value.flags |= FLOW_CLOSED;
	if (bpf_ringbuf_output(&closed, f, sizeof(*f), BPF_RB_NO_WAKEUP))
		return flow_add(&f->key, &f->value);
	flow_inserted();
	return 0;
}

enum how {
	HOW_KIND = 0xff, /* mask of enum flow_kind */
	HOW_RECEIVE = 1 << 8,
	HOW_EXISTING = 1 << 9,
	HOW_NO_PORT = 1 << 10,
};

static __always_inline void account_actor(struct sock_state *st, struct flow *f)
{
	if (st) {
		f->key.id = st->owner;
		f->value.uid = st->uid;
		f->value.cgroup = st->cgroup;
		__builtin_memcpy(f->value.comm, st->comm, COMM_LEN);
		return;
	}
	current_id(&f->key.id);
	f->value.uid = (__u32)bpf_get_current_uid_gid();
	f->value.cgroup = bpf_get_current_cgroup_id();
	current_comm(f->value.comm);
}

/* One call of an actor on sk with a peer that is not what the socket's state
 * stands for. actor: a state whose owner it is, NULL for the current task. */
static __noinline int account(struct sock *sk, struct sock_state *actor, struct peer *peer,
			      __u32 how, __u64 bytes)
{
	struct flow f = {};

	account_actor(actor, &f);
	f.key.cookie = bpf_get_socket_cookie(sk);
	__builtin_memcpy(f.key.raddr, peer->addr, 16);
	f.key.rport = peer->port;
	f.key.proto = sock_proto(sk);
	f.key.kind = how & HOW_KIND;
	f.value.family = sk->__sk_common.skc_family;
	f.value.netns = sock_netns(sk);
	if (f.value.family == AF_INET || f.value.family == AF_INET6)
		sock_local(sk, f.value.laddr, &f.value.lport);
	if (how & HOW_NO_PORT)
		f.value.lport = 0;
	f.value.result = RESULT_ESTABLISHED;
	if (how & HOW_EXISTING)
		f.value.flags |= FLOW_EXISTING;
	if (how & HOW_RECEIVE) {
		f.value.flags |= FLOW_RECV_FIRST;
		f.value.received = bytes;
		f.value.recv_ops = 1;
	} else {
		f.value.sent = bytes;
		f.value.sent_ops = 1;
	}
	f.value.first = bpf_ktime_get_boot_ns();
	f.value.last = f.value.first;
	return flow_add(&f.key, &f.value);
}

#endif
