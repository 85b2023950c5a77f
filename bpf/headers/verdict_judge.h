/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * verdict_judge.h: from a question to what happens: the tables, then answers of
 * user space, then the default of what nobody has decided.
 */
#ifndef SNITCH_VERDICT_JUDGE_H
#define SNITCH_VERDICT_JUDGE_H

static __always_inline bool has_ports(__u32 proto)
{
	return proto == IPPROTO_TCP || proto == IPPROTO_UDP || proto == IPPROTO_UDPLITE ||
	       proto == IPPROTO_SCTP;
}

static __always_inline bool is_datagram(__u32 proto)
{
	return proto == IPPROTO_UDP || proto == IPPROTO_UDPLITE;
}

static __always_inline bool enforcing(const struct verdict_control *ctl)
{
	return ctl && ctl->mode == VERDICT_ENFORCE && ctl->generation;
}

/* CLOCK_MONOTONIC does not run through a suspend: a resume is no death. */
static __always_inline bool is_dead(const struct verdict_control *ctl)
{
	__u64 now = bpf_ktime_get_ns();

	return now > ctl->beat && now - ctl->beat > ctl->limit;
}

static __always_inline void decision_key(const struct query *q, struct verdict_decision_key *key)
{
	key->id = q->id;
	__builtin_memcpy(key->addr, q->direction == VERDICT_OUT ? q->to : q->from, 16);
	key->group = q->group;
	key->place[0] = q->place[0];
	key->place[1] = q->place[1];
	key->place[2] = q->place[2];
	key->port = q->to_port;
	key->proto = q->proto;
	key->direction = q->direction;
	key->has_port = !!(q->has & HAS_TO_PORT);
}

static __always_inline void answered(struct query *q)
{
	struct verdict_decision_key key = {};
	struct verdict_decision *d;

	decision_key(q, &key);
	d = bpf_map_lookup_elem(&decisions, &key);
	if (!d || d->generation != q->generation || (d->cookie && d->cookie != q->cookie) ||
	    bpf_ktime_get_boot_ns() >= d->until)
		return;
	q->verdict = d->verdict;
	q->rule = d->rule;
	q->until = d->until;
}

/* Asks the tables and the answers; q->verdict is ASK where neither knows. */
static __noinline int judge(struct query *q)
{
	struct verdict_control *ctl = control();

	if (!ctl)
		return 0;
	q->generation = ctl->generation;
	q->flags = blur(0);
	if (q->id.start) {
		q->class = subject_class(&q->id, q->generation);
		if (!q->class) {
			q->flags = blur(EVENT_UNKNOWN);
			count(COUNT_UNKNOWN);
		}
	}
	look_up(q);
	if (q->verdict == VERDICT_ASK)
		answered(q);
	return 0;
}

/* The source matters and is not known yet, or may be another in each datagram:
 * the packet is judged, not the call. */
static __always_inline bool wants_source(const struct query *q)
{
	if (is_datagram(q->proto))
		return q->uses & USES_SOURCE;
	return (q->uses & 1 << DIMENSION_FROM_ADDRESS && !(q->has & HAS_FROM)) ||
	       (q->uses & 1 << DIMENSION_FROM_PORT && !(q->has & HAS_FROM_PORT));
}

static __always_inline bool passes(__u8 verdict)
{
	return verdict == VERDICT_ALLOW || verdict == VERDICT_ALERT;
}

static __always_inline __u32 sock_netns_number(struct bpf_sock *sk)
{
	struct sock *s = sk ? hook_sock(sk) : NULL;

	return s ? BPF_CORE_READ(s, __sk_common.skc_net.net, ns.inum) : 0;
}

static __always_inline void event_ends(struct verdict_event *e, const struct query *q)
{
	bool out = q->direction == VERDICT_OUT;

	__builtin_memcpy(e->raddr, out ? q->to : q->from, 16);
	__builtin_memcpy(e->laddr, out ? q->from : q->to, 16);
	e->rport = out ? q->to_port : q->from_port;
	e->lport = out ? q->from_port : q->to_port;
}

/* All of an event but what is the socket's. */
static __always_inline void event_fill(struct verdict_event *e, const struct query *q, __u32 type,
				       __u32 verdict)
{
	e->time = bpf_ktime_get_boot_ns();
	e->id = q->id;
	e->cookie = q->cookie;
	event_ends(e, q);
	e->family = q->family;
	e->proto = q->proto;
	e->generation = q->generation;
	e->rule = q->rule;
	e->group = q->group;
	e->place[0] = q->place[0];
	e->place[1] = q->place[1];
	e->place[2] = q->place[2];
	e->type = type;
	e->verdict = verdict;
	e->direction = q->direction;
	e->hook = q->hook;
	e->flags = q->flags | (q->has & HAS_TO_PORT ? EVENT_HAS_PORT : 0);
	e->pad = 0;
}

/* A program that waits, for an answer or for packets that will not leave, is not
 * kept waiting; a call that was refused is only recorded. */
