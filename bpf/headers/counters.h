/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * counters.h: accounting without the trace points of the reference tier, with
 * what Linux 5.10 has: no storage in tracing programs, no atomics that return a
 * value, no typed current task in cgroup hooks.
 *
 * Datagrams are counted as packets that pass the socket's cgroup; streams by
 * the sequence numbers of their socket, whenever a packet leaves and whenever
 * the state changes. So "received" is what arrived in order for the socket,
 * read or not, and the owner is who last connected, bound or addressed the
 * socket, not who moved each byte. All bytes go to the flow map.
 *
 * A socket's state is written by its hooks without a lock: stream sockets are
 * serialised by the kernel's socket lock; for datagrams only the owner and the
 * last peer may change, and each packet carries its own peer.
 */
#ifndef SNITCH_COUNTERS_H
#define SNITCH_COUNTERS_H

/* In this tier a stream's `sent` is the sequence number up to which its bytes
 * were counted, and rx_seen how many bytes received were. */
#define SENT_UP_TO(st) (*(__u32 *)&(st)->sent)

static __always_inline void counter_inserted(void)
{
	struct record wake = {.type = RECORD_WAKE, .len = sizeof(wake)};

	__sync_fetch_and_add(&flows_inserted, 1);
	if (flows_inserted < flows_wake)
		return;
	flows_wake = ~0ULL; /* until user space has drained */
	wake.time = bpf_ktime_get_boot_ns();
	if (bpf_ringbuf_output(&ring, &wake, sizeof(wake), BPF_RB_FORCE_WAKEUP))
		loss(LOSS_RING_FULL);
}

/* flow_add for kernels without atomics that return a value. */
static __noinline int counter_add(struct flow_key *key, struct flow_value *v)
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
			counter_inserted();
			return 0;
		}
		/* full, or another CPU was faster */
		old = bpf_map_lookup_elem(map, key);
		if (!old)
			return flow_lost(key, v);
	}
	flow_merge(old, v);
	if (!old->lport && v->lport) { /* unknown when the attempt began */
		__builtin_memcpy(old->laddr, v->laddr, 16);
		old->lport = v->lport;
	}
	return 0;
}

/* Makes the current task the owner, if it is not. Process context only. */
static __noinline int counter_own(struct sock_state *st)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct task_struct *leader = BPF_CORE_READ(task, group_leader);
	__u32 pid = BPF_CORE_READ(leader, tgid);
	__u32 exec = BPF_CORE_READ(leader, self_exec_id);
	__u64 start = BPF_CORE_READ(leader, start_boottime);

	if (st->owner.pid == pid && st->owner.start == start && st->owner.exec == exec)
		return 0;
	st->owner.pid = pid;
	st->owner.start = start;
	st->owner.exec = exec;
	st->uid = (__u32)bpf_get_current_uid_gid();
	st->cgroup = bpf_get_current_cgroup_id();
	st->claim = CLAIM_OWNED;
	BPF_CORE_READ_STR_INTO(&st->comm, leader, comm);
	if (!st->netns)
		st->netns = BPF_CORE_READ(task, nsproxy, net_ns, ns.inum);
	return 0;
}

/* The state of a socket that the current task uses. */
static __noinline struct sock_state *counter_state(void *sk, __u64 cookie, __u32 family, __u32 type,
						   __u32 proto)
{
	struct sock_state *st = state_make(sk);

	if (!st)
		return NULL;
	if (!st->cookie) {
		state_init(st, family, proto, cookie, 0);
		st->raw = is_raw(type, proto);
	}
	counter_own(st);
	return st;
}

/* The state of a socket that moves bytes, where there may be no current task. */
static __always_inline struct sock_state *counter_seen(struct __sk_buff *skb, struct bpf_sock *sk)
{
	struct sock_state *st = state_of(sk);

	if (st)
		return st;
	st = state_make(sk);
	if (!st)
		return NULL;
	state_init(st, sk->family, sk->protocol, bpf_get_socket_cookie(skb), 0);
	st->existing = 1;
	st->raw = is_raw(sk->type, sk->protocol);
	return st;
}

/* --- streams ------------------------------------------------------------- */

/* The stream's own flow, with what is new in v. */
static __noinline int stream_tell(struct sock_state *st, struct flow_value *v)
{
	struct flow f = {};

	f.value = *v;
	state_flow(st, &f);
	f.value.last = bpf_ktime_get_boot_ns();
	if (!st->told)
		st->told = 1;
	return counter_add(&f.key, &f.value);
}

static __always_inline __u64 stream_arrived(struct tcp_sock *tp)
{
	struct sock *sk = &tp->inet_conn.icsk_inet.sk;

	return tp->bytes_received - (sk->__sk_common.skc_flags & SOCK_DONE ? 1 : 0);
}

/* Takes what the stream has moved since the last time. state: as it is, or was
 * when it is changing: the FIN is queued after the change. */
