// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Steers handshake initiations of unknown flows to the shards; drops what is forged, and of other
 * handshake messages what nobody asked for; passes the rest.
 *
 *   frame -> classify -> served port? -> NIC served, for this host? -> shard alive?
 *              | other      | no             | no                        | no
 *              PASS         PASS             PASS                        PASS
 *
 *   -> well formed? -> answer? -> mac1 -> limit of answers -> PASS, or DROP
 *       | no           | no
 *       DROP           |
 *   -> mac1 -> seen before? -> known flow? -> shard under load? -> XSK
 *       | wrong  | yes          | yes           | yes
 *       DROP     DROP           PASS            cookie -> its source's bucket -> XSK
 *                                                | wrong      | empty
 *                                                |            DROP
 *                                                TX a cookie reply, or XSK, or DROP
 *
 * Fails open: whatever is not certain passes to the kernel, which answers for
 * the peers it has. What is dropped is what WireGuard would drop anyway, or would ask a
 * cookie of; exact repeats and frames of groups, which nobody sends who wants an answer; and more
 * answers than anybody can have asked for.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>
#include <xdp/xdp_helpers.h>

#include "classify.h"
#include "cookie.bpf.h"
#include "macs.bpf.h"
#include "sketch.h"
#include "steer_abi.h"

#define AF_INET 2
#define AF_INET6 10

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC); /* a changed key is never seen half */
	__uint(max_entries, STEER_SERVICES_MAX);
	__type(key, struct steer_service);
	__type(value, struct steer_device);
} steer_served SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, STEER_NICS_MAX);
	__type(key, __u32);
	__type(value, struct steer_nic);
} steer_nics SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, STEER_SLOTS_MAX);
	__type(key, __u32);
	__type(value, __u32);
} steer_sockets SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, STEER_SLOTS_MAX);
	__type(key, __u32);
	__type(value, struct steer_shard);
} steer_shards SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, STEER_FLOWS_MAX);
	__type(key, struct steer_flow);
	__type(value, struct steer_flow_state);
} steer_flows SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE); /* begins a page, so that a set is one cache line */
	__uint(max_entries, STEER_REPEATS_SETS);
	__type(key, __u32);
	__type(value, struct steer_repeats_set);
} steer_repeats SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, STEER_BUCKETS_MAX);
	__type(key, struct steer_source);
	__type(value, __u64); /* when its bucket is full again */
} steer_buckets SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, STEER_SKETCH_WORDS);
	__type(key, __u32);
	__type(value, __u64);
} steer_sketch SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, STEER_LOCALS);
	__type(key, __u32);
	__type(value, struct steer_local);
} steer_locals SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, STEER_COUNT_MAX);
	__type(key, __u32);
	__type(value, __u64);
} steer_counters SEC(".maps");

struct {
	__uint(priority, 20);
	__uint(XDP_PASS, 1); /* other programs of the dispatcher see what passes */
} XDP_RUN_CONFIG(steer);

static __always_inline int verdict(enum steer_count count, int action)
{
	__u32 key = count;
	__u64 *counter = bpf_map_lookup_elem(&steer_counters, &key);

	if (counter)
		(*counter)++;
	return action;
}

/* Asks the routing table whether the kernel would keep the packet, whoever sends it.
 * A function of its own for its stack, as some others are: the calls under way share 512 bytes. */
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

/* A gateway that also forwards must not take initiations meant for a host behind it. What the
 * kernel keeps is remembered for a while; what is for others is asked about for each packet. */
