//go:build ignore

// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * fexit.bpf.c: the programs of the fexit tier, for kernels from 5.11 to 6.2:
 * what the reference tier learns at sock_send_length and sock_recv_length is
 * learnt where the families' functions return. Each is a shim.
 */
#define UNTYPED_HOOKS
#include "headers/common.h"
#include "headers/recv.h"
#include "headers/process_hooks.h"
#include "headers/socket_hooks.h"

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
