/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * wire.h: what crosses between the kernel side and user space. Fixed widths,
 * explicit padding, zeroed before use. bpf2go makes the Go types; a test
 * compares the layouts; the numbers of the enums are those of monitor/event.
 *
 * Addresses are 16 bytes, IPv4 as v4-mapped (::ffff:a.b.c.d), all zero for
 * none. Ports are in host order. Times are ns of CLOCK_BOOTTIME.
 */
#ifndef SNITCH_WIRE_H
#define SNITCH_WIRE_H

#define COMM_LEN 16
#define NODE_LEN 256	 /* filename and interp of an exec, cut beyond */
#define ARGS_LEN 4096	 /* argument bytes of an exec, cut beyond */
#define PAYLOAD_LEN 4096 /* captured payload, cut beyond */
#define DNS_PORT 53

/* One process image: event.ProcessID. */
struct process_id {
	__u64 start; /* start_boottime of the group leader */
	__u32 pid;   /* tgid in the initial namespace */
	__u32 exec;  /* low half of self_exec_id */
};

enum flow_kind {
	FLOW_CONNECT = 1,
	FLOW_ACCEPT = 2,
	FLOW_LISTEN = 3,
	FLOW_DATAGRAM = 4,
	FLOW_RAW = 5,
	FLOW_PACKET = 6,
	FLOW_SEEN = 7,
};

enum flow_result {
	RESULT_PENDING = 1,
	RESULT_ESTABLISHED = 2,
	RESULT_REFUSED = 3,
	RESULT_TIMEOUT = 4,
	RESULT_UNREACHABLE = 5,
	RESULT_RESET = 6,
	RESULT_ABORTED = 7,
	RESULT_FAILED = 8,
	RESULT_CLOSED = 9,
	RESULT_LISTENING = 10,
	RESULT_DENIED = 11,
	RESULT_SEEN = 12,
};

/* struct flow_value.flags */
enum flow_flag {
	FLOW_RECV_FIRST = 1, /* the first thing seen was a receive */
	FLOW_CLOSED = 2,     /* the socket is gone; so are the other flows of its cookie */
	FLOW_EXISTING = 4,   /* the socket was there before the monitor */
};

/* Key of the flow map: one process, one socket, one peer. event.FlowKey. */
struct flow_key {
	struct process_id id;
	__u64 cookie;
	__u8 raddr[16];
	__u16 rport;
	__u16 proto; /* IPPROTO_*; for AF_PACKET the Ethernet protocol */
	__u8 kind;   /* enum flow_kind */
	__u8 pad[3];
};

/* Value of the flow map, and of what the socket iterator emits: deltas, except
 * for the addresses, result and flags. event.Flow. */
struct flow_value {
	__u64 sent;
	__u64 received;
	__u64 sent_ops;
	__u64 recv_ops;
	__u64 first;
	__u64 last;
	__u64 cgroup;
	__u8 laddr[16];
	__u16 lport;
	__u16 family;
	__u32 netns; /* inode number */
	__u32 uid;
	__u8 result; /* enum flow_result */
	__u8 flags;  /* enum flow_flag */
	__u8 pad[2];
	char comm[COMM_LEN]; /* of the group leader */
};

/* One record of the socket iterator. */
struct flow {
	struct flow_key key;
	struct flow_value value;
};

/* Ring records begin with this header. */
enum record_type {
	RECORD_EXEC = 1,
	RECORD_FORK = 2,
	RECORD_EXIT = 3,
	RECORD_PAYLOAD = 4,
	RECORD_WAKE = 5, /* header only: the flow map is filling, drain now */
};

struct record {
	__u16 type; /* enum record_type */
	__u16 pad;
	__u32 len; /* of the whole record, header included */
	__u64 time;
};

struct file_id {
	__u64 dev; /* s_dev of the superblock */
	__u64 inode;
	__s64 size;
	__s64 mtime;
	__s64 ctime;
	__u32 generation; /* i_generation */
	__u32 pad;
};

/* struct exec_record.flags */
enum exec_flag {
	EXEC_ARGS_CUT = 1,
	EXEC_NODE_CUT = 2,
	EXEC_MEMFD = 4,
	EXEC_KTHREAD = 8, /* snapshot only */
};

/* RECORD_EXEC; also what the task iterator emits at start (args empty then,
 * user space reads /proc). Followed by args_len bytes of arguments, each ended
 * by NUL. */
struct exec_record {
	struct record hdr;
	struct process_id id;
	struct process_id parent;
	struct file_id file;
	__u64 cgroup;
	__u32 uid, gid;
	__u32 netns, mntns, pidns;
	__u32 nlink;
	__u32 flags;
	__u32 args_len;
	char comm[COMM_LEN];
	char filename[NODE_LEN];
	char interp[NODE_LEN]; /* empty when it equals filename */
};

struct fork_record {
	struct record hdr;
	struct process_id child;
	struct process_id parent;
	__u32 uid;
	__u32 pad;
	char comm[COMM_LEN];
};

struct exit_record {
	struct record hdr;
	struct process_id id;
};

enum payload_kind {
	PAYLOAD_DNS_QUERY = 1,
	PAYLOAD_DNS_ANSWER = 2,
	PAYLOAD_TLS = 3,
	PAYLOAD_QUIC = 4,
};

/* RECORD_PAYLOAD, followed by data_len bytes. */
struct payload_record {
	struct record hdr;
	struct process_id id;
	__u64 cookie;
	__u8 laddr[16];
	__u8 raddr[16];
	__u16 lport;
	__u16 rport;
	__u16 proto;
	__u8 kind; /* enum payload_kind */
	__u8 pad;
	__u32 netns;
	__u32 seq;	/* TCP: sequence number of the first byte */
	__u32 wire_len; /* payload length in the packet */
	__u32 data_len; /* bytes that follow */
};

/* Index of the per-CPU loss counters; numbers of event.LossCause. */
enum loss_cause {
	LOSS_RING_FULL = 1,
	LOSS_PAYLOAD_FULL = 2,
	LOSS_FLOW_MAP_FULL = 3,
	LOSS_OVERFLOW_FULL = 4,
	LOSS_SOCKET_STATE = 5,
	LOSS_PEER = 6,
	LOSS_HELPER = 7,
	LOSS_MAX = 8,
};

/* Value of the loss counters and of the overflow map (keyed by process_id). */
struct loss {
	__u64 count;
	__u64 sent;
	__u64 received;
};

#endif
