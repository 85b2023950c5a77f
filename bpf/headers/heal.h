/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * heal.h: the bytes of TCP calls whose end the kernel did not tell us. It skips
 * a tracing program while the processor is inside of it already: rarely, for a
 * softirq; more often where trace points can be preempted (Linux 7). The hooks
 * of a cgroup are never skipped, and a stream says by its sequence numbers how
 * much was written and read. So the last close of a socket adds what is missing.
 *
 * What was counted is sent + taken. A sum is compared only when no taker is in
 * between, and no call is in progress any more: then it is exact, and without
 * a skipped run the difference is 0. In doubt nothing is added.
 */
#ifndef SNITCH_HEAL_H
#define SNITCH_HEAL_H

/* A FIN is one number of the sequence: the one sent is there once the socket
 * has left ESTABLISHED or CLOSE_WAIT, the one received sets SOCK_DONE. */
static __always_inline bool fin_sent(__u8 state)
{
	return state != TCP_ESTABLISHED && state != TCP_CLOSE_WAIT && state != TCP_SYN_SENT &&
	       state != TCP_SYN_RECV;
}

/* The stream is established; its lock is held. bytes_acked counts the SYN of
 * the side that connected (see tcp_kind), TCP Fast Open's data as data. */
static __always_inline void heal_begin(struct sock_state *st, const struct tcp_sock *tp)
{
	if (st->existing || st->hash || is_subflow(tp))
		return;
	st->tx_first = tp->snd_una - (__u32)tp->bytes_acked + (st->kind == FLOW_CONNECT);
	st->rx_first = tp->rcv_nxt - (__u32)tp->bytes_received;
	st->heal = HEAL_OPEN;
}

/* The stream ends; its lock is held. Nothing can be written from now on, and
 * disconnecting forgets the numbers. */
static __always_inline void heal_closing(struct sock_state *st, const struct tcp_sock *tp, __u8 old)
{
	if (st->heal != HEAL_OPEN)
		return;
	st->tx_written = tp->write_seq - st->tx_first - fin_sent(old);
	__sync_lock_test_and_set(&st->heal, HEAL_CLOSED);
}

/* Whether somebody else than the programs that call send and recv may write
 * and read: kernel TLS, sockmap, repair. */
static __always_inline bool heal_others(struct sock *sk, struct tcp_sock *tp)
{
	return hook_read(tp, inet_conn.icsk_ulp_ops) || hook_read(sk, sk_user_data) ||
	       hook_bits(tp, repair);
}

static __always_inline void heal_sent(struct sock_state *st, __u32 written)
{
	__u64 taken = __sync_fetch_and_add(&st->taken, 0);
	__u64 sent = __sync_fetch_and_add(&st->sent, 0);
	__s32 missed = written - (__u32)(taken + sent);

	if (missed <= 0 || taken >= TAKING || __sync_fetch_and_add(&st->taken, 0) != taken)
		return;
	state_sent(st, missed);
	__sync_fetch_and_add(&healed_sent, missed);
}

static __always_inline void heal_received(struct sock_state *st, struct sock *sk,
					  struct tcp_sock *tp)
{
	bool done = hook_read(sk, __sk_common.skc_flags) & SOCK_DONE;
	__u32 read = hook_read(tp, copied_seq);
	__s32 missed = read - st->rx_first - (__u32)st->rx_seen;

	if (done && read == hook_read(tp, rcv_nxt)) /* the FIN was read too */
		missed--;
	if (missed <= 0)
		return;
	st->rx_seen += missed;
	state_received(st, missed);
	__sync_fetch_and_add(&healed_received, missed);
}

/* The last descriptor is about to go: no call is in progress. */
static __noinline int heal_end(struct sock_state *st, struct sock *sk)
{
	__u8 state = hook_read(sk, __sk_common.skc_state);
	__u32 heal = __sync_fetch_and_add(&st->heal, 0);
	struct tcp_sock *tp = hook_tcp(sk);

	/* disconnected: the numbers are those of no connection */
	if (!hook_read(sk, __sk_common.skc_dport) || heal_others(sk, tp))
		return 0;
	if (heal == HEAL_CLOSED)
		heal_sent(st, st->tx_written);
	else if (state != TCP_CLOSE) /* else its end was skipped */
		heal_sent(st, hook_read(tp, write_seq) - st->tx_first - fin_sent(state));
	heal_received(st, sk, tp);
	return 0;
}

#endif
