/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * verdict_cache.h: what the tables said last of a class and a peer. Tables of a
 * generation never change, and no two generations have one number: what is here
 * is true for ever.
 *
 * Each processor has its own: a reader meets a writer, and a writer another, only
 * where one of them was interrupted. Then the reader finds that turn changed, and
 * the writer that it is not alone, and both do without.
 */
#ifndef SNITCH_VERDICT_CACHE_H
#define SNITCH_VERDICT_CACHE_H

#define once(field) (*(volatile typeof(field) *)&(field))

static __always_inline __u64 cache_who(const struct query *q)
{
	return (__u64)q->generation << 32 | q->class;
}

static __always_inline __u64 cache_what(const struct query *q)
{
	return (__u64)q->to_port << 32 | (q->has & (HAS_TO | HAS_TO_PORT)) << 16 | q->proto << 8 |
	       q->direction;
}

static __always_inline struct verdict_cached *cache_slot(const struct query *q)
{
	const __u64 *to = (const __u64 *)q->to;
	__u64 hash = to[0] ^ cache_who(q) << 7;
	__u32 at;

	hash = (hash ^ hash >> 29) * 0x9e3779b97f4a7c15ULL ^ to[1];
	hash = (hash ^ hash >> 31) * 0xbf58476d1ce4e5b9ULL ^ cache_what(q);
	at = hash * 0x94d049bb133111ebULL >> (64 - CACHE_BITS);
	return bpf_map_lookup_elem(&cache, &at);
}

/* Fills the answer in; false: it must be looked up. */
static __always_inline bool cache_find(struct query *q)
{
	const __u64 *to = (const __u64 *)q->to;
	struct verdict_cached *c = cache_slot(q);
	__u32 turn;

	if (!c)
		return false;
	turn = once(c->turn);
	barrier();
	if (turn & 1 || c->who != cache_who(q) || c->what != cache_what(q) || c->to[0] != to[0] ||
	    c->to[1] != to[1])
		return false;
	q->group = c->group;
	q->uses = c->uses;
	q->rule = c->rule;
	q->verdict = c->verdict;
	q->place[0] = c->place;
	q->place[1] = blur(0);
	q->place[2] = blur(0);
	q->until = blur(0);
	barrier();
	return once(c->turn) == turn;
}

static __always_inline void cache_put(const struct query *q)
{
	const __u64 *to = (const __u64 *)q->to;
	struct verdict_cached *c = cache_slot(q);

	if (!c)
		return;
	__sync_fetch_and_add(&c->writers, 1);
	if (once(c->writers) == 1) {
		once(c->turn) = once(c->turn) + 1;
		barrier();
		c->to[0] = to[0];
		c->to[1] = to[1];
		c->who = cache_who(q);
		c->what = cache_what(q);
		c->group = q->group;
		c->uses = q->uses;
		c->rule = q->rule;
		c->place = q->place[0];
		c->verdict = q->verdict;
		barrier();
		once(c->turn) = once(c->turn) + 1;
	}
	__sync_fetch_and_add(&c->writers, -1);
}

#endif
