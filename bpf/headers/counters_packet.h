/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* counters_packet.h: packets that leave or reach a socket of the cgroup. */
#ifndef SNITCH_COUNTERS_PACKET_H
#define SNITCH_COUNTERS_PACKET_H

#define PACKET_WHOLE (1 << 9)

/* How many bytes of a packet the program sees: a raw IPv4 socket reads the
 * header too, and writes it only with IP_HDRINCL, which nobody tells us. */
static __always_inline __u32 packet_bytes(struct __sk_buff *skb, const struct sock_state *st,
					  const struct packet *p, __u32 how)
{
	if (!st->raw)
		return p->len;
	if (how & PACKET_WHOLE)
		return skb->len;
	return skb->len > p->header ? skb->len - p->header : 0;
}

/* A datagram: its flow is of the socket's owner and of the packet's peer. */
static __noinline int packet_count(struct __sk_buff *skb, struct sock_state *st, struct packet *p,
				   __u32 how)
{
	bool out = how & PAYLOAD_OUT;
	struct flow f = {};
	__u32 bytes = packet_bytes(skb, st, p, how);

	state_flow(st, &f);
	__builtin_memcpy(f.key.raddr, out ? p->dst : p->src, 16);
	__builtin_memcpy(f.value.laddr, out ? p->src : p->dst, 16);
	f.key.rport = out ? p->dport : p->sport;
	f.value.lport = out ? p->sport : p->dport;
	f.key.kind = how & 0xff;
	f.value.first = bpf_ktime_get_boot_ns();
	f.value.last = f.value.first;
	f.value.result = RESULT_ESTABLISHED;
	if (out) {
		f.value.sent = bytes;
		f.value.sent_ops = 1;
	} else {
		f.value.received = bytes;
		f.value.recv_ops = 1;
		f.value.flags |= FLOW_RECV_FIRST;
	}
	if (!st->told) { /* the first peer is the one whose end is told */
		st->told = 1;
		st->inbound = !out;
		st->kind = f.key.kind;
		st->first = f.value.first;
		__builtin_memcpy(st->raddr, f.key.raddr, 16);
		st->rport = f.key.rport;
		if (!st->listed) {
			__builtin_memcpy(st->laddr, f.value.laddr, 16);
			st->lport = f.value.lport;
		}
	}
	return counter_add(&f.key, &f.value);
}

static __always_inline __u32 packet_kind(const struct bpf_sock *sk, const struct sock_state *st)
{
	return dgram_kind(st, sk->dst_port != 0);
}

/* A segment leaves: count what the stream has moved until now. */
static __always_inline void segment_count(struct sock_state *st, struct tcp_sock *tp)
{
	__u8 state = tp->inet_conn.icsk_inet.sk.__sk_common.skc_state;
	struct flow_value v = {};

	if (state == TCP_SYN_SENT || state == TCP_SYN_RECV || st->kind == FLOW_LISTEN)
		return;
	if (st->existing && st->peer != PEER_SET)
		stream_adopt(st, tp);
	stream_take(st, tp, state, &v);
	if (v.sent_ops || v.recv_ops)
		stream_tell(st, &v);
}

static __always_inline void counter_egress(struct __sk_buff *skb)
{
	struct bpf_sock *sk = skb->sk;
	struct tcp_sock *tp;
	struct sock_state *st;
	struct packet p = {};

	if (!sk)
		return;
	sk = bpf_sk_fullsock(sk);
	if (!sk || sk->state == TCP_LISTEN)
		return;
	st = counter_seen(skb, sk);
	if (!st)
		return;
	tp = bpf_skc_to_tcp_sock(sk);
	if (tp) {
		segment_count(st, tp);
		if (!st->out_done && !packet_parse(skb, &p) && p.proto == IPPROTO_TCP)
			tcp_egress(skb, st, &p);
		return;
	}
	if (packet_parse(skb, &p))
		return;
	packet_count(skb, st, &p, PAYLOAD_OUT | packet_kind(sk, st));
	if (!st->raw && is_udp(p.proto) && !st->out_done)
		udp_egress(skb, st, &p, sk->dst_port != 0);
}

static __always_inline void counter_ingress(struct __sk_buff *skb)
{
	struct bpf_sock *sk = skb->sk;
	struct tcp_sock *tp;
	struct sock_state *st;
	struct packet p = {};

	if (!sk)
		return;
	sk = bpf_sk_fullsock(sk);
	if (!sk || sk->state == TCP_LISTEN)
		return;
	st = counter_seen(skb, sk);
	if (!st)
		return;
	tp = bpf_skc_to_tcp_sock(sk);
	if (tp && st->existing && st->peer != PEER_SET)
		segment_count(st, tp);
	if (tp && st->rport != DNS_PORT)
		return;
	if (packet_parse(skb, &p))
		return;
	if (!tp && sk->type == SOCK_RAW && sk->family == AF_INET)
		packet_count(skb, st, &p, packet_kind(sk, st) | PACKET_WHOLE);
	else if (!tp)
		packet_count(skb, st, &p, packet_kind(sk, st));
	if (p.sport == DNS_PORT && !st->raw && p.len)
		payload_emit(skb, st, &p, PAYLOAD_DNS_ANSWER, PAYLOAD_LEN);
}

/* The last descriptor is gone. A stream's end is told by its state, unless it
 * never came to have one. */
static __always_inline void counter_release(struct bpf_sock *ctx)
{
	struct sock_state *st = state_of(ctx);
	struct flow_value v = {.flags = FLOW_CLOSED};
	struct flow f = {};

	if (!st || st->released)
		return;
	if (st->listed) {
		listener_flow(st, &f);
		f.value.result = RESULT_CLOSED;
		f.value.flags |= FLOW_CLOSED;
		counter_add(&f.key, &f.value);
	}
	if (st->stream && st->result == RESULT_PENDING && ctx->state == TCP_CLOSE)
		st->result = RESULT_FAILED;
	else if (!st->stream || st->existing)
		st->result = RESULT_CLOSED;
	else
		return;
	if (st->told)
		stream_tell(st, &v);
}

#endif
