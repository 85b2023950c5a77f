/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* verdict_adopt.h: owners of the sockets that were there before the hooks, and of
 * those whose owner has ended. */
#ifndef SNITCH_VERDICT_ADOPT_H
#define SNITCH_VERDICT_ADOPT_H

/* The first process in scope that is found to hold the socket is its owner:
 * sockets of others are nobody's to judge, nor to cut. */
static __always_inline void adopt_file(struct task_struct *task, struct file *file)
{
	struct socket *socket = bpf_sock_from_file(file);
	struct sock *sk = socket ? socket->sk : NULL;
	struct verdict_sock *st;
	struct tcp_sock *tp;
	bool heir;

	if (!sk ||
	    (sk->__sk_common.skc_family != AF_INET && sk->__sk_common.skc_family != AF_INET6) ||
	    !task_in_scope(task))
		return;
	st = sock_make(sk);
	if (!st || !is_free(st))
		return;
	heir = st->id.start;
	subject_id(task->group_leader, &st->id);
	if (heir)
		return;
	st->direction = VERDICT_OUT;
	tp = bpf_skc_to_tcp_sock(sk);
	if (tp && (sk->__sk_common.skc_state == TCP_LISTEN || tcp_accepted(tp)))
		st->direction = VERDICT_IN;
}

#endif
