/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* inode.h: the times of a file, whose fields were renamed twice. */
#ifndef SNITCH_INODE_H
#define SNITCH_INODE_H

static __always_inline __s64 nanoseconds(__s64 sec, __s64 nsec)
{
	/* the top bit of i_ctime_nsec marks a queried time since 6.13 */
	return sec * 1000000000LL + (nsec & 0x7fffffff);
}

static __always_inline __s64 inode_mtime(struct inode *inode)
{
	struct inode___private *p = (void *)inode;
	struct inode___timespec *t = (void *)inode;

	if (bpf_core_field_exists(inode->i_mtime_sec))
		return nanoseconds(inode->i_mtime_sec, inode->i_mtime_nsec);
	if (bpf_core_field_exists(p->__i_mtime))
		return nanoseconds(BPF_CORE_READ(p, __i_mtime.tv_sec),
				   BPF_CORE_READ(p, __i_mtime.tv_nsec));
	return nanoseconds(BPF_CORE_READ(t, i_mtime.tv_sec), BPF_CORE_READ(t, i_mtime.tv_nsec));
}

static __always_inline __s64 inode_ctime(struct inode *inode)
{
	struct inode___private *p = (void *)inode;
	struct inode___timespec *t = (void *)inode;

	if (bpf_core_field_exists(inode->i_ctime_sec))
		return nanoseconds(inode->i_ctime_sec, inode->i_ctime_nsec);
	if (bpf_core_field_exists(p->__i_ctime))
		return nanoseconds(BPF_CORE_READ(p, __i_ctime.tv_sec),
				   BPF_CORE_READ(p, __i_ctime.tv_nsec));
	return nanoseconds(BPF_CORE_READ(t, i_ctime.tv_sec), BPF_CORE_READ(t, i_ctime.tv_nsec));
}

#endif
