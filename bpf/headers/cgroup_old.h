/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * cgroup_old.h: what a program asks of a socket, on kernels before 6.2, whose
 * cgroup hooks cannot be given a typed socket: its fields are read by address.
 * The same rules as in cgroup.h.
 */
#ifndef SNITCH_CGROUP_OLD_H
#define SNITCH_CGROUP_OLD_H

/* The address of a hook's socket as a plain number. The kernel passes struct
 * sock where the verifier sees another type; reading the pointer from memory
 * takes that type away. */
static __always_inline struct sock *old_sock(void *typed)
{
	struct sock *sk = NULL;

	bpf_probe_read_kernel(&sk, sizeof(sk), &typed);
	return sk;
}

static __always_inline void old_init(struct sock_state *st, struct sock *sk, __u64 cookie)
{
	state_init(st, BPF_CORE_READ(sk, __sk_common.skc_family), BPF_CORE_READ(sk, sk_protocol),
		   cookie, BPF_CORE_READ(sk, __sk_common.skc_net.net, ns.inum));
	st->hash = BPF_CORE_READ_BITFIELD_PROBED(sk, sk_kern_sock);
	st->raw = BPF_CORE_READ(sk, sk_type) == SOCK_RAW || st->proto == IPPROTO_ICMP ||
		  st->proto == IPPROTO_ICMPV6;
}

/* Makes the current task the owner of a datagram socket without one. */
static __noinline int old_begin(struct sock_state *st, struct sock *sk, __u64 cookie)
{
	if (!state_claim(st, CLAIM_BLANK))
		return 0;
	old_init(st, sk, cookie);
	state_own(st);
	state_publish(st, state_owned(st));
	return 0;
}

static __noinline int old_connect_stream(struct bpf_sock_addr *ctx, struct bpf_sock *sk,
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
	old_init(st, old_sock(sk), bpf_get_socket_cookie(ctx));
	state_restart(st, FLOW_CONNECT, RESULT_PENDING);
	st->in_done = to->port != DNS_PORT;
	stream_peer(st, to);
	state_own(st);
	state_publish(st, state_owned(st));
	return 0;
}

static __always_inline void old_connect(struct bpf_sock_addr *ctx, struct peer *to)
{
	struct bpf_sock *sk = ctx->sk;
	struct sock_state *st;

	if (!sk)
		return;
	if (ctx->protocol == IPPROTO_TCP) {
		old_connect_stream(ctx, sk, to);
		return;
	}
	st = state_make(sk);
	if (!st)
		return;
	st->out_done = 0;
	st->in_done = 0;
	st->quic = 0;
	if (st->claim == CLAIM_BLANK)
		old_begin(st, old_sock(sk), bpf_get_socket_cookie(ctx));
}

static __always_inline struct sock_state *old_state(struct bpf_sock_addr *ctx, struct bpf_sock *sk)
{
	struct sock_state *st = state_of(sk);

	if (st)
		return st;
	st = state_make(sk);
	if (st)
		old_begin(st, old_sock(sk), bpf_get_socket_cookie(ctx));
	return st;
}

static __always_inline void old_sendmsg(struct bpf_sock_addr *ctx, struct peer *to)
{
	struct bpf_sock *sk = ctx->sk;
	struct sock_state *st;

	if (!sk)
		return;
	st = old_state(ctx, sk);
	if (st)
		hook_sends(sk, st, to);
}

static __always_inline void old_recvmsg(struct bpf_sock_addr *ctx, struct peer *from)
{
	struct bpf_sock *sk = ctx->sk;
	struct sock_state *st;

	if (!sk)
		return;
	st = old_state(ctx, sk);
	if (st)
		hook_received(sk, st, from);
}

static __always_inline void old_bind(struct bpf_sock *ctx)
{
	struct sock_state *st;

	if (!is_udp(ctx->protocol) || ctx->type == SOCK_RAW)
		return;
	st = state_make(ctx);
	if (!st)
		return;
	st->bound = 1;
	if (st->claim == CLAIM_BLANK)
		old_begin(st, old_sock(ctx), bpf_get_socket_cookie(ctx));
}

static __always_inline void old_create(struct bpf_sock *ctx)
{
	__u32 proto = ctx->protocol;
	struct sock_state *st;

	if (ctx->type != SOCK_RAW &&
	    (proto == IPPROTO_TCP || is_udp(proto) || proto == IPPROTO_MPTCP))
		return;
	st = state_make(ctx);
	if (st)
		old_begin(st, old_sock(ctx), bpf_get_socket_cookie(ctx));
}

static __always_inline void old_address(struct sock *sk, __u8 *addr, bool local)
{
	struct in6_addr in6 = {};

	if (BPF_CORE_READ(sk, __sk_common.skc_family) == AF_INET) {
		put_v4(addr, local ? BPF_CORE_READ(sk, __sk_common.skc_rcv_saddr)
				   : BPF_CORE_READ(sk, __sk_common.skc_daddr));
		return;
	}
	if (local)
		BPF_CORE_READ_INTO(&in6, sk, __sk_common.skc_v6_rcv_saddr);
	else
		BPF_CORE_READ_INTO(&in6, sk, __sk_common.skc_v6_daddr);
	__builtin_memcpy(addr, &in6, 16);
}

/* Fills what is only known by now. */
static __always_inline void old_complete(struct sock *sk, struct sock_state *st)
{
	__u16 port = bpf_ntohs(BPF_CORE_READ(sk, __sk_common.skc_dport));

	if (!st->lport) {
		old_address(sk, st->laddr, true);
		st->lport = st->raw ? 0 : BPF_CORE_READ(sk, __sk_common.skc_num);
	}
	if (st->stream && st->peer != PEER_SET && st->kind != FLOW_LISTEN) {
		old_address(sk, st->raddr, false);
		st->rport = port;
	}
	if (!st->kind)
		st->kind = st->raw ? FLOW_RAW : port ? FLOW_CONNECT : FLOW_DATAGRAM;
}

static __always_inline __u8 old_result(const struct sock_state *st, struct sock *sk)
{
	if (st->result == RESULT_ESTABLISHED || st->result == RESULT_LISTENING)
		return RESULT_CLOSED;
	if (st->result != RESULT_PENDING)
		return st->result;
	if (st->kind == FLOW_ACCEPT)
		return RESULT_CLOSED;
	return BPF_CORE_READ(sk, __sk_common.skc_state) == TCP_CLOSE ? RESULT_FAILED
								     : RESULT_ABORTED;
}

static __always_inline bool old_listens(struct sock *sk, struct sock_state *st)
{
	return st->bound && !st->raw && !BPF_CORE_READ(sk, __sk_common.skc_dport) &&
	       BPF_CORE_READ_BITFIELD_PROBED(sk, sk_userlocks) & SOCK_BINDPORT_LOCK;
}

/* The last descriptor is gone; no byte will move any more. */
static __always_inline void old_release(struct bpf_sock *ctx)
{
	struct sock_state *st = state_of(ctx);
	struct sock *sk;

	if (!st || st->released || st->claim == CLAIM_BLANK)
		return;
	sk = old_sock(ctx);
	old_complete(sk, st);
	if (!st->stream && (st->listed || old_listens(sk, st)))
		listener_closed(st);
	st->result = old_result(st, sk);
	st->released = 1;
	if (!st->subflow)
		state_flush(st);
}

#endif
