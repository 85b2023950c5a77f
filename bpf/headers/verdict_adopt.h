/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* verdict_adopt.h: owners of the sockets that were there before the hooks. */
#ifndef SNITCH_VERDICT_ADOPT_H
#define SNITCH_VERDICT_ADOPT_H

/* The first process that is found to hold the socket is its owner. */
static __always_inline void adopt_file(struct task_struct *task, struct file *file)
{
	struct socket *socket = bpf_sock_from_file(file);
	struct sock *sk = socket ? socket->sk : NULL;
	struct verdict_sock *st;
	struct tcp_sock *tp;

	if (!sk ||
	    (sk->__sk_common.skc_family != AF_INET && sk->__sk_common.skc_family != AF_INET6))
		return;
	st = sock_make(sk);
	if (!st || st->id.start)
		return;
	st->direction = VERDICT_OUT;
	tp = bpf_skc_to_tcp_sock(sk);
	if (tp && (sk->__sk_common.skc_state == TCP_LISTEN || tcp_accepted(tp)))
		st->direction = VERDICT_IN;
	subject_id(task->group_leader, &st->id);
}

#endif