static __always_inline int is_for_this_host(struct xdp_md *ctx,
					    const struct classify_packet *packet, __u64 now)
{
	const __u64 *destination = (const __u64 *)packet->destination_be;
	__u32 place = ((destination[0] ^ destination[1]) * 0x9e3779b97f4a7c15ULL >> 32) %
		      STEER_LOCALS;
	struct steer_local *local = bpf_map_lookup_elem(&steer_locals, &place);

	if (!local)
		return 0;
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

/* From a group's MAC, to which an answer would go. */
static __always_inline int is_from_group(const __u8 *frame)
{
	return frame[6] & 1;
}

static __always_inline int is_for_mac(const void *frame, const __u8 *mac)
{
	const __u16 *a = frame, *b = (const __u16 *)mac;

	return a[0] == b[0] && a[1] == b[1] && a[2] == b[2];
}

/* The packet's flow, if the device has a peer there. */
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

/* Says whether the kernel is expected to answer this flow by itself, and notes
 * the time so that an unanswered flow shows when it retries. */
static __attribute__((noinline)) enum steer_count look_up_flow(const struct classify_packet *packet, __u64 now)
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

/* Notes a source whose packets are refused. */
static __always_inline void sketch_source(const struct classify_packet *packet)
{
	struct sketch_place place = sketch_place_of((const __u64 *)packet->source_be);
	__u64 *bits = bpf_map_lookup_elem(&steer_sketch, &place.word);

	if (bits && !(*bits & place.bit))
		*bits |= place.bit; /* a bit lost to another CPU is set by the next packet */
}

/* Takes one packet from a bucket, one more every `interval_ns` and those of `window_ns` at once,
 * that `turn` says the state of: the time when it is full again. Returns: 0 when it is empty. */
static __always_inline int take_turn(__u64 *turn, __u64 now, __u64 interval_ns, __u64 window_ns)
{
	__u64 before = *turn;
	__u64 from = before > now ? before : now;

	if (from - now > window_ns)
		return 0;
	/* Of two CPUs at once one takes the packet, the other is refused. */
	return __sync_val_compare_and_swap(turn, before, from + interval_ns) == before;
}

static __attribute__((noinline)) int bucket_may(const struct steer_source *source, __u64 now,
						__u64 interval_ns)
{
	__u64 *turn = bpf_map_lookup_elem(&steer_buckets, source);
	__u64 first = now + interval_ns;

	if (turn)
		return take_turn(turn, now, interval_ns, STEER_SOURCE_WINDOW_NS);
	return bpf_map_update_elem(&steer_buckets, source, &first, BPF_NOEXIST) == 0;
}

/* The buckets of the packet's source; others while nothing has proven that it is its source, or a
 * spoofer would empty his victim's. */
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

/* Whether the packet was seen before; notes it, as the latest of its set. Two CPUs in one set at
 * once may make it forget. */
static __attribute__((noinline)) int is_repeat(const struct initiation *message)
{
	__u64 latest = (__u64)message->mac1[1] << 32 | message->mac1[0], mac = latest;
	__u32 of_mac1 = message->mac1[2] % STEER_REPEATS_SETS;
	struct steer_repeats_set *set = bpf_map_lookup_elem(&steer_repeats, &of_mac1);
	int i;

	if (!set)
		return 0;
	if (set->macs[0] == mac)
		return 1; /* nothing is written: of one packet repeated on all queues all CPUs read this */
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

/* What a shard that is under load wants of an initiation. Of a flow that the device knows, a mac2
 * that is none of ours may be the device's own, which is under load too: it would ask for its
 * cookie again and again if it never saw the answer. Nothing has proven such a one, so a few pass. */
static __always_inline enum steer_count judge_under_load(enum steer_count known,
							 struct steer_hash *hash,
							 const struct initiation *message,
							 const struct classify_packet *packet,
							 struct steer_shard *shard, __u64 now)
{
	const struct steer_secret *newer = secret_by_age(0);
	const struct steer_secret *older = secret_by_age(1);
	__u64 interval_ns = shard->cookie_interval_ns;

	if (has_mac2(message) && newer && older) {
		if (mac2_verifies(hash, newer, packet, message) ||
		    mac2_verifies(hash, older, packet, message))
			return source_may(packet, now, 1) ? STEER_COUNT_STEER_NEW
							  : STEER_COUNT_DROP_RATE;
		if (known == STEER_COUNT_STEER_RETRY && source_may(packet, now, 0) &&
		    take_turn(&shard->retry_turn_ns, now, STEER_RETRY_INTERVAL_NS,
			      (STEER_RETRY_BURST - 1) * STEER_RETRY_INTERVAL_NS))
			return STEER_COUNT_PASS_FLOW;
	}
	if (!classify_can_be_answered(packet))
		return STEER_COUNT_DROP_NO_COOKIE;
	return take_turn(&shard->cookie_turn_ns, now, interval_ns, steer_cookie_window_ns(interval_ns))
		       ? STEER_COUNT_STEER_COOKIE
		       : STEER_COUNT_DROP_NO_COOKIE;
}

/* Whether the device is to read a response or a cookie reply. It reads them in the queue of its
 * initiations, and a flood of them would put it under load. */
static __attribute__((noinline)) int answer_may(const struct classify_packet *packet,
						struct steer_shard *shard, int response,
						__u32 queues, __u64 now)
{
	__u64 interval_ns = STEER_ANSWER_INTERVAL_NS * queues;
	__u64 window_ns = (STEER_ANSWER_BURST - 1) * STEER_ANSWER_INTERVAL_NS;

	if (!shard)
		return 1;
	return take_turn(response ? &shard->response_turn_ns : &shard->cookie_reply_turn_ns, now,
			 interval_ns, window_ns) ||
	       (find_flow(packet) && source_may(packet, now, 0) &&
		take_turn(&shard->known_answer_turn_ns, now, interval_ns, window_ns));
}

SEC("xdp")
int steer(struct xdp_md *ctx)
{
	const void *data = (const void *)(long)ctx->data;
	const void *data_end = (const void *)(long)ctx->data_end;
	struct classify_packet packet; /* filled unless CLASSIFY_OTHER */
	enum classify_result result;
	struct steer_service service = {};
	const struct steer_device *device;
	const struct initiation *message;
	__u32 ifindex = ctx->ingress_ifindex;
	struct steer_nic *nic;
	struct steer_shard *shard;
	struct steer_hash *hash;
	enum steer_count count;
	__u32 slot, zero = 0;
	__u64 now;

	result = classify(data, data_end, &packet);
	if (result == CLASSIFY_OTHER)
		return verdict(STEER_COUNT_PASS_OTHER, XDP_PASS);
	service.port = packet.port;
	device = bpf_map_lookup_elem(&steer_served, &service);
	if (!device)
		return verdict(STEER_COUNT_PASS_OTHER, XDP_PASS);
	nic = bpf_map_lookup_elem(&steer_nics, &ifindex);
	if (!nic || ctx->rx_queue_index >= nic->queues)
		return verdict(STEER_COUNT_PASS_UNBOUND, XDP_PASS);
	now = bpf_ktime_get_ns();
	if (!is_for_mac(data, nic->mac) || !is_for_this_host(ctx, &packet, now))
		return verdict(STEER_COUNT_PASS_FOREIGN, XDP_PASS);
	slot = nic->first_slot + ctx->rx_queue_index;
	shard = bpf_map_lookup_elem(&steer_shards, &slot);
	if (!shard)
		return verdict(STEER_COUNT_PASS_UNBOUND, XDP_PASS);
	if (now - shard->beat_ns > STEER_STALE_NS && now > shard->beat_ns)
		return verdict(STEER_COUNT_PASS_STALE, XDP_PASS);
	if (!bpf_map_lookup_elem(&steer_sockets, &slot))
		return verdict(STEER_COUNT_PASS_UNBOUND, XDP_PASS);
	if (result == CLASSIFY_BAD_LENGTH || is_from_group(data) ||
	    (const __u8 *)data_end - (const __u8 *)data > STEER_FRAME_MAX) {
		sketch_source(&packet);
		return verdict(STEER_COUNT_DROP_MALFORMED, XDP_DROP);
	}

	hash = bpf_map_lookup_elem(&steer_scratch, &zero);
	message = (const struct initiation *)((const __u8 *)data +
					      (packet.udp_offset & (STEER_FRAME_MAX - 1)) + 8);
	if (!hash)
		return verdict(STEER_COUNT_PASS_OTHER, XDP_PASS);
	if (result != CLASSIFY_INITIATION) {
		const struct response *response = (const struct response *)message;

		count = STEER_COUNT_PASS_ANSWER;
		if (result == CLASSIFY_RESPONSE && ((const void *)(response + 1) > data_end ||
						    !response_mac1_verifies(hash, device, response)))
			count = STEER_COUNT_DROP_MAC1;
		else if (!answer_may(&packet, shard, result == CLASSIFY_RESPONSE, nic->queues,
				     now))
			count = STEER_COUNT_DROP_ANSWER;
		if (count == STEER_COUNT_PASS_ANSWER)
			return verdict(count, XDP_PASS);
		sketch_source(&packet);
		return verdict(count, XDP_DROP);
	}
	if ((const void *)(message + 1) > data_end)
		return verdict(STEER_COUNT_PASS_OTHER, XDP_PASS);
	if (!mac1_verifies(hash, device, message))
		count = STEER_COUNT_DROP_MAC1;
	else if (is_repeat(message))
		count = STEER_COUNT_DROP_REPEAT;
	else
		count = look_up_flow(&packet, now);
	if (count >= STEER_COUNT_STEER_NEW && now < shard->load_until_ns)
		count = judge_under_load(count, hash, message, &packet, shard, now);
	if (count == STEER_COUNT_PASS_FLOW)
		return verdict(count, XDP_PASS);
	if (count < STEER_COUNT_STEER_NEW)
		sketch_source(&packet);
	if (count == STEER_COUNT_STEER_COOKIE && nic->cookies_by_tx && has_bare_headers(&packet)) {
		int action = answer_with_cookie(ctx, hash, device, &packet);

		if (action == XDP_TX) {
			__sync_fetch_and_add(&shard->cookies_sent, 1);
			return verdict(STEER_COUNT_TX_COOKIE, action);
		}
		if (action == XDP_DROP)
			return verdict(STEER_COUNT_DROP_NO_COOKIE, action);
	}
	if (count < STEER_COUNT_STEER_COOKIE)
		return verdict(count, XDP_DROP);
	return verdict(count, (int)bpf_redirect_map(&steer_sockets, slot, XDP_PASS));
}

char _license[] SEC("license") = "Dual BSD/GPL";
