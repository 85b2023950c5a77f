/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* verdict_scope.h: whom programs may touch that are attached to no cgroup. */
#ifndef SNITCH_VERDICT_SCOPE_H
#define SNITCH_VERDICT_SCOPE_H

/* Whether a task is in the cgroup that the other programs are attached to. */
static __always_inline bool task_in_scope(struct task_struct *task)
{
	struct cgroup *cgroup;

	if (!scope_id)
		return true;
	cgroup = BPF_CORE_READ(task, cgroups, dfl_cgrp);
	for (int depth = 0; cgroup && depth < 16; depth++) {
		if (BPF_CORE_READ(cgroup, kn, id) == scope_id)
			return true;
		cgroup = (struct cgroup *)BPF_CORE_READ(cgroup, self.parent);
	}
	return false;
}

#endif
