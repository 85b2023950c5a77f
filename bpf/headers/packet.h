/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * packet.h: what only packets show: names (DNS, TLS hello, QUIC Initial) and
 * the peers of raw sockets. A socket with nothing more to find is marked done,
 * after which a packet costs one lookup. A packet is never dropped.
 */
#ifndef SNITCH_PACKET_H
#define SNITCH_PACKET_H

#define QUIC_DATAGRAMS 6

struct packet {
	__u8 src[16];
	__u8 dst[16];
	__u32 seq;
	__u32 header; /* network header with extensions */
	__u32 offset; /* of the payload */
	__u32 len;    /* of the payload */
	__u16 sport;
	__u16 dport;
	__u8 proto;
};

static __always_inline int packet_v4(struct __sk_buff *skb, struct packet *p)
{
	__u8 ip[20];

	if (bpf_skb_load_bytes(skb, 0, ip, sizeof(ip)))
		return -1;
	p->header = (ip[0] & 0xf) * 4;
	p->proto = ip[9];
	put_v4(p->src, *(__be32 *)&ip[12]);
	put_v4(p->dst, *(__be32 *)&ip[16]);
	return 0;
}

/* Steps over extension headers; BIG TCP puts one even on loopback. */
static __always_inline int packet_v6(struct __sk_buff *skb, struct packet *p)
{
	__u8 ext[2];

	if (bpf_skb_load_bytes(skb, 6, &p->proto, 1) || bpf_skb_load_bytes(skb, 8, p->src, 16) ||
	    bpf_skb_load_bytes(skb, 24, p->dst, 16))
		return -1;
	p->header = 40;
#pragma unroll
	for (int i = 0; i < 3; i++) {
		if (p->proto != IPPROTO_HOPOPTS && p->proto != IPPROTO_ROUTING &&
		    p->proto != IPPROTO_DSTOPTS)
			break;
		if (bpf_skb_load_bytes(skb, p->header, ext, sizeof(ext)))
			return -1;
		p->proto = ext[0];
		p->header += (ext[1] + 1) * 8;
	}
	return 0;
}

static __always_inline int packet_ports(struct __sk_buff *skb, struct packet *p)
{
	__u8 l4[14];

	if (p->proto == IPPROTO_TCP) {
		if (bpf_skb_load_bytes(skb, p->header, l4, 14))
			return -1;
		p->seq = bpf_ntohl(*(__be32 *)&l4[4]);
		p->offset = p->header + (l4[12] >> 4) * 4;
	} else if (p->proto == IPPROTO_UDP || p->proto == IPPROTO_UDPLITE ||
		   p->proto == IPPROTO_SCTP) {
		if (bpf_skb_load_bytes(skb, p->header, l4, 8))
			return -1;
		p->offset = p->header + 8;
	} else {
		p->offset = p->header;
		p->len = skb->len - p->offset;
		return 0;
	}
	p->sport = bpf_ntohs(*(__be16 *)&l4[0]);
	p->dport = bpf_ntohs(*(__be16 *)&l4[2]);
	p->len = skb->len > p->offset ? skb->len - p->offset : 0;
	return 0;
}

static __noinline int packet_parse(struct __sk_buff *skb, struct packet *p)
{
	__u8 version;

	if (bpf_skb_load_bytes(skb, 0, &version, 1))
		return -1;
	if (version >> 4 == 4 ? packet_v4(skb, p) : packet_v6(skb, p))
		return -1;
	return packet_ports(skb, p);
}

static __always_inline void payload_fill(struct payload_record *r, struct sock_state *st,
					 const struct packet *p, bool out)
{
	r->hdr.type = RECORD_PAYLOAD;
	r->hdr.pad = 0;
	r->hdr.time = bpf_ktime_get_boot_ns();
	r->id = st->owner;
	r->cookie = st->cookie;
	__builtin_memcpy(r->laddr, out ? p->src : p->dst, 16);
	__builtin_memcpy(r->raddr, out ? p->dst : p->src, 16);
	r->lport = out ? p->sport : p->dport;
	r->rport = out ? p->dport : p->sport;
	r->proto = p->proto;
	r->pad = 0;
	r->netns = st->netns;
	r->seq = p->seq;
	r->wire_len = p->len;
}

