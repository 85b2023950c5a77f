//go:build ignore

// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * snitch.bpf.c: the programs of the reference tier. Each is a shim; its body is
 * in the header of its hook family. Which of them a kernel gets is decided in
 * Go (attach.go).
 */
#include "headers/common.h"
#include "headers/recv.h"
#include "headers/process_hooks.h"
#include "headers/socket_hooks.h"

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
