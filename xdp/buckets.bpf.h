/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Token buckets. A bucket is one time: that at which it is full again. Each source has some; so has
 * each shard, in steer_shard. */
#ifndef WICKET_BUCKETS_BPF_H
#define WICKET_BUCKETS_BPF_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "classify.h"
#include "steer_abi.h"

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, STEER_BUCKETS_MAX);
	__type(key, struct steer_source);
	__type(value, __u64); /* ns */
} steer_buckets SEC(".maps");

/* Takes a token from a bucket, which gets one every `interval_ns` and holds those of `window_ns`
 * and one more. `turn`: the bucket. Returns: 0 when it is empty. */
static __always_inline int take_turn(__u64 *turn, __u64 now, __u64 interval_ns, __u64 window_ns)
{
	__u64 before = *turn;
	__u64 from = before > now ? before : now;

	if (from - now > window_ns)
		return 0;
	/* When two CPUs try at once, one takes the token and the other is refused. */
	return __sync_val_compare_and_swap(turn, before, from + interval_ns) == before;
}

/* Takes a token from the bucket of one source, which begins full. */
static __attribute__((noinline)) int bucket_may(const struct steer_source *source, __u64 now,
						__u64 interval_ns)
{
	__u64 *turn = bpf_map_lookup_elem(&steer_buckets, source);
	__u64 first = now + interval_ns;

	if (turn)
		return take_turn(turn, now, interval_ns, STEER_SOURCE_WINDOW_NS);
	return bpf_map_update_elem(&steer_buckets, source, &first, BPF_NOEXIST) == 0;
}

/* Takes a token from each bucket of the packet's source. The source may be spoofed unless it has
 * returned a cookie. So unproven packets have buckets of their own, or they would empty their
 * victim's. Not inline, to free its stack; nor is bucket_may(). */
static __attribute__((noinline)) int source_may(const struct classify_packet *packet, __u64 now,
						int proven)
{
	struct steer_source source = {};

	__builtin_memcpy(source.prefix_be, packet->source_be, 8);
	if (packet->version == 4) {
		__builtin_memcpy(source.prefix_be + 8, packet->source_be + 8, 8);
		source.prefix_be[0] = !proven;
		return bucket_may(&source, now, STEER_SOURCE_INTERVAL_NS);
	}
	source.prefix_be[15] = !proven;
	source.prefix_be[14] = 64;
	if (!bucket_may(&source, now, STEER_SOURCE_INTERVAL_NS))
		return 0;
	source.prefix_be[7] = 0;
	source.prefix_be[14] = 56;
	if (!bucket_may(&source, now, STEER_SOURCE_INTERVAL_NS / STEER_CUSTOMER_SOURCES))
		return 0;
	source.prefix_be[6] = 0;
	source.prefix_be[14] = 48;
	return bucket_may(&source, now, STEER_SOURCE_INTERVAL_NS / STEER_SITE_SOURCES);
}

#endif
