/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * verdict_packet.h: the authority. Whatever a program did to get here, a packet
 * leaves only when the address that it really carries may be reached.
 */
#ifndef SNITCH_VERDICT_PACKET_H
#define SNITCH_VERDICT_PACKET_H

#define NEXTHDR_FRAGMENT 44
#define NEXTHDR_AUTH 51
#define IPOPT_END 0
#define IPOPT_NOOP 1
#define IPOPT_LSRR 131
#define IPOPT_SSRR 137

/* What a packet says of itself. */
struct ends {
	__u8 src[16];
	__u8 dst[16];
	__u16 sport;
	__u16 dport;
	__u8 proto;
	__u8 has_ports;
	__u8 routed; /* it names hops */
	__u8 reset;  /* TCP: nothing but the end of the connection */
	__u8 pad[4];
};

/* Whether IPv4 options hold a source route; options that make no sense do. */
static __always_inline bool v4_routed(struct __sk_buff *skb, __u32 header)
{
	__u8 option[2];
	__u32 at = 20;

	for (int i = 0; i < 40 && at < header; i++) {
		at = blur(at);
		if (bpf_skb_load_bytes(skb, at, option, 1) || option[0] == IPOPT_END)
			return false;
		if (option[0] == IPOPT_NOOP) {
			at++;
			continue;
		}
		if (option[0] == IPOPT_LSRR || option[0] == IPOPT_SSRR)
			return true;
		if (bpf_skb_load_bytes(skb, at, option, 2) || option[1] < 2)
			return true;
		at += option[1];
	}
	return false;
}

static __always_inline int read_v4(struct __sk_buff *skb, struct ends *e, __u32 *l4)
{
	__u8 ip[20];
	__u32 header;

	if (bpf_skb_load_bytes(skb, 0, ip, sizeof(ip)))
		return -1;
	header = (ip[0] & 0xf) * 4;
	if (header < 20)
		return -1;
	e->proto = ip[9];
	full_v4(e->src, *(__be32 *)&ip[12]);
	full_v4(e->dst, *(__be32 *)&ip[16]);
	e->routed = blur(header > 20 && v4_routed(skb, header));
	/* later fragments begin with anything */
	*l4 = ((ip[6] & 0x1f) | ip[7]) ? 0 : header;
	return 0;
}

static __always_inline int read_v6(struct __sk_buff *skb, struct ends *e, __u32 *l4)
{
	__u32 at = 40;
	__u8 ext[4];

	if (bpf_skb_load_bytes(skb, 6, &e->proto, 1) || bpf_skb_load_bytes(skb, 8, e->src, 16) ||
	    bpf_skb_load_bytes(skb, 24, e->dst, 16))
		return -1;
#pragma unroll
	for (int i = 0; i < 6; i++) {
		if (e->proto != IPPROTO_HOPOPTS && e->proto != IPPROTO_ROUTING &&
		    e->proto != IPPROTO_DSTOPTS && e->proto != NEXTHDR_FRAGMENT &&
		    e->proto != NEXTHDR_AUTH) {
			*l4 = at;
			return 0;
		}
		if (bpf_skb_load_bytes(skb, at, ext, sizeof(ext)))
			return -1;
		if (e->proto == IPPROTO_ROUTING)
			e->routed = blur(1);
		if (e->proto == NEXTHDR_FRAGMENT) {
			at += 8;
			if (ext[2] | (ext[3] & 0xf8)) { /* later fragment */
				e->proto = ext[0];
				return 0;
			}
		} else {
			at += e->proto == NEXTHDR_AUTH ? (ext[1] + 2) * 4 : (ext[1] + 1) * 8;
		}
		e->proto = blur(ext[0]);
		at = blur(at);
	}
	return -1; /* nobody stacks that many for a good reason */
}

static __always_inline bool is_reset(struct __sk_buff *skb, __u32 at)
{
	__u8 tcp[2];

	return !bpf_skb_load_bytes(skb, at + 12, tcp, sizeof(tcp)) && tcp[1] & 4 &&
	       skb->len == at + (tcp[0] >> 4) * 4;
}

