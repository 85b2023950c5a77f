/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * verdict_family.h: sockets that pass no hook of a cgroup, judged when they are
 * made. They have no address yet: what speaks of addresses does not speak of them.
 */
#ifndef SNITCH_VERDICT_FAMILY_H
#define SNITCH_VERDICT_FAMILY_H

#define EPERM 1
#define AF_PACKET 17
#define AF_VSOCK 40
#define AF_XDP 44

/* Index of protos, behind the protocols of IP; 0: another family. */
static __always_inline __u32 family_proto(int family)
{
	switch (family) {
	case AF_PACKET:
		return PROTO_PACKET;
	case AF_VSOCK:
		return PROTO_VSOCK;
	case AF_XDP:
		return PROTO_XDP;
	}
	return 0;
}

/* As judge(), of a protocol that is none of IP. */
static __always_inline void judge_family(const struct verdict_control *ctl, struct query *q,
					 __u32 proto)
{
	__u32 slot;

	q->generation = ctl->generation;
	slot = q->generation & 1;
	q->verdict = VERDICT_ASK;
	q->group = NO_GROUP;
	q->class = subject_class(&q->id, q->generation);
	if (!q->class) {
		q->flags = EVENT_UNKNOWN;
		count(COUNT_UNKNOWN);
	} else if (find_group(slot, q, proto)) {
		find_places(slot, q);
		find_entry(slot, q);
	}
	if (q->verdict == VERDICT_ASK)
		answered(q);
}

/* 0: it may be made. */
static __always_inline int handle_family(int family)
{
	struct verdict_control *ctl = control();
	__u32 proto = family_proto(family);
	struct query q = {};

	if (!proto || !enforcing(ctl) || !task_in_scope((void *)bpf_get_current_task()))
		return 0;
	subject_current(&q.id);
	q.family = family;
	q.direction = VERDICT_OUT;
	q.hook = HOOK_FAMILY;
	judge_family(ctl, &q, proto);
	return settle(&q, NULL, NULL) ? 0 : -EPERM;
}

#endif