/* The ring hands out constant sizes only: take the class that fits. */
#define PAYLOAD_CLASS(room)                                             \
	do {                                                            \
		r = bpf_ringbuf_reserve(&ring, sizeof(*r) + (room), 0); \
		if (!r) {                                               \
			loss(LOSS_PAYLOAD_FULL);                        \
			return 0;                                       \
		}                                                       \
		payload_fill(r, st, p, how &PAYLOAD_OUT);               \
		r->kind = how & 0xff;                                   \
		asm volatile("" : "+r"(n));                             \
		if (n < 1)                                              \
			n = 1;                                          \
		if (n > (room))                                         \
			n = (room);                                     \
		if (bpf_skb_load_bytes(skb, p->offset, r + 1, n)) {     \
			bpf_ringbuf_discard(r, BPF_RB_NO_WAKEUP);       \
			loss(LOSS_HELPER);                              \
			return 0;                                       \
		}                                                       \
		r->data_len = n;                                        \
		r->hdr.len = sizeof(*r) + n;                            \
		bpf_ringbuf_submit(r, ring_flags(r->hdr.time));         \
		return 0;                                               \
	} while (0)

#define PAYLOAD_OUT (1 << 8)

/* how: enum payload_kind, PAYLOAD_OUT. At most max bytes. */
static __noinline int payload_emit(struct __sk_buff *skb, struct sock_state *st, struct packet *p,
				   __u32 how, __u32 max)
{
	struct payload_record *r;
	__u32 n = p->len;

	if (n > max)
		n = max;
	if (n <= 192)
		PAYLOAD_CLASS(192);
	if (n <= 768)
		PAYLOAD_CLASS(768);
	if (n <= 1536)
		PAYLOAD_CLASS(1536);
	PAYLOAD_CLASS(PAYLOAD_LEN);
}

/* How much of the stream to capture, from its first bytes: a TLS handshake
 * record with a ClientHello, cut into records or not. 0: something else. */
static __always_inline __u32 hello_len(struct __sk_buff *skb, const struct packet *p)
{
	__u8 b[9];
	__u32 record, message;

	if (bpf_skb_load_bytes(skb, p->offset, b, sizeof(b)))
		/* a first segment this short: look at what follows too */
		return bpf_skb_load_bytes(skb, p->offset, b, 1) || b[0] != 0x16 ? 0 : PAYLOAD_LEN;
	if (b[0] != 0x16 || b[1] != 3 || b[5] != 1)
		return 0;
	record = b[3] << 8 | b[4];
	message = b[6] << 16 | b[7] << 8 | b[8];
	if (message + 4 > record || message + 9 > PAYLOAD_LEN)
		return PAYLOAD_LEN;
	return message + 9;
}

static __always_inline void tcp_egress(struct __sk_buff *skb, struct sock_state *st,
				       struct packet *p)
{
	__u32 want = st->hello;

	if (!p->len)
		return;
	if (p->dport == DNS_PORT) {
		payload_emit(skb, st, p, PAYLOAD_DNS_QUERY | PAYLOAD_OUT, PAYLOAD_LEN);
		return;
	}
	if (!want && st->kind == FLOW_CONNECT)
		want = hello_len(skb, p);
	if (!want) {
		st->out_done = 1;
		return;
	}
	payload_emit(skb, st, p, PAYLOAD_TLS | PAYLOAD_OUT, want);
	if (p->len >= want)
		st->out_done = 1;
	else
		st->hello = want - p->len;
}

/* A client's Initial: long header, at least 1,200 bytes in the datagram. */
static __always_inline bool is_quic(struct __sk_buff *skb, const struct packet *p)
{
	__u8 b[5];

	if (p->len < 1200 || bpf_skb_load_bytes(skb, p->offset, b, sizeof(b)))
		return false;
	return (b[0] & 0xc0) == 0xc0 && (b[1] | b[2] | b[3] | b[4]);
}

static __always_inline void udp_egress(struct __sk_buff *skb, struct sock_state *st,
				       struct packet *p, bool connected)
{
	bool quic;

	if (p->dport == DNS_PORT) {
		payload_emit(skb, st, p, PAYLOAD_DNS_QUERY | PAYLOAD_OUT, PAYLOAD_LEN);
		return;
	}
	quic = is_quic(skb, p);
	if (quic)
		payload_emit(skb, st, p, PAYLOAD_QUIC | PAYLOAD_OUT, PAYLOAD_LEN);
	/* an unconnected socket may talk to somebody new at any time */
	if (connected && (!quic || ++st->quic >= QUIC_DATAGRAMS))
		st->out_done = 1;
}