static __noinline int read_ends(struct __sk_buff *skb, struct ends *e)
{
	__u8 version, l4[4];
	__u32 at = 0;

	if (bpf_skb_load_bytes(skb, 0, &version, 1))
		return -1;
	if (version >> 4 == 4 ? read_v4(skb, e, &at) : read_v6(skb, e, &at))
		return -1;
	e->has_ports = blur(0);
	e->sport = blur(0);
	e->dport = blur(0);
	e->reset = blur(0);
	e->proto = blur(e->proto);
	if (!at || !has_ports(e->proto))
		return 0;
	if (bpf_skb_load_bytes(skb, at, l4, sizeof(l4)))
		return -1;
	e->sport = bpf_ntohs(*(__be16 *)&l4[0]);
	e->dport = bpf_ntohs(*(__be16 *)&l4[2]);
	e->has_ports = blur(1);
	if (e->proto == IPPROTO_TCP)
		e->reset = is_reset(skb, at);
	return 0;
}

static __always_inline void packet_query(struct query *q, const struct ends *e, bool inbound,
					 bool leaves)
{
	/* `from` began; of an accepted connection that is the peer */
	bool forward = inbound != leaves;

	__builtin_memcpy(q->to, forward ? e->dst : e->src, 16);
	__builtin_memcpy(q->from, forward ? e->src : e->dst, 16);
	q->to_port = forward ? e->dport : e->sport;
	q->from_port = forward ? e->sport : e->dport;
	q->direction = inbound ? VERDICT_IN : VERDICT_OUT;
	q->proto = e->proto;
	q->has = blur(HAS_TO | HAS_FROM | (e->has_ports ? HAS_TO_PORT | HAS_FROM_PORT : 0));
}

/* Whether the packet's peer is the remembered one, by its plain header: true for
 * nearly all packets. */
static __always_inline bool plainly_fresh(struct __sk_buff *skb, const struct judged *j,
					  __u32 generation, bool leaves)
{
	void *data = (void *)(long)skb->data;
	void *end = (void *)(long)skb->data_end;
	const __u32 *addr = (const __u32 *)j->addr;
	__u8 *ip = data;
	__u32 *peer;

	if (j->verdict != VERDICT_ALLOW || j->generation != generation || j->until ||
	    data + 24 > end)
		return false;
	if (ip[0] == 0x45)
		return (ip[9] == IPPROTO_TCP || ip[9] == IPPROTO_UDP) &&
		       !((ip[6] & 0x1f) | ip[7]) &&
		       *(__be32 *)(ip + (leaves ? 16 : 12)) == addr[3] && addr[2] == V4_MAPPED &&
		       *(__be16 *)(ip + (leaves ? 22 : 20)) == bpf_htons(j->port);
	if (data + 44 > end)
		return false;
	peer = (__u32 *)(ip + (leaves ? 24 : 8));
	return ip[0] >> 4 == 6 && (ip[6] == IPPROTO_TCP || ip[6] == IPPROTO_UDP) &&
	       peer[0] == addr[0] && peer[1] == addr[1] && peer[2] == addr[2] &&
	       peer[3] == addr[3] && *(__be16 *)(ip + (leaves ? 42 : 40)) == bpf_htons(j->port);
}

/* Packets of sockets that no process was seen to use. */
static __noinline int unowned(struct bpf_sock *sk, struct query *q)
{
	struct verdict_control *ctl = control();
	struct sock *s = hook_sock(sk);
	bool kernel = s && hook_bits(s, sk_kern_sock);

	if (!ctl)
		return 1;
	count(COUNT_KERNEL);
	/* a connection older than the programs: user space cuts what it must */
	if (!kernel && sk->protocol == IPPROTO_TCP && sk->state != TCP_SYN_SENT)
		return 1;
	q->generation = ctl->generation;
	q->class = kernel ? ctl->kernel_class[q->generation & 1] : 0;
	if (kernel && !q->class)
		return 1;
	judge(q);
	return settle(q, sk, NULL);
}

