/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* verdict_subject.h: which class a process is of: known by user space, copied at
 * fork, dropped at exec and exit, promoted when an exec was announced. */
#ifndef SNITCH_VERDICT_SUBJECT_H
#define SNITCH_VERDICT_SUBJECT_H

enum bpf_func_id___typed {
	BPF_FUNC_get_current_task_btf___typed = 158,
};

/* Hooks of sockets get a typed task since Linux 5.11. */
static __always_inline void subject_current(struct process_id *id)
{
	struct task_struct *task, *leader;

	if (bpf_core_enum_value_exists(enum bpf_func_id___typed,
				       BPF_FUNC_get_current_task_btf___typed)) {
		leader = bpf_get_current_task_btf()->group_leader;
		id->start = leader->start_boottime;
		id->pid = leader->tgid;
		id->exec = leader->self_exec_id;
		return;
	}
	task = (void *)bpf_get_current_task();
	leader = BPF_CORE_READ(task, group_leader);
	id->start = BPF_CORE_READ(leader, start_boottime);
	id->pid = BPF_CORE_READ(leader, tgid);
	id->exec = BPF_CORE_READ(leader, self_exec_id);
}

static __always_inline void subject_id(struct task_struct *leader, struct process_id *id)
{
	id->start = leader->start_boottime;
	id->pid = leader->tgid;
	id->exec = leader->self_exec_id;
}

static __always_inline __u32 subject_class(const struct process_id *id, __u32 generation)
{
	struct verdict_subject *s = bpf_map_lookup_elem(&subjects, id);

	if (!s || s->generation[generation & 1] != generation)
		return 0;
	return s->class[generation & 1];
}

static __always_inline void subject_put(const struct process_id *id, struct verdict_subject *s)
{
	struct verdict_subject copy = *s; /* map memory is no argument on Linux 5.10 */

	if (bpf_map_update_elem(&subjects, id, &copy, BPF_ANY))
		count(COUNT_SUBJECTS_FULL);
}

static __always_inline void subject_fork(struct task_struct *parent, struct task_struct *child)
{
	struct process_id id = {}, from = {};
	struct verdict_subject *s, born;

	if (child->pid != child->tgid)
		return;
	subject_id(parent->group_leader, &from);
	s = bpf_map_lookup_elem(&subjects, &from);
	if (!s)
		return;
	born = *s;
	born.class[0] = born.child[0];
	born.class[1] = born.child[1];
	subject_id(child, &id);
	subject_put(&id, &born);
}

static __always_inline bool subject_runs(const struct verdict_pending *p, struct inode *inode)
{
	return p->size == inode->i_size && p->ctime == inode_ctime(inode) &&
	       bpf_ktime_get_boot_ns() < p->until;
}

static __always_inline void subject_exec(struct task_struct *task, struct linux_binprm *bprm)
{
	struct inode *inode = bprm->file->f_inode;
	struct verdict_image image = {};
	struct verdict_pending *p;
	struct process_id id = {};

	subject_id(task->group_leader, &id);
	id.exec--;
	bpf_map_delete_elem(&subjects, &id);
	id.exec++;
	image.inode = inode->i_ino;
	image.pid = id.pid;
	p = bpf_map_lookup_elem(&pending, &image);
	if (!p)
		return;
	if (subject_runs(p, inode)) {
		subject_put(&id, &p->subject);
		count(COUNT_PROMOTED);
	} else {
		count(COUNT_NOT_PROMOTED);
	}
	bpf_map_delete_elem(&pending, &image);
}

static __always_inline void subject_exit(struct task_struct *task)
{
	struct process_id id = {};

	if (task->signal->live.counter)
		return;
	subject_id(task->group_leader, &id);
	bpf_map_delete_elem(&subjects, &id);
}

/* Nobody who lives owns the socket: exec and exit drop subjects. */
static __always_inline bool is_free(const struct verdict_sock *st)
{
	struct process_id id = st->id; /* socket memory is no argument on Linux 5.10 */

	return !id.start || !bpf_map_lookup_elem(&subjects, &id);
}

#endif
