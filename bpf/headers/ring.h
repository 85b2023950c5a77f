/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* ring.h: when a record wakes user space. */
#ifndef SNITCH_RING_H
#define SNITCH_RING_H

/* On an idle machine user space hears at once; in a burst it is woken once in
 * wake_ns and its timer finds the rest: a wake-up costs ten times a record. */
static __always_inline __u64 ring_flags(__u64 now)
{
	if (now - last_wake < wake_ns)
		return BPF_RB_NO_WAKEUP;
	last_wake = now;
	return BPF_RB_FORCE_WAKEUP;
}

#endif
