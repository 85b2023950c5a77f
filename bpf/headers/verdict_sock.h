/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * verdict_sock.h: what a socket remembers of its judgement, and what is asked
 * of the tables.
 *
 * Only peers that may be spoken to are remembered, so that two threads which
 * judge at once never make a denied peer an allowed one.
 */
#ifndef SNITCH_VERDICT_SOCK_H
#define SNITCH_VERDICT_SOCK_H

/* One peer and what was decided about it. */
struct judged {
	__u8 addr[16];
	__u64 until; /* as in verdict_entry */
	__u32 generation;
	__u16 port;
	__u8 verdict; /* ALLOW, ASK (undecided, passes or is held) or NONE */
	__u8 pad;
};

struct verdict_sock {
	struct process_id id; /* who is judged; start 0: nobody is known */
	struct judged out;    /* who it spoke to first */
	struct judged in;     /* datagrams: who spoke to it first */
	__u64 asked;	      /* or told, last time, CLOCK_MONOTONIC */
	__u64 held;	      /* a connect waits, since when; 0: none does */
	__u64 next_syn;	      /* while pace is set, CLOCK_MONOTONIC */
	__u32 pace;	      /* seconds between SYNs of a connect that was held; 0: as TCP likes */
	__u32 told;	      /* generation whose denial user space knows of */
	__u8 direction;	      /* enum verdict_direction of the connection */
	__u8 pad[7];
};

enum query_has {
	HAS_TO = 1,
	HAS_TO_PORT = 2,
	HAS_FROM = 4,
	HAS_FROM_PORT = 8,
};

/* A question to the tables and its answer. `from` began. */
struct query {
	struct process_id id;
	__u8 to[16];
	__u8 from[16];
	__u64 cookie;
	__u64 until;
	__u32 class;
	__u32 generation;
	__u32 group;
	__u32 uses;
	__u32 rule;
	__u16 to_port;
	__u16 from_port;
	__u16 place[3];
	__u8 has; /* enum query_has */
	__u8 direction;
	__u8 proto;
	__u8 hook;
	__u8 family;
	__u8 verdict;
	__u8 flags; /* enum verdict_event_flag */
	__u8 told;  /* user space will hear of it */
	__u8 pad[10];
};

#define NO_GROUP 0xffffffff

/* An answer of the tables that needs no `from` and does not expire. */
struct verdict_cached {
	__u64 to[2];
	__u64 who;     /* generation and class */
	__u64 what;    /* port, what is known of it, protocol, direction */
	__u32 turn;    /* odd while it is being written */
	__u32 writers; /* only one that is alone writes */
	__u32 group;
	__u32 uses;
	__u32 rule;
	__u16 place;
	__u8 verdict;
	__u8 pad;
};

#endif
