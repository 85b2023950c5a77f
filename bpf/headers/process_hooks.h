/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* process_hooks.h: the programs of every tier: processes and their ends. */
#ifndef SNITCH_PROCESS_HOOKS_H
#define SNITCH_PROCESS_HOOKS_H

SEC("tp_btf/sched_process_exec")
int BPF_PROG(process_exec, struct task_struct *task, int old_pid, struct linux_binprm *bprm)
{
	handle_exec(task, bprm);
	return 0;
}

SEC("tp_btf/sched_process_fork")
int BPF_PROG(process_fork, struct task_struct *parent, struct task_struct *child)
{
	handle_fork(parent, child);
	return 0;
}

SEC("tp_btf/sched_process_exit")
int BPF_PROG(process_exit, struct task_struct *task)
{
	handle_exit(task);
	return 0;
}

SEC("iter/task")
int iter_tasks(struct bpf_iter__task *ctx)
{
	struct task_struct *task = ctx->task;

	if (task)
		handle_task(ctx->meta->seq, task);
	return 0;
}

#endif
