//go:build ignore

// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * snitch.bpf.c: the programs. Each is a shim; its body is in the header of its
 * hook family. Which of them a kernel gets is decided in Go (attach.go).
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
#include "headers/recv.h"
#include "headers/tcp.h"
#include "headers/cgroup.h"
#include "headers/packet.h"
#include "headers/exec.h"
#include "headers/iter.h"

char _license[] SEC("license") = "Dual BSD/GPL";

/* Types that user space reads but no map holds. */
const struct flow *wire_flow __attribute__((unused));
const struct exec_record *wire_exec __attribute__((unused));
const struct fork_record *wire_fork __attribute__((unused));
const struct exit_record *wire_exit __attribute__((unused));
const struct payload_record *wire_payload __attribute__((unused));
const enum record_type *wire_record_type __attribute__((unused));
const enum flow_kind *wire_flow_kind __attribute__((unused));
const enum flow_result *wire_flow_result __attribute__((unused));
const enum flow_flag *wire_flow_flag __attribute__((unused));
const enum exec_flag *wire_exec_flag __attribute__((unused));
const enum payload_kind *wire_payload_kind __attribute__((unused));
const enum loss_cause *wire_loss_cause __attribute__((unused));

SEC("tp_btf/sock_send_length")
int BPF_PROG(send_length, struct sock *sk, int ret, int flags)
{
	handle_send(sk, ret);
	return 0;
}

SEC("tp_btf/sock_recv_length")
int BPF_PROG(recv_length, struct sock *sk, int ret, int flags)
{
	handle_recv(sk, ret, flags);
	return 0;
}

SEC("tp_btf/tcp_rcv_space_adjust")
int BPF_PROG(tcp_received, struct sock *sk)
{
	handle_tcp_received(sk);
	return 0;
}

SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(set_state, struct sock *sk, int old, int new)
{
	handle_set_state(sk, old, new);
	return 0;
}

SEC("cgroup/connect4")
int connect4(struct bpf_sock_addr *ctx)
{
	struct peer to = {};

	addr_v4(ctx, &to);
	handle_connect(ctx, &to);
	return 1;
}

SEC("cgroup/connect6")
int connect6(struct bpf_sock_addr *ctx)
{
	struct peer to = {};

	addr_v6(ctx, &to);
	handle_connect(ctx, &to);
	return 1;
}

SEC("cgroup/sendmsg4")
int sendmsg4(struct bpf_sock_addr *ctx)
{
	struct peer to = {};

	addr_v4(ctx, &to);
	handle_sendmsg(ctx, &to);
	return 1;
}

SEC("cgroup/sendmsg6")
int sendmsg6(struct bpf_sock_addr *ctx)
{
	struct peer to = {};

	addr_v6(ctx, &to);
	handle_sendmsg(ctx, &to);
	return 1;
}

SEC("cgroup/recvmsg4")
int recvmsg4(struct bpf_sock_addr *ctx)
{
	struct peer from = {};

	addr_v4(ctx, &from);
	handle_recvmsg(ctx, &from);
	return 1;
}

SEC("cgroup/recvmsg6")
int recvmsg6(struct bpf_sock_addr *ctx)
{
	struct peer from = {};

	addr_v6(ctx, &from);
	handle_recvmsg(ctx, &from);
	return 1;
}

SEC("cgroup/post_bind4")
int post_bind4(struct bpf_sock *ctx)
{
	handle_bind(ctx);
	return 1;
}

SEC("cgroup/post_bind6")
int post_bind6(struct bpf_sock *ctx)
{
	handle_bind(ctx);
	return 1;
}

SEC("cgroup/sock_create")
int sock_create(struct bpf_sock *ctx)
{
	handle_create(ctx);
	return 1;
}

SEC("cgroup/sock_release")
int sock_release(struct bpf_sock *ctx)
{
	handle_release(ctx);
	return 1;
}

SEC("cgroup_skb/egress")
int egress(struct __sk_buff *skb)
{
	handle_egress(skb);
	return 1;
}

SEC("cgroup_skb/ingress")
int ingress(struct __sk_buff *skb)
{
	handle_ingress(skb);
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

SEC("iter/bpf_sk_storage_map")
int iter_sockets(struct bpf_iter__bpf_sk_storage_map *ctx)
{
	struct sock *sk = ctx->sk;
	struct sock_state *st = ctx->value;

	if (sk && st)
		handle_socket(ctx->meta->seq, sk, st);
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

SEC("iter/task_file")
int iter_files(struct bpf_iter__task_file *ctx)
{
	struct task_struct *task = ctx->task;
	struct file *file = ctx->file;

	if (task && file)
		handle_file(task, file);
	return 0;
}
