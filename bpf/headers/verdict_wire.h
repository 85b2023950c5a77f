/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * verdict_wire.h: what user space writes for the verdict programs and what they
 * tell it. Rules of wire.h: fixed widths, explicit padding, zeroed before use.
 * docs/tables.md describes the tables.
 */
#ifndef SNITCH_VERDICT_WIRE_H
#define SNITCH_VERDICT_WIRE_H

/* Numbers of policy/table. */
enum verdict {
	VERDICT_NONE = 0,
	VERDICT_ASK = 1,
	VERDICT_ALLOW = 2,
	VERDICT_ALERT = 3,
	VERDICT_DENY = 4,
};

/* Numbers of event.Direction. */
enum verdict_direction {
	VERDICT_OUT = 1,
	VERDICT_IN = 2,
	VERDICT_LISTEN = 3,
};

enum verdict_mode {
	VERDICT_OFF = 0, /* every program lets everything pass and writes nothing */
	VERDICT_ENFORCE = 1,
};

/* One page that user space maps and writes with single stores. */
struct verdict_control {
	__u64 beat;	       /* CLOCK_MONOTONIC, ns: when user space was last alive */
	__u64 limit;	       /* ns without a beat after which it counts as dead */
	__u32 generation;      /* of the tables in use; the low bit is their slot; 0: none */
	__u32 mode;	       /* enum verdict_mode */
	__u32 closed;	       /* when it is dead: 1 refuse what tables do not allow, 0 pass all */
	__u32 undecided;       /* enum verdict of what user space has not answered */
	__u32 kernel_class[2]; /* class of sockets without a process, by slot; 0: pass */
	__u64 hold_limit;      /* ns that a connect is held at most */
	__u32 hold;	       /* 1: hold TCP connects until user space answers */
	__u32 staged;	       /* the last generation that subjects were written for */
};

/* Classes of a process: of both slots, so that one flip changes all of them. */
struct verdict_subject {
	__u32 class[2];
	__u32 child[2];	     /* of what it forks, which has another parent */
	__u32 generation[2]; /* for which they were made; another: unknown */
};

/* An image that a thread group is about to run. The loader of a program and the
 * interpreter of a script are announced too: only what runs is looked up. */
struct verdict_image {
	__u64 inode;
	__u32 pid;
	__u32 pad;
};

/* Its class, and what else of its file must be so. */
struct verdict_pending {
	struct verdict_subject subject;
	__s64 size;
	__s64 ctime;
	__u64 until; /* CLOCK_BOOTTIME, ns: the exec was held no longer */
};

/* Indexes of protos behind the protocols of IP. */
enum verdict_proto {
	PROTO_PACKET = 256,
	PROTO_VSOCK = 257,
	PROTO_XDP = 258,
	PROTO_MAX = 259,
};

struct verdict_group_key {
	__u32 class;
	__u16 column;
	__u8 direction;
	__u8 pad;
};

struct verdict_group {
	__u32 id;
	__u32 uses; /* enum verdict_dimension as bits, and USES_PORTS */
};

enum verdict_dimension {
	DIMENSION_TO_ADDRESS = 0,
	DIMENSION_FROM_ADDRESS = 1,
	DIMENSION_FROM_PORT = 2,
	DIMENSIONS = 3,
};

enum verdict_uses {
	USES_SOURCE = 1 << DIMENSION_FROM_ADDRESS | 1 << DIMENSION_FROM_PORT,
	USES_PORTS = 1 << DIMENSIONS, /* its rows tell ports of `to` apart */
};

struct verdict_place_key {
	__u32 group;
	__u32 cell;
	__u32 dimension;
};

struct verdict_address_key {
	__u32 bits;
	__u8 addr[16];
};

#define ROW_BITS 112

/* In network order: group u32, places u16 each, has-port u16, port u16; the
 * last two bytes only fill the word. */
struct verdict_row_key {
	__u32 bits;
	__u8 row[16];
};

struct verdict_entry {
	__u64 until; /* CLOCK_BOOTTIME, ns: from then on the entry is ask; 0: never */
	__u32 rule;  /* number that user space gave the rule, 0 none */
	__u8 verdict;
	__u8 pad[3];
};

