/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* maps.h: every map and global; sizes that matter are set in Go. */
#ifndef SNITCH_MAPS_H
#define SNITCH_MAPS_H

/* Tunables, set before load. */
const volatile bool filter = false;	    /* only sockets of the cgroup in scope */
const volatile __u64 wake_ns = 10000000ULL; /* least time between wake-ups */

/* New flows ever, and the count at which user space is woken to drain; the
 * latter is moved by user space at each drain. */
__u64 flows_inserted = 0;
__u64 flows_wake = ~0ULL;

/* Bytes that heal.h found missing. */
__u64 healed_sent = 0;
__u64 healed_received = 0;

/* Last wake-up of the ring's reader. */
__u64 last_wake = 0;

/* One generation of flows. Key flow_key, value flow_value. Programs insert and
 * add; user space drains it after it was swapped out, when nobody adds any
 * more. Full: the bytes go to overflow. Never LRU: eviction loses bytes. */
struct flow_map {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__type(key, struct flow_key);
	__type(value, struct flow_value);
};

/* Slot 0: the generation in use. User space swaps; the update waits until no
 * program uses the old one. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 1);
	__type(key, __u32);
	__array(values, struct flow_map);
} flows SEC(".maps");

/* Bytes that found no flow entry, by process; swapped like flows. Full: only
 * LOSS_OVERFLOW_FULL knows of the bytes. */
struct overflow_map {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, struct process_id);
	__type(value, struct loss);
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 1);
	__type(key, __u32);
	__array(values, struct overflow_map);
} overflow SEC(".maps");

/* State of each socket. Created by hooks and programs, copied to accepted
 * sockets by the kernel, read by the iterator, freed with the socket. No
 * memory: LOSS_SOCKET_STATE, and the flow map is used instead. */
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC | BPF_F_CLONE);
	__type(key, int);
	__type(value, struct sock_state);
} sockets SEC(".maps");

/* Peers of sockets that have more than one. Not cloned. */
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct sock_peers);
} peers SEC(".maps");

/* Peer of a datagram call in progress when the socket's slots are taken. Key
 * thread id; inserted by the hook, deleted by the call's end. An entry lives
 * for one system call. Full: LOSS_PEER. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 16384);
	__type(key, __u32);
	__type(value, struct peer);
} calls SEC(".maps");

/* Records for user space. Full: LOSS_RING_FULL or LOSS_PAYLOAD_FULL. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 21);
} ring SEC(".maps");

/* The last word of closed sockets: struct flow, no header. Each is one of its
 * own, so a hash would merge nothing and touch five times the memory. Written
 * without wake-ups, read at each drain. Full: the flow map is used. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 21);
} closed SEC(".maps");

/* Loss counters by cause; programs add, user space sums. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, LOSS_MAX);
	__type(key, __u32);
	__type(value, struct loss);
} losses SEC(".maps");

/* Slot 0: the cgroup that is accounted when filter is set. */
struct {
	__uint(type, BPF_MAP_TYPE_CGROUP_ARRAY);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u32));
} scope SEC(".maps");

/* Room to build one snapshot record in; the stack is too small. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct exec_record);
} scratch SEC(".maps");

#endif
