/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* cgroup.h: what a program asks of a socket: connect, send to, bind, close. */
#ifndef SNITCH_CGROUP_H
#define SNITCH_CGROUP_H

static __always_inline void addr_v4(struct bpf_sock_addr *ctx, struct peer *to)
{
	put_v4(to->addr, ctx->user_ip4);
	to->port = bpf_ntohs((__u16)ctx->user_port);
}

static __always_inline void addr_v6(struct bpf_sock_addr *ctx, struct peer *to)
{
	__u32 *w = (__u32 *)to->addr;

	w[0] = ctx->user_ip6[0];
	w[1] = ctx->user_ip6[1];
	w[2] = ctx->user_ip6[2];
	w[3] = ctx->user_ip6[3];
	to->port = bpf_ntohs((__u16)ctx->user_port);
}

static __always_inline void hook_init(struct sock_state *st, struct sock *sk, __u64 cookie)
{
	struct net *net = hook_read(sk, __sk_common.skc_net.net);

	state_init(st, hook_read(sk, __sk_common.skc_family), hook_read(sk, sk_protocol), cookie,
		   hook_read(net, ns.inum));
	st->hash = hook_bits(sk, sk_kern_sock);
	st->raw = is_raw(hook_read(sk, sk_type), st->proto);
}

/* Makes the current task the owner of a datagram socket without one. */
static __noinline int dgram_begin(struct sock_state *st, struct sock *sk, __u64 cookie)
{
	if (!state_claim(st, CLAIM_BLANK))
		return 0;
	hook_init(st, sk, cookie);
	state_own(st);
	state_publish(st, state_owned(st));
	return 0;
}

static __always_inline void stream_peer(struct sock_state *st, const struct peer *to)
{
	__builtin_memcpy(st->raddr, to->addr, 16);
	st->rport = to->port;
	__sync_lock_test_and_set(&st->peer, PEER_SET);
}

/* The first subflow of an MPTCP connection: the attempt is the parent's. */
static __always_inline void connect_mptcp(struct mptcp_sock *msk, const struct peer *to)
{
	struct sock_state *st = state_of(msk);

	if (st && st->peer != PEER_SET)
		stream_peer(st, to);
}

static __noinline int connect_stream(struct bpf_sock_addr *ctx, struct bpf_sock *sk,
				     struct peer *to)
{
	struct mptcp_sock *msk = bpf_skc_to_mptcp_sock(sk);
	struct sock_state *st;

	if (msk) {
		connect_mptcp(msk, to);
		return 0;
	}
	st = state_make(sk);
	if (!st)
		return 0;
	if (st->claim != CLAIM_BLANK) {
		if (st->result == RESULT_PENDING)
			st->result = RESULT_FAILED;
		state_flush(st);
	}
	if (!state_claim(st, st->claim))
		return 0;
	hook_init(st, hook_sock(sk), bpf_get_socket_cookie(ctx));
	state_restart(st, FLOW_CONNECT, RESULT_PENDING);
	st->rx_seen = 0;
	st->taken = 0;
	st->in_done = to->port != DNS_PORT;
	stream_peer(st, to);
	state_own(st);
	state_publish(st, state_owned(st));
	return 0;
}

static __always_inline void handle_connect(struct bpf_sock_addr *ctx, struct peer *to)
{
	struct bpf_sock *sk = ctx->sk;
	struct sock_state *st;

	if (!sk)
		return;
	if (ctx->protocol == IPPROTO_TCP) {
		connect_stream(ctx, sk, to);
		return;
	}
	st = state_make(sk);
	if (!st)
		return;
	st->out_done = 0;
	st->in_done = 0;
	st->quic = 0;
	if (st->claim == CLAIM_BLANK)
		dgram_begin(st, hook_sock(sk), bpf_get_socket_cookie(ctx));
}

/* Whether the socket is connected, and to whom. */
static __always_inline bool hook_peer(struct bpf_sock *sk, struct peer *peer)
{
	peer->port = bpf_ntohs(sk->dst_port);
	if (!peer->port)
		return false;
	if (sk->family == AF_INET) {
		put_v4(peer->addr, sk->dst_ip4);
	} else {
		__u32 *w = (__u32 *)peer->addr;

		w[0] = sk->dst_ip6[0];
		w[1] = sk->dst_ip6[1];
		w[2] = sk->dst_ip6[2];
		w[3] = sk->dst_ip6[3];
	}
	return true;
}

static __always_inline struct sock_state *hook_state(struct bpf_sock_addr *ctx, struct bpf_sock *sk)
{
	struct sock_state *st = state_of(sk);

	if (st)
		return st;
	st = state_make(sk);
	if (st)
		dgram_begin(st, hook_sock(sk), bpf_get_socket_cookie(ctx));
	return st;
}

/* A datagram is about to leave to an address that the program gave. */
static __always_inline void hook_sends(struct bpf_sock *sk, struct sock_state *st, struct peer *to)
{
	struct peer at = {};

	if (hook_peer(sk, &at)) {
		if (at.port == to->port && same_addr(at.addr, to->addr))
			return;
	} else if (peer_is_primary(st, to->addr, to->port) ||
		   peer_primary(st, to->addr, to->port, FLOW_DATAGRAM, false)) {
		return;
	}
	st->out_done = 0;
	st->in_done = 0;
	peer_leave(sk, st, to->addr, to->port);
}

static __always_inline void handle_sendmsg(struct bpf_sock_addr *ctx, struct peer *to)
{
	struct bpf_sock *sk = ctx->sk;
	struct sock_state *st;

	if (!sk)
		return;
	st = hook_state(ctx, sk);
	if (st)
		hook_sends(sk, st, to);
}

