/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * verdict_subflow.h: whose a connection of MPTCP is. A program connects only the
 * first; the others are the kernel's or a path manager's to open, and belong to
 * who has the first.
 */
#ifndef SNITCH_VERDICT_SUBFLOW_H
#define SNITCH_VERDICT_SUBFLOW_H

enum bpf_func_id___mptcp {
	BPF_FUNC_skc_to_mptcp_sock___mptcp = 196,
};

/* The socket of the whole connection keeps the owner of its first one, and
 * nothing else. */
static __always_inline void subflow_owner(struct bpf_sock *sk, struct process_id *id)
{
	struct verdict_sock *whole;
	struct mptcp_sock *msk;
	struct sock *first;

	if (!bpf_core_enum_value_exists(enum bpf_func_id___mptcp,
					BPF_FUNC_skc_to_mptcp_sock___mptcp))
		return; /* before Linux 5.19: the current task opens what it opens */
	msk = bpf_skc_to_mptcp_sock(sk);
	if (!msk)
		return;
	first = BPF_CORE_READ(msk, first);
	if (first && first != hook_sock(sk)) {
		whole = sock_get(msk);
		if (whole && whole->id.start)
			*id = whole->id;
		return;
	}
	whole = sock_make(msk);
	if (!whole)
		return;
	whole->id = *id;
	whole->direction = 0;
}

/* A listener that is older than the hooks was found by its descriptor, which is
 * that of the whole; who calls it calls its first one, which is the kernel's. */
static __always_inline struct verdict_sock *listener(struct bpf_sock *sk, struct verdict_sock *st)
{
	struct verdict_sock *whole;
	struct mptcp_sock *msk;

	if (st && !is_free(st))
		return st;
	if (!bpf_core_enum_value_exists(enum bpf_func_id___mptcp,
					BPF_FUNC_skc_to_mptcp_sock___mptcp))
		return st; /* before Linux 5.19: nobody's */
	msk = bpf_skc_to_mptcp_sock(sk);
	whole = msk ? sock_get(msk) : NULL;
	if (!whole || !whole->id.start)
		return st;
	st = sock_make(sk);
	if (!st)
		return NULL;
	st->id = whole->id;
	st->direction = VERDICT_IN;
	return st;
}

#endif
