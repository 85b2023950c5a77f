package scenario

// tierShortfalls lists by scenario what the tiers below the reference tier
// cannot see. Each reason ends up in docs/kernels.md when it was needed.
func tierShortfalls() map[string][]shortfall {
	counters := func(reason string, s shortfall) []shortfall {
		s.tiers, s.reason = []string{"counters"}, reason
		return []shortfall{s}
	}
	owner := counters("bytes belong to the process that connected, bound or listened, not to the one that moved them",
		shortfall{rows: true, bytes: true})
	sctp := counters("SCTP is counted as packets, with its chunk headers, and by packet direction",
		shortfall{rows: true, bytes: true, result: true})
	packet := counters("AF_PACKET is not seen", shortfall{rows: true})
	other := counters("AF_XDP and vsock are not seen", shortfall{rows: true})
	tls := []shortfall{
		{tiers: []string{"counters"}, reason: "kTLS counts with the headers of its records", bytes: true},
		{tiers: []string{"reference", "fexit"}, reason: "what kTLS receives counts with the headers of its records", received: true},
	}
	return map[string][]shortfall{
		"tcp-v4-ktls-ktls": tls,
		"tcp-v6-ktls-ktls": tls,
		"tcp-lo-ktls-ktls": tls,
		"exec-after-send":  owner,
		"fork-both-send":   owner,
		"accept-in-fork":   owner,
		"socket-passed":    owner,
		"threads-share":    owner,
		"sctp":             sctp,
		"sctp-many":        sctp,
		"packet-raw":       packet,
		"packet-dgram":     packet,
		"packet-ring":      packet,
		"packet-receive-ring": append(packet, shortfall{
			tiers: []string{"reference", "fexit"}, reason: "frames that a program takes out of a PACKET_RX_RING are not counted", rows: true,
		}),
		"xdp-seen":   other,
		"vsock-seen": other,
		"udp-eight-peers-four-threads": {{tiers: []string{"reference", "fexit"}, began: true,
			reason: "when threads share a UDP socket, an answer may be booked before the question of a thread that was interrupted: the peer seems to have begun"}},
		"vsock-loopback": append(other, shortfall{
			tiers: []string{"fexit"}, reason: "vsock connections are seen while they are open, without bytes", rows: true,
		}, shortfall{
			tiers: []string{"reference"}, reason: "vsock has no addresses here: both ends of a process look alike", rows: true,
		}),
		"udp-truncated": counters("datagrams count as they arrive, however little of them is read", shortfall{bytes: true}),
		"never-accepted": counters("bytes count as received when they arrive, read or not",
			shortfall{bytes: true, result: true}),
	}
}