static __always_inline void stream_take(struct sock_state *st, struct tcp_sock *tp, __u8 state,
					struct flow_value *v)
{
	__u32 written = tp->write_seq - SENT_UP_TO(st);
	__s64 arrived = stream_arrived(tp) - st->rx_seen;

	if (fin_sent(state))
		written--;
	if ((__s32)written > 0) {
		v->sent = written;
		v->sent_ops = 1;
		SENT_UP_TO(st) += written;
	}
	if (arrived > 0) {
		v->received = arrived;
		v->recv_ops = 1;
		st->rx_seen += arrived;
	}
}

/* Counting begins here: nothing that was before is told. */
static __always_inline void stream_base(struct sock_state *st, struct tcp_sock *tp, __u32 sent)
{
	SENT_UP_TO(st) = sent;
	st->rx_seen = stream_arrived(tp);
}

static __always_inline void stream_ends(struct sock_state *st, struct tcp_sock *tp)
{
	struct sock *sk = &tp->inet_conn.icsk_inet.sk;

	sock_local(sk, st->laddr, &st->lport);
	if (sk->__sk_common.skc_dport)
		sock_peer(sk, st->raddr, &st->rport);
	st->peer = PEER_SET;
	st->netns = sock_netns(sk);
	st->proto = IPPROTO_TCP;
	if (is_subflow(tp))
		st->proto = IPPROTO_MPTCP;
}

/* A stream that was there before the monitor is met by one of its packets. */
static __always_inline void stream_adopt(struct sock_state *st, struct tcp_sock *tp)
{
	st->kind = tcp_kind(tp);
	st->result = RESULT_ESTABLISHED;
	stream_ends(st, tp);
	stream_base(st, tp, tp->snd_nxt); /* what is sent next is what is new */
}

/* connect(): the attempt, whatever comes of it. */
static __always_inline void counter_connect(struct bpf_sock_addr *ctx, struct peer *to)
{
	struct flow_value nothing = {};
	struct sock_state *st;

	if (!ctx->sk)
		return;
	st = counter_state(ctx->sk, bpf_get_socket_cookie(ctx), ctx->family, ctx->type,
			   ctx->protocol);
	if (!st || ctx->protocol != IPPROTO_TCP)
		return;
	state_restart(st, FLOW_CONNECT, RESULT_PENDING);
	st->stream = 1;
	st->first = bpf_ktime_get_boot_ns();
	__builtin_memcpy(st->raddr, to->addr, 16);
	st->rport = to->port;
	st->peer = PEER_SET;
	stream_tell(st, &nothing);
}

/* Who addresses a datagram owns the socket; its packet tells the peer. */
static __always_inline void counter_sendmsg(struct bpf_sock_addr *ctx)
{
	if (ctx->sk)
		counter_state(ctx->sk, bpf_get_socket_cookie(ctx), ctx->family, ctx->type,
			      ctx->protocol);
}

static __always_inline void counter_create(struct bpf_sock *ctx)
{
	counter_state(ctx, bpf_get_socket_cookie(ctx), ctx->family, ctx->type, ctx->protocol);
}

/* bind() to a port that the program chose makes a UDP socket a listener. */
static __always_inline void counter_bind(struct bpf_sock_addr *ctx)
{
	struct sock_state *st;

	if (!ctx->sk || !is_udp(ctx->protocol) || ctx->type == SOCK_RAW)
		return;
	st = counter_state(ctx->sk, bpf_get_socket_cookie(ctx), ctx->family, ctx->type,
			   ctx->protocol);
	if (st)
		st->bound = ctx->user_port != 0;
}

/* What bind() led to; the kernel shows each family's hook its own address. */
static __always_inline struct sock_state *counter_bound(struct bpf_sock *ctx)
{
	struct sock_state *st = state_of(ctx);

	if (!st || !st->bound)
		return NULL;
	st->lport = ctx->src_port;
	st->listed = 1;
	return st;
}

static __always_inline void counter_listens(struct sock_state *st)
{
	struct flow f = {};

	listener_flow(st, &f);
	counter_add(&f.key, &f.value);
}

static __always_inline void counter_bound4(struct bpf_sock *ctx)
{
	struct sock_state *st = counter_bound(ctx);

	if (!st)
		return;
	put_v4(st->laddr, ctx->src_ip4);
	counter_listens(st);
}

static __always_inline void counter_bound6(struct bpf_sock *ctx)
{
	struct sock_state *st = counter_bound(ctx);
	__u32 *w;

	if (!st)
		return;
	w = (__u32 *)st->laddr;
	w[0] = ctx->src_ip6[0];
	w[1] = ctx->src_ip6[1];
	w[2] = ctx->src_ip6[2];
	w[3] = ctx->src_ip6[3];
	counter_listens(st);
}

#endif