static __always_inline void raw_egress(struct bpf_sock *sk, struct sock_state *st, struct packet *p)
{
	__u16 port = p->proto == IPPROTO_SCTP ? p->dport : 0;

	/* an SCTP listener only answers here: what it reads tells its peers */
	if (sk->state == TCP_LISTEN && st->peer != PEER_SET)
		return;
	if (!peer_is_primary(st, p->dst, port) && !peer_primary(st, p->dst, port, FLOW_RAW, false))
		peer_leave(sk, st, p->dst, port);
}

/* What most packets need, without a call: the port of plain IPv4, and whether
 * there is room for a QUIC Initial. false: look closer. */
static __always_inline bool dull_datagram(struct __sk_buff *skb, __u32 port_at)
{
	void *data = (void *)(long)skb->data;
	void *end = (void *)(long)skb->data_end;
	__u8 *ip = data;

	if (data + 28 > end || ip[0] != 0x45 || ip[9] != IPPROTO_UDP)
		return false;
	return *(__be16 *)(ip + 20 + port_at) != bpf_htons(DNS_PORT);
}

/* Whether this is a segment of plain IPv4 without payload. */
static __always_inline bool empty_segment(struct __sk_buff *skb)
{
	void *data = (void *)(long)skb->data;
	void *end = (void *)(long)skb->data_end;
	__u8 *ip = data;

	if (data + 40 > end || ip[0] != 0x45 || ip[9] != IPPROTO_TCP)
		return false;
	return skb->len == 20 + (ip[32] >> 4) * 4;
}

/* A segment with payload, of a connection whose beginning the kernel may have
 * skipped (see heal.h). What leaves does so with the lock held. */
static __noinline int segment_look(struct __sk_buff *skb, struct bpf_sock *sk,
				   struct sock_state *st, bool out)
{
	struct tcp_sock *tp = bpf_skc_to_tcp_sock(sk);

	if (!tp)
		return 0;
	if (stream_unborn(st, sk->dst_port) ||
	    (st->result == RESULT_PENDING && sk->state == TCP_ESTABLISHED)) {
		stream_late(&tp->inet_conn.icsk_inet.sk, st);
		if (!st->cookie)
			st->cookie = bpf_get_socket_cookie(skb);
	}
	if (out && st->result == RESULT_ESTABLISHED)
		heal_begin(st, tp);
	return 0;
}

static __noinline int egress_look(struct __sk_buff *skb, struct bpf_sock *sk, struct sock_state *st)
{
	struct packet p = {};

	if (packet_parse(skb, &p))
		return 0;
	if (st->stream && st->heal == HEAL_NONE)
		segment_look(skb, sk, st, true);
	if (st->raw || st->proto == IPPROTO_SCTP)
		raw_egress(sk, st, &p);
	else if (p.proto == IPPROTO_TCP)
		tcp_egress(skb, st, &p);
	else
		udp_egress(skb, st, &p, sk->dst_port != 0);
	return 0;
}

static __always_inline void handle_egress(struct __sk_buff *skb)
{
	struct bpf_sock *sk = skb->sk;
	struct sock_state *st;

	if (!sk)
		return;
	st = state_of(sk);
	if (!st || st->out_done)
		return;
	if (st->stream ? empty_segment(skb) : skb->len < 1228 && dull_datagram(skb, 2))
		return;
	sk = bpf_sk_fullsock(sk);
	if (sk)
		egress_look(skb, sk, st);
}

static __noinline int ingress_look(struct __sk_buff *skb, struct bpf_sock *sk,
				   struct sock_state *st)
{
	struct packet p = {};

	if (packet_parse(skb, &p))
		return 0;
	if (st->stream && st->heal == HEAL_NONE)
		segment_look(skb, sk, st, false);
	if (p.sport == DNS_PORT && !st->raw) {
		if (p.len)
			payload_emit(skb, st, &p, PAYLOAD_DNS_ANSWER, PAYLOAD_LEN);
	} else if (sk->dst_port) {
		st->in_done = 1;
		return 0;
	}
	if (st->stream || st->named_io || sk->dst_port)
		return 0;
	return peer_queue(sk, p.src, p.sport, skb->len, st->raw ? p.header : p.offset);
}

static __always_inline void handle_ingress(struct __sk_buff *skb)
{
	struct bpf_sock *sk = skb->sk;
	struct sock_state *st;

	if (!sk)
		return;
	st = state_of(sk);
	if (!st || st->in_done)
		return;
	if (st->stream ? empty_segment(skb) : st->named_io && dull_datagram(skb, 0))
		return;
	sk = bpf_sk_fullsock(sk);
	if (sk)
		ingress_look(skb, sk, st);
}

#endif
