/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* common.h: what every object is made of, in the order of its dependencies. */
#ifndef SNITCH_COMMON_H
#define SNITCH_COMMON_H

#include "uapi.h"
#include "kernel.h"
#include "wire.h"

#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_tracing.h>

#include "sock.h"
#include "scope.h"
#include "maps.h"
#include "loss.h"
#include "ring.h"
#include "identity.h"
#include "address.h"
#include "flow.h"
#include "state.h"
#include "peer.h"
#include "began.h"
#include "adopt.h"
#include "send.h"
#include "hook_sock.h"
#include "heal.h"
#include "tcp.h"
#include "cgroup.h"
#include "packet.h"
#include "inode.h"
#include "exec.h"
#include "iter.h"

char _license[] SEC("license") = "Dual BSD/GPL";

#endif
