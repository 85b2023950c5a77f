/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* socket_hooks.h: the programs of the tiers that see calls, but for those at
 * which they count bytes. */
#ifndef SNITCH_SOCKET_HOOKS_H
#define SNITCH_SOCKET_HOOKS_H

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

SEC("iter/bpf_sk_storage_map")
int iter_sockets(struct bpf_iter__bpf_sk_storage_map *ctx)
{
	struct sock *sk = ctx->sk;
	struct sock_state *st = ctx->value;

	if (sk && st)
		handle_socket(ctx->meta->seq, sk, st);
	return 0;
}

/* In the place of iter_sockets, where the kernel would fault (attach.go). */
SEC("iter/task_file")
int iter_held(struct bpf_iter__task_file *ctx)
{
	struct file *file = ctx->file;

	if (ctx->task && file)
		handle_held(ctx->meta->seq, file);
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

#endif
