//go:build ignore

// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * fexit.bpf.c: the programs of the fexit tier, for kernels from 5.11 to 6.2:
 * what the reference tier learns at sock_send_length and sock_recv_length is
 * learnt where the families' functions return. Each is a shim.
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
#include "headers/cgroup_old.h"
#include "headers/packet.h"
#include "headers/exec.h"
#include "headers/iter.h"

char _license[] SEC("license") = "Dual BSD/GPL";

SEC("fexit/inet_sendmsg")
int BPF_PROG(sent, struct socket *socket, void *msg, unsigned long size, int ret)
{
	struct sock *sk = socket->sk;

	if (sk)
		handle_send(sk, ret);
	return 0;
}

SEC("fexit/inet6_sendmsg")
int BPF_PROG(sent6, struct socket *socket, void *msg, unsigned long size, int ret)
{
	struct sock *sk = socket->sk;

	if (sk)
		handle_send(sk, ret);
	return 0;
}

/* sendfile and splice, before 6.5. Protocols without a way of their own come
 * back as a sendmsg. */
SEC("fexit/inet_sendpage")
int BPF_PROG(sent_page, struct socket *socket, void *page, int offset, unsigned long size,
	     int flags, long ret)
{
	struct sock *sk = socket->sk;

	if (sk && (sk->sk_protocol == IPPROTO_TCP || is_udp(sk->sk_protocol)))
		handle_send(sk, ret);
	return 0;
}

SEC("fexit/inet_recvmsg")
int BPF_PROG(received, struct socket *socket, void *msg, unsigned long size, int flags, int ret)
{
	struct sock *sk = socket->sk;

	if (sk)
		handle_recv(sk, ret, flags);
	return 0;
}

SEC("fexit/inet6_recvmsg")
int BPF_PROG(received6, struct socket *socket, void *msg, unsigned long size, int flags, int ret)
{
	struct sock *sk = socket->sk;

	if (sk)
		handle_recv(sk, ret, flags);
	return 0;
}

/* Raw and ICMP sockets of IPv6 receive here. */
SEC("fexit/sock_common_recvmsg")
int BPF_PROG(received_raw, struct socket *socket, void *msg, unsigned long size, int flags, int ret)
{
	struct sock *sk = socket->sk;

	if (sk)
		handle_recv(sk, ret, flags);
	return 0;
}

SEC("fexit/packet_sendmsg")
int BPF_PROG(sent_packet, struct socket *socket, void *msg, unsigned long size, int ret)
{
	struct sock *sk = socket->sk;

	if (sk)
		handle_send(sk, ret);
	return 0;
}

SEC("fexit/packet_recvmsg")
int BPF_PROG(received_packet, struct socket *socket, void *msg, unsigned long size, int flags,
	     int ret)
{
	struct sock *sk = socket->sk;

	if (sk)
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
	old_connect(ctx, &to);
	return 1;
}

SEC("cgroup/connect6")
int connect6(struct bpf_sock_addr *ctx)
{
	struct peer to = {};

	addr_v6(ctx, &to);
	old_connect(ctx, &to);
	return 1;
}

SEC("cgroup/sendmsg4")
int sendmsg4(struct bpf_sock_addr *ctx)
{
	struct peer to = {};

	addr_v4(ctx, &to);
	old_sendmsg(ctx, &to);
	return 1;
}

SEC("cgroup/sendmsg6")
int sendmsg6(struct bpf_sock_addr *ctx)
{
	struct peer to = {};

	addr_v6(ctx, &to);
	old_sendmsg(ctx, &to);
	return 1;
}

SEC("cgroup/recvmsg4")
int recvmsg4(struct bpf_sock_addr *ctx)
{
	struct peer from = {};

	addr_v4(ctx, &from);
	old_recvmsg(ctx, &from);
	return 1;
}

SEC("cgroup/recvmsg6")
int recvmsg6(struct bpf_sock_addr *ctx)
{
	struct peer from = {};

	addr_v6(ctx, &from);
	old_recvmsg(ctx, &from);
	return 1;
}

SEC("cgroup/post_bind4")
int post_bind4(struct bpf_sock *ctx)
{
	old_bind(ctx);
	return 1;
}

SEC("cgroup/post_bind6")
int post_bind6(struct bpf_sock *ctx)
{
	old_bind(ctx);
	return 1;
}

SEC("cgroup/sock_create")
int sock_create(struct bpf_sock *ctx)
{
	old_create(ctx);
	return 1;
}

SEC("cgroup/sock_release")
int sock_release(struct bpf_sock *ctx)
{
	old_release(ctx);
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
