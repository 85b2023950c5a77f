/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* exec.h: processes: what they run, whose children they are, when they end. */
#ifndef SNITCH_EXEC_H
#define SNITCH_EXEC_H

static __always_inline void fill_file(struct exec_record *r, struct inode *inode)
{
	struct super_block *sb = inode->i_sb;

	r->file.dev = sb->s_dev;
	r->file.inode = inode->i_ino;
	r->file.size = inode->i_size;
	r->file.mtime = inode_mtime(inode);
	r->file.ctime = inode_ctime(inode);
	r->file.generation = inode->i_generation;
	r->file.pad = 0;
	r->nlink = inode->i_nlink;
	/* memfd: on the kernel's own tmpfs mount, which has no path */
	if (!r->nlink && sb->s_flags & SB_KERNMOUNT && sb->s_magic == TMPFS_MAGIC)
		r->flags |= EXEC_MEMFD;
}

/* Everything of a process but its file and strings. */
static __always_inline void fill_process(struct exec_record *r, struct task_struct *leader)
{
	const struct cred *cred = leader->cred;
	struct nsproxy *ns = leader->nsproxy;

	r->hdr.type = RECORD_EXEC;
	r->hdr.pad = 0;
	r->hdr.time = bpf_ktime_get_boot_ns();
	leader_id(leader, &r->id);
	leader_id(leader->real_parent->group_leader, &r->parent);
	r->uid = cred->uid.val;
	r->gid = cred->gid.val;
	r->netns = 0;
	r->mntns = 0;
	r->pidns = 0;
	if (ns) {
		r->netns = ns->net_ns->ns.inum;
		r->mntns = ns->mnt_ns->ns.inum;
		r->pidns = ns->pid_ns_for_children->ns.inum;
	}
	r->flags = leader->flags & PF_KTHREAD ? EXEC_KTHREAD : 0;
	r->args_len = 0;
	r->cgroup = 0;
	leader_comm(leader, r->comm);
	r->filename[0] = 0;
	r->interp[0] = 0;
}

static __always_inline void fill_names(struct exec_record *r, const struct linux_binprm *bprm)
{
	if (bpf_probe_read_kernel_str(r->filename, NODE_LEN, bprm->filename) == NODE_LEN)
		r->flags |= EXEC_NODE_CUT;
	if (bprm->interp != bprm->filename &&
	    bpf_probe_read_kernel_str(r->interp, NODE_LEN, bprm->interp) == NODE_LEN)
		r->flags |= EXEC_NODE_CUT;
}

/* The arguments lie in one piece, each ended by NUL. */
static __always_inline void fill_args(struct exec_record *r, unsigned long start, __u64 len,
				      __u32 room)
{
	__u64 n = len; /* 64 bits: Linux 5.10 forgets the bounds of a narrower one */

	if (len > room) {
		n = room;
		r->flags |= EXEC_ARGS_CUT;
	}
	asm volatile("" : "+r"(n));
	if (n > room)
		n = room;
	if (n && bpf_probe_read_user(r + 1, n, (void *)start)) {
		loss(LOSS_HELPER);
		n = 0;
	}
	r->args_len = n;
	r->hdr.len = sizeof(*r) + n;
}

/* The ring hands out constant sizes only: take the class that fits. */
#define EXEC_CLASS(room)                                                \
	do {                                                            \
		r = bpf_ringbuf_reserve(&ring, sizeof(*r) + (room), 0); \
		if (!r) {                                               \
			loss(LOSS_RING_FULL);                           \
			return;                                         \
		}                                                       \
		fill_process(r, task->group_leader);                    \
		r->cgroup = bpf_get_current_cgroup_id();                \
		fill_file(r, bprm->file->f_inode);                      \
		fill_names(r, bprm);                                    \
		fill_args(r, start, len, (room));                       \
		bpf_ringbuf_submit(r, ring_flags(r->hdr.time));         \
	} while (0)

static __always_inline void handle_exec(struct task_struct *task, struct linux_binprm *bprm)
{
	struct mm_struct *mm = task->mm;
	unsigned long start = mm->arg_start, end = mm->arg_end;
	__u64 len = end > start ? end - start : 0;
	struct exec_record *r;

	if (len <= 256)
		EXEC_CLASS(256);
	else if (len <= 1024)
		EXEC_CLASS(1024);
	else
		EXEC_CLASS(ARGS_LEN);
}

/* A new thread group; its parent is who made it, whatever it is told later. */
static __always_inline void handle_fork(struct task_struct *parent, struct task_struct *child)
{
	struct fork_record *r;

	if (child->pid != child->tgid)
		return;
	r = bpf_ringbuf_reserve(&ring, sizeof(*r), 0);
	if (!r) {
		loss(LOSS_RING_FULL);
		return;
	}
	r->hdr.type = RECORD_FORK;
	r->hdr.pad = 0;
	r->hdr.len = sizeof(*r);
	r->hdr.time = bpf_ktime_get_boot_ns();
	leader_id(child, &r->child);
	leader_id(parent->group_leader, &r->parent);
	r->uid = child->cred->uid.val;
	r->pad = 0;
	leader_comm(child, r->comm);
	bpf_ringbuf_submit(r, ring_flags(r->hdr.time));
}

/* The last thread of a group ended. */
static __always_inline void handle_exit(struct task_struct *task)
{
	struct exit_record *r;

	if (task->signal->live.counter)
		return;
	r = bpf_ringbuf_reserve(&ring, sizeof(*r), 0);
	if (!r) {
		loss(LOSS_RING_FULL);
		return;
	}
	r->hdr.type = RECORD_EXIT;
	r->hdr.pad = 0;
	r->hdr.len = sizeof(*r);
	r->hdr.time = bpf_ktime_get_boot_ns();
	leader_id(task->group_leader, &r->id);
	bpf_ringbuf_submit(r, ring_flags(r->hdr.time));
}

#endif
