/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* began.h: who began a connection that was there before anybody looked. */
#ifndef SNITCH_BEGAN_H
#define SNITCH_BEGAN_H

/* Of an established TCP connection: bytes_acked counts the SYN of the side that
 * connected, and of that side only. */
static __always_inline bool tcp_accepted(const struct tcp_sock *tp)
{
	__u32 first = tp->snd_nxt - (__u32)(tp->bytes_sent - tp->bytes_retrans);

	return tp->snd_una - (__u32)tp->bytes_acked == first;
}

#endif
