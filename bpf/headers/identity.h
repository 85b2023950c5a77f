/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* identity.h: who is running. */
#ifndef SNITCH_IDENTITY_H
#define SNITCH_IDENTITY_H

static __always_inline void leader_id(struct task_struct *leader, struct process_id *id)
{
	id->start = leader->start_boottime;
	id->pid = leader->tgid;
	id->exec = leader->self_exec_id;
}

/* Threads and io_uring workers are known by their group leader. */
static __always_inline void current_id(struct process_id *id)
{
	leader_id(bpf_get_current_task_btf()->group_leader, id);
}

static __always_inline bool is_current(const struct process_id *id)
{
	struct task_struct *leader = bpf_get_current_task_btf()->group_leader;

	return id->start == leader->start_boottime && id->pid == (__u32)leader->tgid &&
	       id->exec == (__u32)leader->self_exec_id;
}

/* From the task: packet hooks have no other way before Linux 6.12. */
static __always_inline __u32 current_tid(void)
{
	return bpf_get_current_task_btf()->pid;
}

static __always_inline void leader_comm(struct task_struct *leader, char *comm)
{
	bpf_probe_read_kernel(comm, COMM_LEN, leader->comm);
}

static __always_inline void current_comm(char *comm)
{
	leader_comm(bpf_get_current_task_btf()->group_leader, comm);
}

/* Whether sockets of the current task are accounted. */
static __always_inline bool in_scope(void)
{
	return !filter || bpf_current_task_under_cgroup(&scope, 0) == 1;
}

#endif
