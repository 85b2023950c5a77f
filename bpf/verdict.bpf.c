//go:build ignore

// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * verdict.bpf.c: the programs that allow and deny. Each is a shim; its body is in
 * the header of its hook family. Nothing here runs unless enforcement is on.
 */
#include "headers/uapi.h"
#include "headers/kernel.h"
#include "headers/wire.h"

#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_tracing.h>

/* Judgements read a socket's fields rarely, and must on every kernel. */
#define UNTYPED_HOOKS

#include "headers/sock.h"
#include "headers/scope.h"
#include "headers/address.h"
#include "headers/hook_sock.h"
#include "headers/inode.h"
#include "headers/began.h"
#include "headers/verdict_wire.h"
#include "headers/verdict_sock.h"
#include "headers/verdict_maps.h"
#include "headers/verdict_cache.h"
#include "headers/verdict_lookup.h"
#include "headers/verdict_subject.h"
#include "headers/verdict_judge.h"
#include "headers/verdict_peer.h"
#include "headers/verdict_hold.h"
#include "headers/verdict_subflow.h"
#include "headers/verdict_call.h"
#include "headers/verdict_packet.h"
#include "headers/verdict_adopt.h"
#include "headers/verdict_cut.h"
#include "headers/verdict_family.h"

char _license[] SEC("license") = "Dual BSD/GPL";

/* Types that user space reads, and of inner maps: else clang forgets their bodies. */
const struct verdict_address_key *wire_address_key __attribute__((unused));
const struct verdict_row_key *wire_row_key __attribute__((unused));
const struct verdict_entry *wire_entry __attribute__((unused));
const struct verdict_group_key *wire_group_key __attribute__((unused));
const struct verdict_group *wire_group __attribute__((unused));
const struct verdict_place_key *wire_place_key __attribute__((unused));
const struct verdict_sock *wire_sock __attribute__((unused));
const struct verdict_pending *wire_pending __attribute__((unused));
const struct verdict_image *wire_image __attribute__((unused));
const struct verdict_subject *wire_subject __attribute__((unused));
const struct verdict_control *wire_control __attribute__((unused));
const struct verdict_event *wire_event __attribute__((unused));
const struct query *wire_query __attribute__((unused));
const enum verdict *wire_verdict __attribute__((unused));
const enum verdict_direction *wire_direction __attribute__((unused));
const enum verdict_mode *wire_mode __attribute__((unused));
const enum verdict_proto *wire_proto_number __attribute__((unused));
const enum verdict_hook *wire_hook __attribute__((unused));
const enum verdict_event_type *wire_event_type __attribute__((unused));
const enum verdict_event_flag *wire_event_flag __attribute__((unused));
const enum verdict_count *wire_count __attribute__((unused));
const enum verdict_uses *wire_uses __attribute__((unused));
const enum query_has *wire_has __attribute__((unused));

SEC("cgroup/connect4")
int verdict_connect4(struct bpf_sock_addr *ctx)
{
	struct query q = {};

	call_v4(ctx, &q);
	return handle_connect(ctx, &q);
}

SEC("cgroup/connect6")
int verdict_connect6(struct bpf_sock_addr *ctx)
{
	struct query q = {};

	call_v6(ctx, &q);
	return handle_connect(ctx, &q);
}

SEC("cgroup/sendmsg4")
int verdict_sendmsg4(struct bpf_sock_addr *ctx)
{
	struct query q = {};

	call_v4(ctx, &q);
	return handle_sendmsg(ctx, &q);
}

SEC("cgroup/sendmsg6")
int verdict_sendmsg6(struct bpf_sock_addr *ctx)
{
	struct query q = {};

	call_v6(ctx, &q);
	return handle_sendmsg(ctx, &q);
}

SEC("cgroup/bind4")
int verdict_bind4(struct bpf_sock_addr *ctx)
{
	struct query q = {};

	call_v4(ctx, &q);
	return handle_bind(ctx, &q);
}

SEC("cgroup/bind6")
int verdict_bind6(struct bpf_sock_addr *ctx)
{
	struct query q = {};

	call_v6(ctx, &q);
	return handle_bind(ctx, &q);
}

SEC("cgroup/sock_create")
int verdict_create(struct bpf_sock *ctx)
{
	struct query q = {};

	return handle_create(ctx, &q);
}

SEC("sockops")
int verdict_ops(struct bpf_sock_ops *ctx)
{
	if (ctx->op == BPF_SOCK_OPS_TCP_LISTEN_CB)
		handle_listen(ctx);
	else
		handle_ops(ctx);
	return 1;
}

SEC("cgroup_skb/egress")
int verdict_egress(struct __sk_buff *skb)
{
	return handle_egress(skb);
}

SEC("cgroup_skb/ingress")
int verdict_ingress(struct __sk_buff *skb)
{
	return handle_ingress(skb);
}

SEC("tp_btf/sched_process_exec")
int BPF_PROG(verdict_exec, struct task_struct *task, int old_pid, struct linux_binprm *bprm)
{
	subject_exec(task, bprm);
	return 0;
}

SEC("tp_btf/sched_process_fork")
int BPF_PROG(verdict_fork, struct task_struct *parent, struct task_struct *child)
{
	subject_fork(parent, child);
	return 0;
}

SEC("tp_btf/sched_process_exit")
int BPF_PROG(verdict_exit, struct task_struct *task)
{
	subject_exit(task);
	return 0;
}

SEC("iter/task_file")
int verdict_adopt(struct bpf_iter__task_file *ctx)
{
	struct task_struct *task = ctx->task;
	struct file *file = ctx->file;

	if (task && file)
		adopt_file(task, file);
	return 0;
}

SEC("iter/bpf_sk_storage_map")
int verdict_cut(struct bpf_iter__bpf_sk_storage_map *ctx)
{
	struct sock *sk = ctx->sk;
	struct verdict_sock *st = ctx->value;

	if (sk && st)
		cut_socket(ctx->meta->seq, sk, st);
	return 0;
}

SEC("iter/task_file")
int verdict_cut_files(struct bpf_iter__task_file *ctx)
{
	struct file *file = ctx->file;

	if (ctx->task && file)
		cut_file(ctx->meta->seq, file);
	return 0;
}

SEC("lsm/socket_create")
int BPF_PROG(verdict_family, int family, int type, int protocol, int kern, int ret)
{
	if (ret || kern)
		return ret;
	return handle_family(family);
}

/* Answers one query, which is the packet, in place: for tests and benchmarks,
 * never attached. */
SEC("tc")
int verdict_probe(struct __sk_buff *skb)
{
	struct query q = {};

	if (bpf_skb_load_bytes(skb, 14, &q, sizeof(q)))
		return 0;
	look_up(&q);
	return !bpf_skb_store_bytes(skb, 14, &q, sizeof(q), 0);
}
