/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* verdict_lookup.h: the look-up of docs/tables.md, step by step. */
#ifndef SNITCH_VERDICT_LOOKUP_H
#define SNITCH_VERDICT_LOOKUP_H

static __always_inline __u32 address_cell(__u32 slot, const __u8 *addr)
{
	struct verdict_address_key key = {.bits = 128};
	void *map = bpf_map_lookup_elem(&addresses, &slot);
	__u32 *cell;

	if (!map)
		return 0;
	__builtin_memcpy(key.addr, addr, 16);
	cell = bpf_map_lookup_elem(map, &key);
	return cell ? *cell : 0;
}

static __always_inline __u32 source_cell(__u32 slot, __u32 port)
{
	void *map = bpf_map_lookup_elem(&sources, &slot);
	__u32 *cell = map ? bpf_map_lookup_elem(map, &port) : NULL;

	return cell ? *cell : 0;
}

static __always_inline __u16 place_of(__u32 slot, const struct query *q, __u32 dimension,
				      __u32 cell)
{
	struct verdict_place_key key = {.group = q->group, .cell = cell, .dimension = dimension};
	void *map = bpf_map_lookup_elem(&places, &slot);
	__u32 *place = map ? bpf_map_lookup_elem(map, &key) : NULL;

	return place ? *place : 0;
}

static __always_inline bool find_group(__u32 slot, struct query *q, __u32 proto)
{
	struct verdict_group_key key = {.class = q->class, .direction = q->direction};
	void *map = bpf_map_lookup_elem(&protos, &slot);
	struct verdict_group *group;
	__u32 *column;

	column = map ? bpf_map_lookup_elem(map, &proto) : NULL;
	if (!column)
		return false;
	key.column = *column;
	map = bpf_map_lookup_elem(&groups, &slot);
	group = map ? bpf_map_lookup_elem(map, &key) : NULL;
	if (!group)
		return false;
	q->group = group->id;
	q->uses = group->uses;
	return true;
}

static __always_inline void find_places(__u32 slot, struct query *q)
{
	if (q->uses & 1 << DIMENSION_TO_ADDRESS)
		q->place[0] = place_of(slot, q, DIMENSION_TO_ADDRESS,
				       q->has & HAS_TO ? address_cell(slot, q->to) : 0);
	if (q->uses & 1 << DIMENSION_FROM_ADDRESS)
		q->place[1] = place_of(slot, q, DIMENSION_FROM_ADDRESS,
				       q->has & HAS_FROM ? address_cell(slot, q->from) : 0);
	if (q->uses & 1 << DIMENSION_FROM_PORT)
		q->place[2] =
			place_of(slot, q, DIMENSION_FROM_PORT,
				 q->has & HAS_FROM_PORT ? source_cell(slot, q->from_port) : 0);
}

/* Whether there is an entry that never expires. */
static __always_inline bool find_entry(__u32 slot, struct query *q)
{
	struct verdict_row_key key = {.bits = ROW_BITS};
	void *map = bpf_map_lookup_elem(&rows, &slot);
	__be16 *row = (__be16 *)key.row;
	struct verdict_entry *entry;

	*(__be32 *)key.row = bpf_htonl(q->group);
	row[2] = bpf_htons(q->place[0]);
	row[3] = bpf_htons(q->place[1]);
	row[4] = bpf_htons(q->place[2]);
	if (q->has & HAS_TO_PORT) {
		row[5] = bpf_htons(1);
		row[6] = bpf_htons(q->to_port);
	}
	entry = map ? bpf_map_lookup_elem(map, &key) : NULL;
	if (!entry)
		return false;
	q->rule = entry->rule;
	if (entry->until && bpf_ktime_get_boot_ns() >= entry->until)
		return false;
	q->verdict = entry->verdict;
	q->until = entry->until;
	return !entry->until;
}

/* Answers for q->class under q->generation. */
static __noinline int look_up(struct query *q)
{
	__u32 slot = q->generation & 1;

	if (q->class && cache_find(q))
		return 0;
	q->verdict = blur(VERDICT_ASK);
	q->group = blur(NO_GROUP);
	q->uses = blur(0);
	q->rule = blur(0);
	q->until = blur(0);
	q->place[0] = blur(0);
	q->place[1] = blur(0);
	q->place[2] = blur(0);
	if (q->class && find_group(slot, q, q->proto)) {
		find_places(slot, q);
		if (find_entry(slot, q) && !(q->uses & USES_SOURCE))
			cache_put(q);
	}
	return 0;
}

#endif
