/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * verdict_hold.h: a TCP connect that waits for user space. Its SYN is dropped and
 * sent again after a jiffy, then after two, four, …; the first one after the
 * answer passes. From then on SYNs are sent at the pace of any other connect.
 */
#ifndef SNITCH_VERDICT_HOLD_H
#define SNITCH_VERDICT_HOLD_H

#define SOL_TCP 6
#define TCP_SYNCNT 7
#define TCP_BPF_IW 1001

#define HELD_SYNS 17	/* a jiffy, doubled so often, is a minute or some more */
#define FIRST_WINDOW 10 /* segments: what a connect without lost SYNs has */
#define SYN_PACE 1000000000ULL

/* Begins to hold a connect; false: it is not to be held. */
static __always_inline bool hold_begin(const struct verdict_control *ctl, struct verdict_sock *st,
				       struct query *q, struct bpf_sock *sk)
{
	if (q->verdict != VERDICT_ASK || q->proto != IPPROTO_TCP || !ctl->hold || is_dead(ctl))
		return false;
	st->out.verdict = VERDICT_NONE;
	st->pace = 0;
	st->held = bpf_ktime_get_ns();
	st->asked = st->held;
	q->flags |= EVENT_HELD;
	count(COUNT_HELD);
	tell(q, sk, VERDICT_ASKED, VERDICT_ASK);
	return true;
}

static __always_inline void hold_end(struct verdict_sock *st, __u64 now)
{
	st->held = 0;
	st->pace = 1;
	st->next_syn = now + SYN_PACE;
}

/* A SYN of a held connect: 1 lets it go. */
static __noinline int hold_packet(struct bpf_sock *sk, struct verdict_sock *st, struct query *q)
{
	struct verdict_control *ctl = control();
	__u64 now = bpf_ktime_get_ns();

	if (!ctl)
		return 1;
	q->id = st->id;
	judge(q);
	if (q->verdict == VERDICT_ASK && !is_dead(ctl)) {
		if (now - st->held < ctl->hold_limit) {
			if (now - st->asked < ASK_AGAIN)
				return 0;
			st->asked = now;
			q->flags |= EVENT_HELD;
			tell(q, sk, VERDICT_ASKED, VERDICT_ASK);
			return 0;
		}
		count(COUNT_EXPIRED);
		if (ctl->undecided == VERDICT_DENY) {
			q->flags |= EVENT_HELD;
			tell(q, sk, VERDICT_DENIED, VERDICT_DENY);
			return 0;
		}
	}
	if (!packet_settle(st, q, sk))
		return 0;
	hold_end(st, now);
	remember(&st->out, q, q->to, q->to_port);
	return 1;
}

/* A SYN after the answer: TCP believes that the earlier ones were lost. */
static __always_inline int pace_packet(struct bpf_sock *sk, struct verdict_sock *st)
{
	__u64 now = bpf_ktime_get_ns();

	if (sk->state != TCP_SYN_SENT) {
		st->pace = 0;
		return 1;
	}
	if (now < st->next_syn)
		return 0;
	st->pace = st->pace < 64 ? st->pace * 2 : 64;
	st->next_syn = now + st->pace * SYN_PACE;
	return 1;
}

struct bpf_sock_ops {
	__u32 op;
	__u32 reply;
	__u32 args[3];
	__u32 unused[37];
	__u64 bytes[2];
	struct bpf_sock *sk __attribute__((aligned(8)));
};

#define BPF_SOCK_OPS_TIMEOUT_INIT 1
#define BPF_SOCK_OPS_TCP_CONNECT_CB 3
#define BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB 4
#define BPF_SOCK_OPS_TCP_LISTEN_CB 11

static __always_inline void ops_set(struct bpf_sock_ops *ops, int name, int value)
{
	bpf_setsockopt(ops, SOL_TCP, name, &value, sizeof(value));
}

static __always_inline void handle_ops(struct bpf_sock_ops *ops)
{
	struct verdict_sock *st;

	if (!ops->sk)
		return;
	st = sock_get(ops->sk);
	if (!st)
		return;
	if (ops->op == BPF_SOCK_OPS_TCP_CONNECT_CB && st->held)
		ops_set(ops, TCP_SYNCNT, HELD_SYNS);
	if (ops->op == BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB && st->pace) {
		st->pace = 0;
		ops_set(ops, TCP_BPF_IW, FIRST_WINDOW);
	}
	if (ops->op == BPF_SOCK_OPS_TIMEOUT_INIT && st->held)
		ops->reply = 1;
}

/* A listener that never called bind() has an owner too. */
static __always_inline void handle_listen(struct bpf_sock_ops *ops)
{
	struct verdict_sock *st;

	if (!ops->sk)
		return;
	st = sock_make(ops->sk);
	if (!st)
		return;
	subject_current(&st->id);
	st->direction = VERDICT_LISTEN;
	st->held = 0;
}

#endif
