//go:build ignore

// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * counters.bpf.c: the programs of the counters tier, which load on Linux 5.10.
 * Each is a shim; the bodies are in headers/counters*.h and exec.h.
 */
#include "headers/uapi.h"
#include "headers/kernel.h"
#include "headers/wire.h"

#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_tracing.h>

#include "headers/sock.h"
#include "headers/maps.h"
#include "headers/loss.h"
#include "headers/ring.h"
#include "headers/identity.h"
#include "headers/address.h"
#include "headers/flow.h"
#include "headers/state.h"
#include "headers/peer.h"
#include "headers/adopt.h"
#include "headers/send.h"
#include "headers/tcp.h"
#include "headers/cgroup.h"
#include "headers/packet.h"
#include "headers/exec.h"
#include "headers/iter.h"
#include "headers/counters.h"
#include "headers/counters_stream.h"
#include "headers/counters_packet.h"

char _license[] SEC("license") = "Dual BSD/GPL";

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

SEC("tp_btf/sched_process_exec")
int BPF_PROG(process_exec, struct task_struct *task, int old_pid, struct linux_binprm *bprm)
{
	handle_exec(task, bprm);
	return 0;
}

SEC("tp_btf/sched_process_fork")
int BPF_PROG(process_fork, struct task_struct *parent, struct task_struct *child)
{
	handle_fork(parent, child);
	return 0;
}

SEC("tp_btf/sched_process_exit")
int BPF_PROG(process_exit, struct task_struct *task)
{
	handle_exit(task);
	return 0;
}

SEC("iter/task")
int iter_tasks(struct bpf_iter__task *ctx)
{
	struct task_struct *task = ctx->task;

	if (task)
		handle_task(ctx->meta->seq, task);
	return 0;
}