/* What user space answered to an ask. The row is part of the key, so that an
 * answer never reaches what the tables tell apart. */
struct verdict_decision_key {
	struct process_id id;
	__u8 addr[16]; /* of the peer */
	__u32 group;
	__u16 place[3];
	__u16 port; /* of `to` */
	__u8 proto;
	__u8 direction;
	__u8 has_port;
	__u8 pad;
};

struct verdict_decision {
	__u64 until;  /* CLOCK_BOOTTIME, ns */
	__u64 cookie; /* of the only socket it is for, 0 any */
	__u32 generation;
	__u32 rule;
	__u8 verdict;
	__u8 pad[7];
};

/* Key of datagram peers that a socket heard of or spoke to besides its first. */
struct verdict_peer_key {
	__u64 cookie;
	__u8 addr[16];
	__u16 port;
	__u8 direction; /* who began */
	__u8 pad[5];
};

enum verdict_hook {
	HOOK_CONNECT = 1,
	HOOK_SENDMSG = 2,
	HOOK_BIND = 3,
	HOOK_CREATE = 4,
	HOOK_EGRESS = 5,
	HOOK_INGRESS = 6,
	HOOK_CUT = 7, /* not a hook: an open connection that is forbidden now */
	HOOK_FAMILY = 8,
};

enum verdict_event_type {
	VERDICT_ASKED = 1,  /* user space decides; what happens meanwhile is in verdict */
	VERDICT_DENIED = 2, /* an attempt was refused */
};

/* verdict_event.flags */
enum verdict_event_flag {
	EVENT_HAS_PORT = 1, /* the protocol has ports */
	EVENT_UNKNOWN = 2,  /* the process is in no class */
	EVENT_ROUTED = 4,   /* refused for its source route */
	EVENT_HELD = 16,    /* the connect waits for the answer */
	EVENT_DEAD = 8,	    /* refused because user space did not beat */
	EVENT_FRAGMENT = 32, /* refused: a fragment without a port */
};

/* The only record of the ring. */
struct verdict_event {
	__u64 time; /* CLOCK_BOOTTIME */
	struct process_id id;
	__u64 cookie;
	__u8 laddr[16];
	__u8 raddr[16];
	__u16 lport;
	__u16 rport;
	__u16 family;
	__u16 proto;
	__u32 netns;
	__u32 generation;
	__u32 rule;
	__u32 group;
	__u32 interface; /* that the socket is bound to, 0 none */
	__u16 place[3];
	__u8 type;    /* enum verdict_event_type */
	__u8 verdict; /* what happened: ALLOW or DENY */
	__u8 direction;
	__u8 hook;
	__u8 flags;
	__u8 pad;
};

/* Index of the per-CPU counters. */
enum verdict_count {
	COUNT_ALLOWED = 0,	/* judged: passed by the tables or an answer */
	COUNT_DENIED = 1,	/* refused by the tables or an answer */
	COUNT_ASKED = 2,	/* undecided when it was judged */
	COUNT_UNKNOWN = 3,	/* process without a class */
	COUNT_DEAD_PASSED = 4,	/* user space dead, fail open */
	COUNT_DEAD_REFUSED = 5, /* user space dead, fail closed */
	COUNT_KERNEL = 6,	/* packets of sockets without a process */
	COUNT_OTHER_PEER = 7,	/* packets to another peer than the judged one */
	COUNT_ROUTED = 8,	/* packets refused for their source route */
	COUNT_BAD_PACKET = 9,	/* packets that could not be read: refused */
	COUNT_RING_FULL = 10,	/* events lost */
	COUNT_NO_STORAGE = 11,	/* no memory for a socket's state: refused */
	COUNT_SUBJECTS_FULL = 12,
	COUNT_PROMOTED = 13,
	COUNT_NOT_PROMOTED = 14, /* another file ran than was announced */
	COUNT_HELD = 15,	 /* connects that waited for user space */
	COUNT_EXPIRED = 16,	 /* of these, SYNs that got what is undecided */
	COUNT_FRAGMENT = 17,	 /* of those denied, later fragments of raw sockets */
	COUNT_MAX = 18,
};

#endif
