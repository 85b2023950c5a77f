//go:build ignore

// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * counters.bpf.c: the programs of the counters tier, which load on Linux 5.10.
 * Each is a shim; the bodies are in headers/counters*.h and exec.h.
 */
#include "headers/common.h"
#include "headers/counters.h"
#include "headers/counters_stream.h"
#include "headers/counters_packet.h"
#include "headers/process_hooks.h"

SEC("cgroup/sock_create")
int count_create(struct bpf_sock *ctx)
{
	counter_create(ctx);
	return 1;
}

SEC("cgroup/sock_release")
int count_release(struct bpf_sock *ctx)
{
	counter_release(ctx);
	return 1;
}

SEC("cgroup/connect4")
int count_connect4(struct bpf_sock_addr *ctx)
{
	struct peer to = {};

	addr_v4(ctx, &to);
	counter_connect(ctx, &to);
	return 1;
}

SEC("cgroup/connect6")
int count_connect6(struct bpf_sock_addr *ctx)
{
	struct peer to = {};

	addr_v6(ctx, &to);
	counter_connect(ctx, &to);
	return 1;
}

SEC("cgroup/sendmsg4")
int count_sendmsg4(struct bpf_sock_addr *ctx)
{
	counter_sendmsg(ctx);
	return 1;
}

SEC("cgroup/sendmsg6")
int count_sendmsg6(struct bpf_sock_addr *ctx)
{
	counter_sendmsg(ctx);
	return 1;
}

SEC("cgroup/bind4")
int count_bind4(struct bpf_sock_addr *ctx)
{
	counter_bind(ctx);
	return 1;
}

SEC("cgroup/bind6")
int count_bind6(struct bpf_sock_addr *ctx)
{
	counter_bind(ctx);
	return 1;
}

SEC("cgroup/post_bind4")
int count_bound4(struct bpf_sock *ctx)
{
	counter_bound4(ctx);
	return 1;
}

SEC("cgroup/post_bind6")
int count_bound6(struct bpf_sock *ctx)
{
	counter_bound6(ctx);
	return 1;
}

SEC("sockops")
int count_streams(struct bpf_sock_ops *ops)
{
	counter_ops(ops);
	return 1;
}

SEC("cgroup_skb/egress")
int count_egress(struct __sk_buff *skb)
{
	counter_egress(skb);
	return 1;
}

SEC("cgroup_skb/ingress")
int count_ingress(struct __sk_buff *skb)
{
	counter_ingress(skb);
	return 1;
}
