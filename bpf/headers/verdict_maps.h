/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * verdict_maps.h: the maps of the verdict programs. Tables come in generations:
 * each outer map has two slots, a generation lives in slot (generation & 1) of
 * all of them, and control->generation says which is in use. User space fills
 * the other slot, flips, and waits a grace period before it touches the old one.
 */
#ifndef SNITCH_VERDICT_MAPS_H
#define SNITCH_VERDICT_MAPS_H

#define BPF_MAP_TYPE_LRU_HASH 9
#define BPF_MAP_TYPE_LPM_TRIE 11
#define BPF_F_MMAPABLE (1 << 10)

#define SLOTS(name, inner)                                \
	struct {                                          \
		__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS); \
		__uint(max_entries, 2);                   \
		__type(key, __u32);                       \
		__array(values, struct inner);            \
	} name SEC(".maps")

/* Protocol number to column, then enum verdict_proto. Written by user space, never full. */
struct protos_map {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, PROTO_MAX);
	__type(key, __u32);
	__type(value, __u32);
};
SLOTS(protos, protos_map);

/* Port of `from` to cell. Written by user space, never full. */
struct sources_map {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 65536);
	__type(key, __u32);
	__type(value, __u32);
};
SLOTS(sources, sources_map);

/* Class, direction and column to group. Written by user space, which makes a
 * larger generation when it is full. So are the next three. */
struct groups_map {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1024);
	__type(key, struct verdict_group_key);
	__type(value, struct verdict_group);
};
SLOTS(groups, groups_map);

/* Address to cell. */
struct addresses_map {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1024);
	__type(key, struct verdict_address_key);
	__type(value, __u32);
};
SLOTS(addresses, addresses_map);

/* Group, dimension and cell to place. */
struct places_map {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1024);
	__type(key, struct verdict_place_key);
	__type(value, __u32);
};
SLOTS(places, places_map);

/* Row and port to entry. */
struct rows_map {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1024);
	__type(key, struct verdict_row_key);
	__type(value, struct verdict_entry);
};
SLOTS(rows, rows_map);

/* Slot 0: written by user space through a mapping, read by every program. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct verdict_control);
} controls SEC(".maps");

/* Process to classes. Inserted by user space, fork and exec; deleted by exec
 * and exit. Full: the process is unknown, COUNT_SUBJECTS_FULL. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__type(key, struct process_id);
	__type(value, struct verdict_subject);
} subjects SEC(".maps");

/* Classes of images about to run. Inserted by user space while it holds the
 * exec, deleted by the exec; what is left over ends by its time. Full: the
 * oldest goes, and its process is unknown. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, struct verdict_image);
	__type(value, struct verdict_pending);
} pending SEC(".maps");

/* Answers of user space. Full: the oldest goes and is asked for again. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, struct verdict_decision_key);
	__type(value, struct verdict_decision);
} decisions SEC(".maps");

/* Peers of datagram sockets, beyond the one of each direction that a socket
 * remembers itself; the value is the generation that allowed them. Inserted
 * and read by programs. Full: the oldest goes, and what it said is judged as if
 * it began. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 32768);
	__type(key, struct verdict_peer_key);
	__type(value, __u32);
} peers SEC(".maps");

/* State of each socket that was judged or has an owner; copied to accepted
 * sockets by the kernel, freed with the socket. No memory: refused. */
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC | BPF_F_CLONE);
	__type(key, int);
	__type(value, struct verdict_sock);
} sockets SEC(".maps");

#define CACHE_BITS 9

/* By a hash of the question. Written by programs, never full: the next one that
 * falls on an entry takes it. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1 << CACHE_BITS);
	__type(key, __u32);
	__type(value, struct verdict_cached);
} cache SEC(".maps");

/* struct verdict_event. Full: COUNT_RING_FULL, and what was asked is asked again
 * by the next packet or attempt. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20);
} ring SEC(".maps");

/* By enum verdict_count; programs add, user space sums. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, COUNT_MAX);
	__type(key, __u32);
	__type(value, __u64);
} counts SEC(".maps");

/* Zero, which the verifier does not know: a constant that is stored through it
 * does not make it walk the rest of the program once more. */
__u32 zero_for_all_we_know = 0;

static __always_inline __u32 blur(__u32 v)
{
	return v | zero_for_all_we_know;
}

static __always_inline void count(__u32 what)
{
	__u64 *n = bpf_map_lookup_elem(&counts, &what);

	if (n)
		__sync_fetch_and_add(n, 1);
}

static __always_inline struct verdict_control *control(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&controls, &zero);
}

#endif
