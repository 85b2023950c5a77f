/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* counters_stream.h: the life of TCP connections as sock_ops shows it. */
#ifndef SNITCH_COUNTERS_STREAM_H
#define SNITCH_COUNTERS_STREAM_H

struct bpf_sock_ops {
	__u32 op;
	__u32 args[4];
	__u32 family;
	__u32 remote_ip4;
	__u32 local_ip4;
	__u32 remote_ip6[4];
	__u32 local_ip6[4];
	__u32 remote_port;
	__u32 local_port;
	__u32 is_fullsock;
	__u32 snd_cwnd;
	__u32 srtt_us;
	__u32 bpf_sock_ops_cb_flags;
	__u32 state;
	__u32 rtt_min;
	__u32 snd_ssthresh;
	__u32 rcv_nxt;
	__u32 snd_nxt;
	__u32 snd_una;
	__u32 mss_cache;
	__u32 ecn_flags;
	__u32 rate_delivered;
	__u32 rate_interval_us;
	__u32 packets_out;
	__u32 retrans_out;
	__u32 total_retrans;
	__u32 segs_in;
	__u32 data_segs_in;
	__u32 segs_out;
	__u32 data_segs_out;
	__u32 lost_out;
	__u32 sacked_out;
	__u32 sk_txhash;
	__u64 bytes_received;
	__u64 bytes_acked;
	struct bpf_sock *sk __attribute__((aligned(8)));
};

enum {
	BPF_SOCK_OPS_TCP_CONNECT_CB = 3,
	BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB = 4,
	BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB = 5,
	BPF_SOCK_OPS_STATE_CB = 10,
	BPF_SOCK_OPS_TCP_LISTEN_CB = 11,
};

#define BPF_SOCK_OPS_STATE_CB_FLAG (1 << 2)

/* The SYN is about to be made; it takes the next number. */
static __always_inline void ops_connect(struct sock_state *st, struct tcp_sock *tp)
{
	struct flow_value nothing = {};

	SENT_UP_TO(st) = tp->write_seq + 1;
	st->rx_seen = 0;
	stream_ends(st, tp);
	stream_tell(st, &nothing);
}

static __always_inline void ops_established(struct sock_state *st, struct tcp_sock *tp)
{
	struct flow_value nothing = {};

	st->result = RESULT_ESTABLISHED;
	stream_ends(st, tp);
	stream_tell(st, &nothing);
}

/* A connection to a listener, whose state it has a copy of. */
static __always_inline void ops_accepted(struct bpf_sock_ops *ops, struct sock_state *st,
					 struct tcp_sock *tp)
{
	state_restart(st, FLOW_ACCEPT, RESULT_ESTABLISHED);
	st->cookie = bpf_get_socket_cookie(ops);
	st->first = bpf_ktime_get_boot_ns();
	st->stream = 1;
	st->inbound = 1;
	st->released = 0;
	SENT_UP_TO(st) = tp->write_seq;
	st->rx_seen = 0;
	ops_established(st, tp);
}

static __always_inline void ops_listen(struct sock_state *st, struct tcp_sock *tp)
{
	struct flow_value nothing = {};

	state_restart(st, FLOW_LISTEN, RESULT_LISTENING);
	st->stream = 1;
	st->first = bpf_ktime_get_boot_ns();
	stream_ends(st, tp);
	__builtin_memset(st->raddr, 0, 16);
	st->rport = 0;
	stream_tell(st, &nothing);
}

/* The state changes from old to next; what was moved until now is final when
 * the program has closed, since it cannot write any more. */
static __always_inline void ops_state(struct sock_state *st, struct tcp_sock *tp, __u32 old,
				      __u32 next)
{
	struct flow_value v = {};

	if (old == TCP_LISTEN) {
		if (next == TCP_CLOSE)
			st->result = RESULT_CLOSED;
	} else {
		stream_take(st, tp, old, &v);
		if (next == TCP_CLOSE)
			st->result = closed_result(&tp->inet_conn.icsk_inet.sk, st, old);
	}
	if (next == TCP_CLOSE) {
		v.flags = FLOW_CLOSED;
		st->released = 1;
	}
	if (v.sent_ops || v.recv_ops || v.flags)
		stream_tell(st, &v);
}

static __always_inline void counter_ops(struct bpf_sock_ops *ops)
{
	struct sock_state *st;
	struct bpf_sock *sk = ops->sk;
	struct tcp_sock *tp;
	__u32 op = ops->op;

	if (op < BPF_SOCK_OPS_TCP_CONNECT_CB || op > BPF_SOCK_OPS_TCP_LISTEN_CB || !sk)
		return;
	if (op > BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB && op < BPF_SOCK_OPS_STATE_CB)
		return;
	st = state_make(sk);
	tp = bpf_skc_to_tcp_sock(sk);
	if (!st || !tp)
		return;
	if (op != BPF_SOCK_OPS_STATE_CB &&
	    bpf_sock_ops_cb_flags_set(ops, ops->bpf_sock_ops_cb_flags | BPF_SOCK_OPS_STATE_CB_FLAG))
		loss(LOSS_HELPER);
	if (!st->cookie)
		state_init(st, ops->family, IPPROTO_TCP, bpf_get_socket_cookie(ops), 0);
	switch (op) {
	case BPF_SOCK_OPS_TCP_CONNECT_CB:
		ops_connect(st, tp);
		break;
	case BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB:
		ops_established(st, tp);
		break;
	case BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB:
		ops_accepted(ops, st, tp);
		break;
	case BPF_SOCK_OPS_TCP_LISTEN_CB:
		ops_listen(st, tp);
		break;
	case BPF_SOCK_OPS_STATE_CB:
		ops_state(st, tp, ops->args[0], ops->args[1]);
		break;
	}
}

#endif