static __noinline int refuse_routed(struct bpf_sock *sk, struct query *q)
{
	struct verdict_control *ctl = control();

	if (ctl && !ctl->closed && is_dead(ctl))
		return 1;
	count(COUNT_ROUTED);
	q->generation = ctl ? ctl->generation : 0;
	q->flags = EVENT_ROUTED;
	tell(q, sk, VERDICT_DENIED, VERDICT_DENY);
	return 0;
}

/* What a process left behind that ended: nobody has a descriptor any more, and
 * the kernel sends the rest of what was written while it was allowed. One that
 * somebody has is his from the flip on (verdict_adopt.h), or undecided. */
static __always_inline bool orphan(struct bpf_sock *sk, const struct verdict_sock *st,
				   const struct query *q)
{
	struct sock *s;

	if (!(q->flags & EVENT_UNKNOWN) || st->direction != VERDICT_OUT ||
	    q->proto != IPPROTO_TCP || st->out.verdict != VERDICT_ALLOW ||
	    st->out.generation == q->generation)
		return false;
	s = hook_sock(sk);
	return s && !hook_read(s, sk_socket);
}

/* A later fragment names no port: where rules about ports speak of its program,
 * nobody can say what it is part of. Only raw sockets send any past this hook. */
static __always_inline bool hides_port(const struct bpf_sock *sk, const struct query *q)
{
	return sk->type == SOCK_RAW && has_ports(q->proto) && !(q->has & HAS_TO_PORT) &&
	       q->uses & USES_PORTS;
}

/* The packet's peer is not the remembered one, or that needs a new judgement. */
static __noinline int judge_packet(struct bpf_sock *sk, struct verdict_sock *st, struct query *q)
{
	bool out = q->direction == VERDICT_OUT;
	const __u8 *addr = out ? q->to : q->from;
	__u16 port = out ? q->to_port : q->from_port;
	bool same = same_peer(&st->out, addr, port);

	if (!same && st->out.verdict)
		count(COUNT_OTHER_PEER);
	q->id = st->id;
	judge(q);
	if (!passes(q->verdict)) {
		if (same && orphan(sk, st, q))
			return 1;
		if (is_datagram(q->proto) && peer_answers(st, q))
			return 1;
	}
	if (q->verdict != VERDICT_DENY && hides_port(sk, q)) {
		count(COUNT_FRAGMENT);
		q->verdict = blur(VERDICT_DENY);
		q->flags = blur(EVENT_FRAGMENT);
		q->rule = blur(0);
	}
	if (sk->type == SOCK_RAW && passes(q->verdict) && q->proto != (__u8)sk->protocol) {
		/* it writes headers of its own: both must be allowed */
		q->proto = sk->protocol;
		judge(q);
	}
	if (!packet_settle(st, q, sk))
		return 0;
	if (q->uses & USES_SOURCE && q->proto != IPPROTO_TCP)
		return 1; /* the source of the next packet may be another */
	if (is_datagram(q->proto) && !same)
		peer_passed(st, q);
	else
		remember(&st->out, q, addr, port);
	return 1;
}

static __noinline int egress_slow(struct __sk_buff *skb, struct bpf_sock *sk)
{
	struct verdict_control *ctl = control();
	struct verdict_sock *st;
	struct query q = {};
	struct ends e = {};
	bool inbound;

	if (!ctl)
		return 1;
	if (read_ends(skb, &e)) {
		count(COUNT_BAD_PACKET);
		return 0;
	}
	st = sock_get(sk);
	inbound = st && e.proto == IPPROTO_TCP && st->direction != VERDICT_OUT;
	packet_query(&q, &e, inbound, true);
	q.cookie = bpf_get_socket_cookie(skb);
	q.family = sk->family;
	q.hook = HOOK_EGRESS;
	if (st)
		q.id = st->id;
	if (e.routed)
		return refuse_routed(sk, &q);
	if (!st || !st->id.start)
		return unowned(sk, &q);
	if (same_peer(&st->out, e.dst, e.dport) && sk->type != SOCK_RAW &&
	    (e.reset || fresh(&st->out, ctl->generation)))
		return 1; /* also the end of a connection that is cut, without a byte */
	if (st->held)
		return hold_packet(sk, st, &q);
	return judge_packet(sk, st, &q);
}

