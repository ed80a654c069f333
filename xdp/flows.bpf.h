/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Known flows: the addresses and ports where the devices have peers. The installer adds and removes
 * them; the program notes when each initiates. */
#ifndef WICKET_FLOWS_BPF_H
#define WICKET_FLOWS_BPF_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "classify.h"
#include "steer_abi.h"

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, STEER_FLOWS_MAX);
	__type(key, struct steer_flow);
	__type(value, struct steer_flow_state);
} steer_flows SEC(".maps");

/* The state of the packet's flow; 0 unless the device has a peer there. */
static __always_inline struct steer_flow_state *find_flow(const struct classify_packet *packet)
{
	struct steer_flow key = {};
	struct steer_flow_state *state;

	__builtin_memcpy(key.address_be, packet->source_be, 16);
	key.source_port = packet->source_port;
	key.port = packet->port;
	state = bpf_map_lookup_elem(&steer_flows, &key);
	return state && !state->forgotten ? state : 0;
}

/* Says whether the kernel is expected to answer this flow, and notes the time: a flow that
 * initiates again soon was not answered. Returns: PASS_FLOW, STEER_RETRY or STEER_NEW.
 * Not inline, to free its stack. */
static __attribute__((noinline)) enum steer_count look_up_flow(const struct classify_packet *packet,
							       __u64 now)
{
	struct steer_flow_state *state = find_flow(packet);
	__u64 last;

	if (!state)
		return STEER_COUNT_STEER_NEW;
	last = state->last_initiation_ns;
	state->last_initiation_ns = now;
	if (last != 0 && now - last < STEER_RETRY_NS)
		return STEER_COUNT_STEER_RETRY;
	return STEER_COUNT_PASS_FLOW;
}

#endif
