/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* loss.h: what fails is counted, by cause and with its bytes. */
#ifndef SNITCH_LOSS_H
#define SNITCH_LOSS_H

static __always_inline void loss_bytes(__u32 cause, __u64 sent, __u64 received)
{
	struct loss *l = bpf_map_lookup_elem(&losses, &cause);

	if (!l)
		return;
	/* a softirq may interrupt: atomic although per CPU */
	__sync_fetch_and_add(&l->count, 1);
	if (sent)
		__sync_fetch_and_add(&l->sent, sent);
	if (received)
		__sync_fetch_and_add(&l->received, received);
}

static __always_inline void loss(__u32 cause)
{
	loss_bytes(cause, 0, 0);
}

#endif
