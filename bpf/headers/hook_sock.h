/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * hook_sock.h: the struct sock behind the socket of a cgroup hook. Kernels
 * before 6.2 cannot give the hook a typed one: an object for those is built
 * with UNTYPED_HOOKS and reads the fields by address.
 */
#ifndef SNITCH_HOOK_SOCK_H
#define SNITCH_HOOK_SOCK_H

#ifdef UNTYPED_HOOKS

#define hook_read(sk, field) BPF_CORE_READ(sk, field)
#define hook_bits(sk, field) BPF_CORE_READ_BITFIELD_PROBED(sk, field)

/* The kernel passes struct sock where the verifier sees another type; reading
 * the pointer from memory takes that type away. */
static __always_inline struct sock *hook_sock(void *typed)
{
	struct sock *sk = NULL;

	bpf_probe_read_kernel(&sk, sizeof(sk), &typed);
	return sk;
}

static __always_inline struct sock *hook_ctx_sock(struct bpf_sock *ctx)
{
	return hook_sock(ctx);
}

static __always_inline struct tcp_sock *hook_tcp(struct sock *sk)
{
	return (struct tcp_sock *)sk;
}

static __always_inline void hook_address(struct sock *sk, __u8 *addr, bool local)
{
	struct in6_addr in6 = {};

	if (BPF_CORE_READ(sk, __sk_common.skc_family) == AF_INET) {
		put_v4(addr, local ? BPF_CORE_READ(sk, __sk_common.skc_rcv_saddr)
				   : BPF_CORE_READ(sk, __sk_common.skc_daddr));
		return;
	}
	if (local)
		BPF_CORE_READ_INTO(&in6, sk, __sk_common.skc_v6_rcv_saddr);
	else
		BPF_CORE_READ_INTO(&in6, sk, __sk_common.skc_v6_daddr);
	__builtin_memcpy(addr, &in6, 16);
}

static __always_inline void hook_local(struct sock *sk, __u8 *addr, __u16 *port)
{
	hook_address(sk, addr, true);
	*port = BPF_CORE_READ(sk, __sk_common.skc_num);
	if (!*port) /* see sock_local */
		*port = bpf_ntohs(BPF_CORE_READ((struct inet_sock *)sk, inet_sport));
}

static __always_inline void hook_remote(struct sock *sk, __u8 *addr, __u16 *port)
{
	hook_address(sk, addr, false);
	*port = bpf_ntohs(BPF_CORE_READ(sk, __sk_common.skc_dport));
}

#else

#define hook_read(sk, field) ((sk)->field)
#define hook_bits(sk, field) BPF_CORE_READ_BITFIELD(sk, field)
#define hook_local sock_local
#define hook_remote sock_peer

void *bpf_rdonly_cast(const void *obj, __u32 btf_id) __ksym __weak;
void *bpf_cast_to_kern_ctx(void *obj) __ksym __weak;

static __always_inline struct sock *hook_sock(void *sk)
{
	return bpf_rdonly_cast(sk, bpf_core_type_id_kernel(struct sock));
}

static __always_inline struct sock *hook_ctx_sock(struct bpf_sock *ctx)
{
	return hook_sock(bpf_cast_to_kern_ctx(ctx));
}

static __always_inline struct tcp_sock *hook_tcp(struct sock *sk)
{
	return bpf_rdonly_cast(sk, bpf_core_type_id_kernel(struct tcp_sock));
}

#endif

#endif
