/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The latest initiations: sets of a few, and the set of each is chosen by its mac1. */
#ifndef WICKET_REPEATS_BPF_H
#define WICKET_REPEATS_BPF_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "macs.bpf.h"
#include "steer_abi.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE); /* begins a page, so that a set is one cache line */
	__uint(max_entries, STEER_REPEATS_SETS);
	__type(key, __u32);
	__type(value, struct steer_repeats_set);
} steer_repeats SEC(".maps");

/* Says whether the packet was seen before, and makes it the latest of its set. Two CPUs in one set
 * at once may make the set forget a packet. */
static __attribute__((noinline)) int is_repeat(const struct initiation *message)
{
	__u64 latest = (__u64)message->mac1[1] << 32 | message->mac1[0], mac = latest;
	__u32 of_mac1 = message->mac1[2] % STEER_REPEATS_SETS;
	struct steer_repeats_set *set = bpf_map_lookup_elem(&steer_repeats, &of_mac1);
	int i;

	if (!set)
		return 0;
	if (set->macs[0] == mac)
		return 1; /* without a write: CPUs that see one packet repeated share the line */
#pragma unroll
	for (i = 0; i < STEER_REPEATS_WAYS; i++) {
		__u64 here = set->macs[i];

		set->macs[i] = latest;
		if (here == mac)
			return 1;
		latest = here;
	}
	return 0;
}

#endif