/* A datagram was taken, and its sender is told to the program. */
static __always_inline void hook_received(struct bpf_sock *sk, struct sock_state *st,
					  struct peer *from)
{
	struct peer at = {};

	if (!st->named_io)
		st->named_io = 1;
	if (hook_peer(sk, &at) && at.port == from->port && same_addr(at.addr, from->addr))
		return;
	if ((peer_is_primary(st, from->addr, from->port) ||
	     peer_primary(st, from->addr, from->port, FLOW_DATAGRAM, true)) &&
	    !__sync_val_compare_and_swap(&st->named, 0, current_tid()))
		return;
	peer_leave(sk, st, from->addr, from->port);
}

static __always_inline void handle_recvmsg(struct bpf_sock_addr *ctx, struct peer *from)
{
	struct bpf_sock *sk = ctx->sk;
	struct sock_state *st;

	if (!sk)
		return;
	st = hook_state(ctx, sk);
	if (st)
		hook_received(sk, st, from);
}

static __always_inline bool is_udp(__u32 proto)
{
	return proto == IPPROTO_UDP || proto == IPPROTO_UDPLITE;
}

/* A socket got a local port by bind(). */
static __always_inline void handle_bind(struct bpf_sock *ctx)
{
	struct sock_state *st;

	if (!is_udp(ctx->protocol) || ctx->type == SOCK_RAW)
		return;
	st = state_make(ctx);
	if (!st)
		return;
	st->bound = 1;
	if (st->claim == CLAIM_BLANK)
		dgram_begin(st, hook_ctx_sock(ctx), bpf_get_socket_cookie(ctx));
}

/* Raw and ICMP sockets show their peers in packets only: own them at birth. */
static __always_inline void handle_create(struct bpf_sock *ctx)
{
	__u32 proto = ctx->protocol;
	struct sock_state *st;

	if (ctx->type != SOCK_RAW &&
	    (proto == IPPROTO_TCP || is_udp(proto) || proto == IPPROTO_MPTCP))
		return;
	st = state_make(ctx);
	if (st)
		dgram_begin(st, hook_ctx_sock(ctx), bpf_get_socket_cookie(ctx));
}

static __always_inline bool bound_by_choice(struct sock *sk)
{
	return hook_bits(sk, sk_userlocks) & SOCK_BINDPORT_LOCK;
}

/* A UDP socket that waits on a port which the program chose is a listener, and
 * so is an SCTP socket that was told to listen. */
static __always_inline bool dgram_listens(struct sock *sk, struct sock_state *st)
{
	if (!st->bound || st->raw || hook_read(sk, __sk_common.skc_dport))
		return false;
	return bound_by_choice(sk) || hook_read(sk, __sk_common.skc_state) == TCP_LISTEN;
}

static __always_inline void listener_flow(const struct sock_state *st, struct flow *f)
{
	state_flow(st, f);
	__builtin_memset(f->key.raddr, 0, 16);
	f->key.rport = 0;
	f->key.kind = FLOW_LISTEN;
	f->value.result = RESULT_LISTENING;
	f->value.last = bpf_ktime_get_boot_ns();
}

static __noinline int listener_closed(struct sock_state *st)
{
	struct flow f = {};

	listener_flow(st, &f);
	f.value.result = RESULT_CLOSED;
	return flow_close(&f);
}

/* What became of an attempt whose end was not told. */
static __always_inline __u8 pending_result(__u8 state)
{
	switch (state) {
	case TCP_CLOSE:
		return RESULT_FAILED;
	case TCP_SYN_SENT:
	case TCP_SYN_RECV:
		return RESULT_ABORTED;
	}
	return RESULT_CLOSED;
}

static __always_inline __u8 released_result(const struct sock_state *st, struct sock *sk)
{
	switch (st->result) {
	case RESULT_ESTABLISHED:
	case RESULT_LISTENING:
		return RESULT_CLOSED;
	case RESULT_PENDING:
		if (st->kind == FLOW_ACCEPT)
			return RESULT_CLOSED;
		return pending_result(hook_read(sk, __sk_common.skc_state));
	}
	return st->result;
}

/* Fills what is only known by now. */
static __always_inline void state_complete(struct sock *sk, struct sock_state *st)
{
	if (!st->lport) {
		hook_local(sk, st->laddr, &st->lport);
		if (st->raw)
			st->lport = 0;
	}
	if (st->stream && st->peer != PEER_SET && st->kind != FLOW_LISTEN)
		hook_remote(sk, st->raddr, &st->rport);
	if (!st->kind)
		st->kind = dgram_kind(st, hook_read(sk, __sk_common.skc_dport));
}

/* The last descriptor is gone; no byte will move any more. */
static __always_inline void handle_release(struct bpf_sock *ctx)
{
	struct sock_state *st = state_of(ctx);
	struct sock *sk;

	if (!st || st->released || st->claim == CLAIM_BLANK)
		return;
	sk = hook_ctx_sock(ctx);
	if (stream_unborn(st, ctx->dst_port)) {
		stream_inherit(st, ctx->protocol);
		st->cookie = bpf_get_socket_cookie(ctx);
	}
	state_complete(sk, st);
	if (!st->stream && (st->listed || dgram_listens(sk, st)))
		listener_closed(st);
	st->result = released_result(st, sk);
	if (st->heal)
		heal_end(st, sk);
	st->released = 1;
	if (!st->subflow)
		state_flush(st);
}

#endif