static __always_inline int handle_egress(struct __sk_buff *skb)
{
	struct verdict_control *ctl = control();
	struct bpf_sock *sk = skb->sk;
	struct verdict_sock *st;

	if (!enforcing(ctl) || !sk)
		return 1;
	sk = bpf_sk_fullsock(sk);
	if (!sk)
		return 1;
	st = sock_get(sk);
	/* a raw socket's next packet may be of another protocol */
	if (st && sk->type != SOCK_RAW && plainly_fresh(skb, &st->out, ctl->generation, true))
		return st->pace ? pace_packet(sk, st) : 1;
	/* a listener sends nothing but the answer to what ingress let in */
	if (sk->state == TCP_LISTEN && sk->protocol == IPPROTO_TCP)
		return 1;
	return egress_slow(skb, sk);
}

/* Somebody calls a listener: he must be let in, and it must be allowed to be one. */
static __noinline int called(struct bpf_sock *sk, struct verdict_sock *st, struct query *q)
{
	q->id = st->id;
	judge(q);
	if (!packet_settle(st, q, sk))
		return 0;
	q->direction = VERDICT_LISTEN;
	q->has = HAS_TO | HAS_TO_PORT;
	judge(q);
	return packet_settle(st, q, sk);
}

static __noinline int datagram_in(struct bpf_sock *sk, struct verdict_sock *st, struct query *q)
{
	struct verdict_control *ctl = control();

	if (!ctl)
		return 1;
	if (same_peer(&st->out, q->from, q->from_port) && fresh(&st->out, ctl->generation))
		return 1;
	if (same_peer(&st->in, q->from, q->from_port) && fresh(&st->in, ctl->generation))
		return 1;
	q->id = st->id;
	judge(q);
	if (!passes(q->verdict) && peer_answers(st, q))
		return 1;
	if (!packet_settle(st, q, sk))
		return 0;
	if (!(q->uses & 1 << DIMENSION_TO_ADDRESS)) /* else another local address may differ */
		peer_passed(st, q);
	return 1;
}

static __noinline int ingress_slow(struct __sk_buff *skb, struct bpf_sock *sk,
				   struct verdict_sock *st)
{
	struct query q = {};
	struct ends e = {};

	if (!st || read_ends(skb, &e) || !e.has_ports)
		return 1;
	packet_query(&q, &e, true, false);
	q.cookie = bpf_get_socket_cookie(skb);
	q.family = sk->family;
	q.hook = HOOK_INGRESS;
	if (e.proto == IPPROTO_TCP)
		return called(sk, st, &q);
	return datagram_in(sk, st, &q);
}

/* What comes in on a connection that began outwards was judged there, and so
 * was what a listener accepted. */
static __always_inline int handle_ingress(struct __sk_buff *skb)
{
	struct verdict_control *ctl = control();
	struct bpf_sock *sk = skb->sk;
	struct verdict_sock *st;

	if (!enforcing(ctl) || !sk)
		return 1;
	sk = bpf_sk_fullsock(sk);
	if (!sk || sk->type == SOCK_RAW)
		return 1;
	if (sk->protocol == IPPROTO_TCP ? sk->state != TCP_LISTEN : !is_datagram(sk->protocol))
		return 1;
	st = sock_get(sk);
	if (sk->protocol == IPPROTO_TCP)
		st = listener(sk, st);
	if (!st || !st->id.start || (is_datagram(sk->protocol) && sk->dst_port))
		return 1;
	if (is_datagram(sk->protocol) && (plainly_fresh(skb, &st->in, ctl->generation, false) ||
					  plainly_fresh(skb, &st->out, ctl->generation, false)))
		return 1;
	return ingress_slow(skb, sk, st);
}

#endif