static __always_inline __u64 urgency(const struct query *q, __u32 type)
{
	return type == VERDICT_ASKED || q->hook == HOOK_EGRESS ? BPF_RB_FORCE_WAKEUP :
								 BPF_RB_NO_WAKEUP;
}

/* Tells user space. */
static __noinline int tell(struct query *q, struct bpf_sock *sk, __u32 type, __u32 verdict)
{
	struct verdict_event *e = bpf_ringbuf_reserve(&ring, sizeof(*e), 0);

	if (!e) {
		count(COUNT_RING_FULL);
		return 0;
	}
	event_fill(e, q, type, verdict);
	e->netns = sock_netns_number(sk);
	e->interface = sk ? sk->bound_dev_if : 0;
	bpf_ringbuf_submit(e, urgency(q, type));
	q->told = 1;
	return 0;
}

#define ASK_AGAIN 100000000ULL /* ns between two asks of one socket for one peer */

/* Asks user space, but not for every packet of one flow. */
static __always_inline void ask(struct query *q, struct bpf_sock *sk, struct verdict_sock *st,
				bool passing)
{
	__u64 now = bpf_ktime_get_ns();

	count(COUNT_ASKED);
	if (st && passing && st->out.verdict == VERDICT_ASK) {
		if (now - st->asked < ASK_AGAIN)
			return;
		st->asked = now;
	}
	tell(q, sk, VERDICT_ASKED, passing ? VERDICT_ALLOW : VERDICT_DENY);
}

/* What happens to a judged attempt: 1 passes, 0 is refused. st may be NULL. */
static __noinline int settle(struct query *q, struct bpf_sock *sk, struct verdict_sock *st)
{
	struct verdict_control *ctl = control();
	bool dead;

	if (passes(q->verdict)) {
		count(COUNT_ALLOWED);
		return 1;
	}
	if (!ctl)
		return 1;
	dead = is_dead(ctl);
	if (dead && !ctl->closed) {
		count(COUNT_DEAD_PASSED);
		return 1;
	}
	if (q->verdict == VERDICT_DENY) {
		count(COUNT_DENIED);
		tell(q, sk, VERDICT_DENIED, VERDICT_DENY);
		return 0;
	}
	if (dead) {
		count(COUNT_DEAD_REFUSED);
		q->flags |= EVENT_DEAD;
		tell(q, sk, VERDICT_DENIED, VERDICT_DENY);
		return 0;
	}
	ask(q, sk, st, ctl->undecided != VERDICT_DENY);
	return ctl->undecided != VERDICT_DENY;
}

#define TELL_AGAIN 1000000000ULL /* ns until a connection that was not cut is told of again */

/* Whether user space knows that this socket's packets are denied: packets are
 * many. A TCP socket that goes on was not destroyed. */
static __always_inline bool knows(const struct verdict_sock *st, const struct query *q)
{
	return st->told == q->generation &&
	       (q->proto != IPPROTO_TCP || bpf_ktime_get_ns() - st->asked < TELL_AGAIN);
}

static __always_inline int packet_settle(struct verdict_sock *st, struct query *q,
					 struct bpf_sock *sk)
{
	struct verdict_control *ctl = control();
	int ok;

	if (passes(q->verdict) || !ctl)
		return 1;
	if (q->verdict == VERDICT_DENY && knows(st, q) && (ctl->closed || !is_dead(ctl))) {
		count(COUNT_DENIED);
		return 0;
	}
	ok = settle(q, sk, st);
	if (q->verdict == VERDICT_DENY && q->told) {
		st->told = q->generation;
		st->asked = bpf_ktime_get_ns();
	}
	return ok;
}

static __always_inline struct verdict_sock *sock_get(void *sk)
{
	return bpf_sk_storage_get(&sockets, sk, 0, 0);
}

static __always_inline struct verdict_sock *sock_make(void *sk)
{
	struct verdict_sock *st = bpf_sk_storage_get(&sockets, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);

	if (!st) /* of two that create at once one is refused */
		st = sock_get(sk);
	if (!st)
		count(COUNT_NO_STORAGE);
	return st;
}

/* Remembers a peer that may be spoken to. */
static __always_inline void remember(struct judged *j, const struct query *q, const __u8 *addr,
				     __u16 port)
{
	j->verdict = VERDICT_NONE;
	barrier();
	__builtin_memcpy(j->addr, addr, 16);
	j->port = port;
	j->until = q->until;
	j->generation = q->generation;
	barrier();
	j->verdict = passes(q->verdict) ? VERDICT_ALLOW : VERDICT_ASK;
}

static __always_inline bool same_peer(const struct judged *j, const __u8 *addr, __u16 port)
{
	return j->verdict && j->port == port && same_addr(j->addr, addr);
}

static __always_inline bool fresh(const struct judged *j, __u32 generation)
{
	return j->verdict == VERDICT_ALLOW && j->generation == generation &&
	       (!j->until || bpf_ktime_get_boot_ns() < j->until);
}

#endif
