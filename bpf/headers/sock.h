/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * sock.h: the state that each socket carries in its sk_storage, and the rules
 * by which it is shared.
 *
 * Most sockets have one process and one peer. Their bytes are added to the
 * state: one lookup, no hash, no clock. Everything else (another process on
 * the same socket, another peer) goes to the flow map under its own key.
 *
 * - claim says who may write owner and the fields of identity: the one that
 *   moved it to BUSY. Owner and primary peer never change
 *   once something was counted for them; connect() on a stream socket flushes
 *   first and the socket lock excludes others.
 * - counters are added to atomically by anybody and taken by exchange, by the
 *   iterator and at release; so each byte is taken exactly once.
 * - taken sums what became of sent: TAKING is added while it is being taken.
 * - the one-byte marks have one writer each or are only ever set; they need no
 *   atomics, which is why they are no bit field.
 */
#ifndef SNITCH_SOCK_H
#define SNITCH_SOCK_H

enum claim {
	CLAIM_BLANK = 0, /* just created: zero */
	CLAIM_BUSY = 1,	 /* being written */
	CLAIM_OPEN = 2,	 /* accepted; the first that moves bytes owns it */
	CLAIM_OWNED = 3,
	CLAIM_SHARED = 4, /* owned, but all bytes go to the flow map */
};

#define TAKING (1ULL << 56)

enum heal {
	HEAL_NONE = 0,	 /* not from its beginning on, or counted elsewhere */
	HEAL_OPEN = 1,	 /* tx_first and rx_first are known */
	HEAL_CLOSED = 2, /* so is tx_written */
};

enum peer_state {
	PEER_NONE = 0,
	PEER_BUSY = 1,
	PEER_SET = 2,
};

struct sock_state {
	/* the fast path reads and writes this cache line only */
	struct process_id owner;
	__u64 sent;
	__u64 received;
	__u64 sent_ops;
	__u64 recv_ops;
	__u64 rx_seen; /* TCP: bytes of the stream already counted as read */
	__u32 claim;   /* enum claim */
	__u8 stream;   /* TCP, MPTCP: one peer by construction */
	__u8 hash;     /* no release hook will come: use the flow map */
	__u8 out_done; /* egress has nothing more to find here */
	__u8 in_done;  /* ingress neither */

	__u8 raddr[16]; /* the primary peer, valid from PEER_SET on */
	__u8 laddr[16];
	__u16 rport;
	__u16 lport;
	__u16 proto;
	__u16 family;
	__u64 cookie;
	__u64 first;

	__u64 cgroup;
	__u32 netns;
	__u32 uid;
	__u32 peer;    /* enum peer_state */
	__u32 slots;   /* slots of struct sock_peers in use */
	__u32 named;   /* thread whose recvmsg hook saw the primary peer */
	__u16 hello;   /* bytes of the TLS hello still to capture */
	__u8 quic;     /* datagrams looked at */
	__u8 kind;     /* enum flow_kind */
	__u8 result;   /* enum flow_result */
	__u8 emitted;  /* the result that user space was told last */
	__u8 released; /* flushed for the last time */
	__u8 subflow;  /* of MPTCP: counted at the parent */
	__u8 existing; /* was there before the monitor */
	__u8 inbound;  /* the first thing seen was a receive */
	__u8 bound;    /* UDP: bind() */
	__u8 listed;   /* UDP: told as a listener */
	__u8 named_io; /* UDP: the program asks for the sender's address */
	__u8 told;     /* user space has a flow of this socket */
	__u8 raw;      /* SOCK_RAW or ping: no ports, peer only in packets */
	__u8 pad;
	char comm[COMM_LEN];

	/* streams; see heal.h */
	__u64 taken;
	__u32 heal;	  /* enum heal */
	__u32 tx_first;	  /* sequence number of the first byte to the peer */
	__u32 rx_first;	  /* and from it */
	__u32 tx_written; /* how much was written until the end */
};

#define PEER_SLOTS 4
#define PEER_QUEUE 8

struct peer {
	__u8 addr[16];
	__u16 port;
	__u16 pad[3];
} __attribute__((aligned(8)));

/* Peer of a datagram call in progress, claimed by a thread. */
struct peer_slot {
	__u32 tid; /* 0: free */
	__u32 pad;
	struct peer peer;
};

/* A datagram that reached the socket and was not read yet. */
struct peer_packet {
	__u32 len;    /* with the network header */
	__u32 header; /* up to what the program reads */
	struct peer peer;
};

/* What a socket with more than one peer needs; a second sk_storage. */
struct sock_peers {
	struct peer_slot slot[PEER_SLOTS];
	struct peer_packet queue[PEER_QUEUE];
	__u32 head; /* written by ingress */
	__u32 tail; /* written by readers */
	__u32 many; /* more than one peer was queued */
	__u32 pad;
};

#endif
