/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* scope.h: whom programs may see or touch that are attached to no cgroup. */
#ifndef SNITCH_SCOPE_H
#define SNITCH_SCOPE_H

/* Cgroups below the one in scope that are told to be in it; docs/enforcement.md
 * has the number. The verifier wants a bound: hosts nest ten of them or so. */
#define SCOPE_LEVELS 64

const volatile __u64 scope_id = 0; /* id of the cgroup in scope, 0: everything is */

/* Whether a task, which need not be the current one, is in that cgroup. */
static __always_inline bool task_in_scope(struct task_struct *task)
{
	struct cgroup *cgroup;

	if (!scope_id)
		return true;
	cgroup = BPF_CORE_READ(task, cgroups, dfl_cgrp);
	for (int level = 0; cgroup && level <= SCOPE_LEVELS; level++) {
		if (BPF_CORE_READ(cgroup, kn, id) == scope_id)
			return true;
		cgroup = (struct cgroup *)BPF_CORE_READ(cgroup, self.parent);
	}
	return false;
}

#endif
