/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* iter.h: user space asks: for the sockets that moved bytes, for the processes
 * and sockets that were there before. */
#ifndef SNITCH_ITER_H
#define SNITCH_ITER_H

/* An accepted socket that moved nothing is shown to its listener's process
 * only after this: by then somebody has usually claimed it. */
#define CLAIM_GRACE_NS 1000000000ULL

static __always_inline bool state_changed(const struct sock_state *st, __u64 now)
{
	if (!st->stream || st->result == st->emitted)
		return false;
	return st->claim != CLAIM_OPEN || now - st->first > CLAIM_GRACE_NS;
}

/* A child's cookie is not its own before it has left its listener's state. */
static __always_inline bool in_the_making(struct sock *sk, const struct sock_state *st)
{
	__u8 state = sk->__sk_common.skc_state;

	return st->kind == FLOW_ACCEPT && (state == TCP_LISTEN || state == TCP_SYN_RECV);
}

static __always_inline void emit_listener(struct seq_file *seq, struct sock *sk,
					  struct sock_state *st)
{
	struct flow f = {};

	sock_local(sk, f.value.laddr, &f.value.lport);
	if (!st->lport) {
		__builtin_memcpy(st->laddr, f.value.laddr, 16);
		st->lport = f.value.lport;
	}
	listener_flow(st, &f);
	if (!bpf_seq_write(seq, &f, sizeof(f)))
		st->listed = 1;
}

/* One socket: its delta, if there is one. When the buffer is full the kernel
 * shows the socket again; what was taken goes by the flow map meanwhile, for the
 * socket may be closed before. */
static __always_inline void handle_socket(struct seq_file *seq, struct sock *sk,
					  struct sock_state *st)
{
	__u64 now = bpf_ktime_get_boot_ns();
	struct flow f = {};
	bool bytes;

	if (st->claim <= CLAIM_BUSY || st->released || st->subflow || in_the_making(sk, st))
		return;
	if (stream_unborn(st, sk->__sk_common.skc_dport))
		stream_late(sk, st);
	state_cookie(sk, st);
	if (!st->stream && !st->listed && dgram_listens(sk, st))
		emit_listener(seq, sk, st);
	bytes = state_take(st, &f.value);
	if (!bytes && !state_changed(st, now))
		return;
	state_complete(sk, st);
	state_flow(st, &f);
	f.value.last = now;
	if (bpf_seq_write(seq, &f, sizeof(f)))
		flow_add(&f.key, &f.value);
	st->emitted = f.value.result;
	st->told = 1;
}

static __always_inline void handle_task(struct seq_file *seq, struct task_struct *task)
{
	struct exec_record *r;
	struct file *exe;
	__u32 zero = 0;

	if (task->pid != task->tgid)
		return;
	r = bpf_map_lookup_elem(&scratch, &zero);
	if (!r)
		return;
	__builtin_memset(&r->file, 0, sizeof(r->file));
	r->nlink = 0;
	fill_process(r, task);
	r->hdr.len = sizeof(*r);
	if (task->mm) {
		exe = task->mm->exe_file;
		if (exe)
			fill_file(r, exe->f_inode);
	}
	bpf_seq_write(seq, r, sizeof(*r));
}

static __always_inline void state_own_by(struct sock_state *st, struct task_struct *leader)
{
	leader_id(leader, &st->owner);
	leader_comm(leader, st->comm);
	st->uid = leader->cred->uid.val;
	st->cgroup = BPF_CORE_READ(leader, cgroups, dfl_cgrp, kn, id);
}

/* A socket whose bytes may move unseen (by shared memory), told once: its
 * state only says that it was. */
static __always_inline void socket_seen(struct sock *sk, struct sock_state *st)
{
	struct flow f = {};

	st->subflow = 1;
	st->family = sk->__sk_common.skc_family;
	st->cookie = bpf_get_socket_cookie(sk);
	st->netns = sock_netns(sk);
	st->proto = sock_proto(sk);
	st->kind = FLOW_SEEN;
	st->result = RESULT_SEEN;
	st->first = bpf_ktime_get_boot_ns();
	state_flow(st, &f);
	f.value.last = st->first;
	flow_add(&f.key, &f.value);
}

static __always_inline struct sock *file_sock(struct file *file)
{
	struct socket *socket = bpf_sock_from_file(file);

	return socket ? socket->sk : NULL;
}

/* A descriptor of a process: if it is a socket with a state, its delta. Who
 * holds the same socket finds nothing left. */
static __always_inline void handle_held(struct seq_file *seq, struct file *file)
{
	struct sock *sk = file_sock(file);
	struct sock_state *st;

	if (!sk)
		return;
	st = state_of(sk);
	if (st)
		handle_socket(seq, sk, st);
}

/* Neither connected nor listening: it has done nothing that could be told, and
 * will be seen when it does. */
static __always_inline bool is_idle_stream(struct sock *sk)
{
	return (sk->sk_protocol == IPPROTO_TCP || sk->sk_protocol == IPPROTO_MPTCP) &&
	       sk->__sk_common.skc_state == TCP_CLOSE;
}

/* A descriptor of a process: if it is a socket without a state, make one. */
static __always_inline void handle_file(struct task_struct *task, struct file *file)
{
	struct sock *sk = file_sock(file);
	struct sock_state *st;
	__u16 family;

	if (!sk || !task_in_scope(task))
		return;
	family = sk->__sk_common.skc_family;
	if (family != AF_INET && family != AF_INET6 && !is_network(family))
		return;
	if (!is_network(family) && is_idle_stream(sk))
		return;
	st = state_make(sk);
	if (!st || !state_claim(st, CLAIM_BLANK))
		return;
	state_own_by(st, task->group_leader);
	if (is_network(family)) {
		socket_seen(sk, st);
		state_publish(st, CLAIM_SHARED);
		return;
	}
	adopt_fill(sk, st);
	st->bound = !st->stream;
	state_publish(st, state_owned(st));
}

#endif
