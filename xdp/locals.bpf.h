/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The destinations that are this host: the kernel's routing table, and a cache of its answers. */
#ifndef WICKET_LOCALS_BPF_H
#define WICKET_LOCALS_BPF_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>

#include "classify.h"
#include "steer_abi.h"

#define AF_INET 2
#define AF_INET6 10

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, STEER_LOCALS);
	__type(key, __u32);
	__type(value, struct steer_local);
} steer_locals SEC(".maps");

/* Asks the routing table whether the kernel would keep a packet to this destination. The source is
 * not part of the question: its answer is cached, and a sender could choose it.
 * Not inline, to free its stack: nested calls share 512 bytes. */
static __attribute__((noinline)) int is_kept_by_kernel(struct xdp_md *ctx,
						       const struct classify_packet *packet)
{
	struct bpf_fib_lookup fib = {};
	long result;

	fib.ifindex = ctx->ingress_ifindex;
	fib.l4_protocol = 17;
	fib.dport = bpf_htons(packet->port);
	if (packet->version == 4) {
		fib.family = AF_INET;
		__builtin_memcpy(&fib.ipv4_dst, packet->destination_be + 12, 4);
	} else {
		fib.family = AF_INET6;
		__builtin_memcpy(fib.ipv6_dst, packet->destination_be, 16);
	}
	result = bpf_fib_lookup(ctx, &fib, sizeof(fib), 0);
	return result == BPF_FIB_LKUP_RET_NOT_FWDED || result == BPF_FIB_LKUP_RET_FWD_DISABLED;
}

/* Says whether the packet is for this host: a gateway that also forwards must not take initiations
 * meant for a host behind it. A destination of this host is cached; any other is looked up for each
 * packet. */
static __always_inline int is_for_this_host(struct xdp_md *ctx,
					    const struct classify_packet *packet, __u64 now)
{
	const __u64 *destination = (const __u64 *)packet->destination_be;
	__u32 place =
	    ((destination[0] ^ destination[1]) * 0x9e3779b97f4a7c15ULL >> 32) % STEER_LOCALS;
	struct steer_local *local = bpf_map_lookup_elem(&steer_locals, &place);

	if (!local)
		return is_kept_by_kernel(ctx, packet);
	if (now < local->until_ns && local->destination_be[0] == destination[0] &&
	    local->destination_be[1] == destination[1] && local->ifindex == ctx->ingress_ifindex &&
	    local->port == packet->port && local->version == packet->version)
		return 1;
	if (!is_kept_by_kernel(ctx, packet))
		return 0;
	local->until_ns = now + STEER_LOCAL_NS;
	local->destination_be[0] = destination[0];
	local->destination_be[1] = destination[1];
	local->ifindex = ctx->ingress_ifindex;
	local->port = packet->port;
	local->version = packet->version;
	return 1;
}

#endif
