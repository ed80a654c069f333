// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Steers handshake initiations of unknown flows to the shards. Drops forgeries and repeats, and
 * responses and cookie replies beyond a rate limit. Passes the rest.
 *
 *   frame -> classify -> served port? -> NIC served, for this host? -> shard alive?
 *              | other      | no             | no                        | no
 *              PASS         PASS             PASS                        PASS
 *
 *   -> well formed? -> answer? -> mac1 -> rate limit of answers -> PASS
 *       | no           | no       | wrong  | exceeded
 *       DROP           |          DROP     DROP
 *   -> mac1 -> seen before? -> known flow? -> shard under load? -> XSK
 *       | wrong  | yes          | yes           | yes
 *       DROP     DROP           PASS            cookie -> its source's bucket -> XSK
 *                                                | wrong      | empty
 *                                                |            DROP
 *                                                TX a cookie reply, or XSK, or DROP
 *
 * Each line of boxes is a function. A function that decides returns the packet's count, and
 * STEER_COUNTS says what is done with a packet of that count. What a box remembers is in a header
 * of its own: locals.bpf.h, repeats.bpf.h, flows.bpf.h and buckets.bpf.h.
 *
 * Fails open: an uncertain packet passes to the kernel, which answers for the peers it has. The
 * program drops what WireGuard would drop or would ask for a cookie; exact repeats; frames from a
 * group's MAC, which cannot be answered; and more answers than the device can have asked for.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>
#include <xdp/xdp_helpers.h>

#include "buckets.bpf.h"
#include "classify.h"
#include "cookie.bpf.h"
#include "flows.bpf.h"
#include "locals.bpf.h"
#include "macs.bpf.h"
#include "repeats.bpf.h"
#include "sketch.h"
#include "steer_abi.h"

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
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, STEER_SKETCH_WORDS);
	__type(key, __u32);
	__type(value, __u64);
} steer_sketch SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, STEER_COUNT_MAX);
	__type(key, __u32);
	__type(value, __u64);
} steer_counters SEC(".maps");

/* Made and pinned with the others; the program does not use it. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct steer_owner);
} steer_owner SEC(".maps");

struct {
	__uint(priority, 20);
	__uint(XDP_PASS, 1); /* other programs of the dispatcher see what passes */
} XDP_RUN_CONFIG(steer);

/* The action of each count, two bits each; XDP_DROP to XDP_REDIRECT are 1 to 4. */
#define ACTION_BITS(name, action, text, help) | (__u64)(XDP_##action - 1) << 2 * STEER_COUNT_##name
#define ACTIONS (0ULL STEER_COUNTS(ACTION_BITS))
_Static_assert(STEER_COUNT_MAX <= 32, "two bits for each count");

/* What a box answers when it leaves the packet to the next one. */
#define UNDECIDED STEER_COUNT_MAX

/* A packet that came in: its frame, the device it is for, and the slot of its queue. */
struct arrival {
	const __u8 *frame, *frame_end;
	const struct steer_device *device;
	const struct steer_nic *nic;
	struct steer_shard *shard;
	__u64 now;
	__u32 slot;
};

static __always_inline int action_of(enum steer_count count)
{
	return 1 + (ACTIONS >> 2 * count & 3);
}

/* Counts the packet and does with it what its count says. */
static __always_inline int leave(enum steer_count count, __u32 slot)
{
	__u32 key = count;
	__u64 *counter = bpf_map_lookup_elem(&steer_counters, &key);
	int action = action_of(count);

	if (counter)
		(*counter)++;
	return action == XDP_REDIRECT ? (int)bpf_redirect_map(&steer_sockets, slot, XDP_PASS)
				      : action;
}

/* Says whether the sender's MAC is a group's, to which an answer would go. */
static __always_inline int is_from_group(const __u8 *frame)
{
	return frame[6] & 1;
}

static __always_inline int is_for_mac(const void *frame, const __u8 *mac)
{
	const __u16 *a = frame, *b = (const __u16 *)mac;

	return a[0] == b[0] && a[1] == b[1] && a[2] == b[2];
}

/* Notes the source of a refused packet. */
static __always_inline void sketch_source(const struct classify_packet *packet)
{
	struct sketch_place place = sketch_place_of((const __u64 *)packet->source_be);
	__u64 *bits = bpf_map_lookup_elem(&steer_sketch, &place.word);

	if (bits && !(*bits & place.bit))
		*bits |= place.bit; /* a bit lost to another CPU is set by the next packet */
}

/* Judges an initiation while the shard is under load. The device may be under load as well, and ask
 * for cookies of its own. So a known flow's mac2 that is not ours may be the device's. If no such
 * packet reached it, it would ask again and again. Nothing proves their source, so only a few pass.
 */
static __always_inline enum steer_count
judge_under_load(enum steer_count known, struct steer_hash *hash, const struct initiation *message,
		 const struct classify_packet *packet, struct steer_shard *shard, __u64 now)
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
	return take_turn(&shard->cookie_turn_ns, now, interval_ns,
			 steer_cookie_window_ns(interval_ns))
		   ? STEER_COUNT_STEER_COOKIE
		   : STEER_COUNT_DROP_NO_COOKIE;
}

/* Says whether the device is to read a response or a cookie reply. It reads them in the queue of
 * its initiations, and a flood of them would put it under load. */
static __attribute__((noinline)) int answer_may(const struct classify_packet *packet,
						struct steer_shard *shard, int response,
						__u32 queues, __u64 now)
{
	__u64 interval_ns = STEER_ANSWER_INTERVAL_NS * queues;
	__u64 window_ns = steer_answer_window_ns(queues);

	return take_turn(response ? &shard->response_turn_ns : &shard->cookie_reply_turn_ns, now,
			 interval_ns, window_ns) ||
	       (find_flow(packet) && source_may(packet, now, 0) &&
		take_turn(&shard->known_answer_turn_ns, now, interval_ns, window_ns));
}

/* Served port? NIC served, for this host? Shard alive? Fills `at` as far as it gets. */
static __always_inline enum steer_count
judge_arrival(struct xdp_md *ctx, const struct classify_packet *packet, struct arrival *at)
{
	struct steer_service service = {.port = packet->port};
	__u32 ifindex = ctx->ingress_ifindex, slot;

	at->device = bpf_map_lookup_elem(&steer_served, &service);
	if (!at->device)
		return STEER_COUNT_PASS_OTHER;
	at->nic = bpf_map_lookup_elem(&steer_nics, &ifindex);
	if (!at->nic || ctx->rx_queue_index >= at->nic->queues)
		return STEER_COUNT_PASS_UNBOUND;
	at->now = bpf_ktime_get_ns();
	if (!is_for_mac(at->frame, at->nic->mac) || !is_for_this_host(ctx, packet, at->now))
		return STEER_COUNT_PASS_FOREIGN;
	slot = at->nic->first_slot + ctx->rx_queue_index;
	at->slot = slot;
	at->shard = bpf_map_lookup_elem(&steer_shards, &slot);
	if (!at->shard)
		return STEER_COUNT_PASS_UNBOUND;
	if (at->now - at->shard->beat_ns > STEER_STALE_NS && at->now > at->shard->beat_ns)
		return STEER_COUNT_PASS_STALE;
	if (!bpf_map_lookup_elem(&steer_sockets, &slot))
		return STEER_COUNT_PASS_UNBOUND;
	return UNDECIDED;
}

/* Answer? mac1? Rate limit? Of a response or a cookie reply, which has no mac1. */
static __always_inline enum steer_count judge_answer(const void *message, int is_response,
						     struct steer_hash *hash,
						     const struct classify_packet *packet,
						     const struct arrival *at)
{
	const struct response *response = message;

	if (is_response) {
		if ((const __u8 *)(response + 1) > at->frame_end)
			return STEER_COUNT_PASS_FAULT;
		if (!response_mac1_verifies(hash, at->device, response))
			return STEER_COUNT_DROP_MAC1;
	}
	return answer_may(packet, at->shard, is_response, at->nic->queues, at->now)
		   ? STEER_COUNT_PASS_ANSWER
		   : STEER_COUNT_DROP_ANSWER;
}

/* mac1? Seen before? Known flow? Shard under load? */
static __always_inline enum steer_count judge_initiation(const struct initiation *message,
							 struct steer_hash *hash,
							 const struct classify_packet *packet,
							 const struct arrival *at)
{
	enum steer_count count;

	if ((const __u8 *)(message + 1) > at->frame_end)
		return STEER_COUNT_PASS_FAULT;
	if (!mac1_verifies(hash, at->device, message))
		return STEER_COUNT_DROP_MAC1;
	if (is_repeat(message))
		return STEER_COUNT_DROP_REPEAT;
	count = look_up_flow(packet, at->now);
	if (count == STEER_COUNT_PASS_FLOW || at->now >= at->shard->load_until_ns)
		return count;
	return judge_under_load(count, hash, message, packet, at->shard, at->now);
}

/* Asks for a cookie: by a reply of the program's own where it can make one, else by the shard. */
static __always_inline enum steer_count ask_for_cookie(struct xdp_md *ctx, struct steer_hash *hash,
						       const struct classify_packet *packet,
						       const struct arrival *at)
{
	if (!at->nic->cookies_by_tx || !has_bare_headers(packet) ||
	    !answer_with_cookie(ctx, hash, at->device, packet))
		return STEER_COUNT_STEER_COOKIE;
	__sync_fetch_and_add(&at->shard->cookies_sent, 1);
	return STEER_COUNT_TX_COOKIE;
}

/* Judges a handshake message to a device of ours. */
static __always_inline enum steer_count judge_message(struct xdp_md *ctx,
						      enum classify_result result,
						      const struct classify_packet *packet,
						      const struct arrival *at)
{
	const __u8 *message = at->frame + (packet->udp_offset & (STEER_FRAME_MAX - 1)) + 8;
	struct steer_hash *hash;
	enum steer_count count;
	__u32 zero = 0;

	if (result == CLASSIFY_BAD_LENGTH || is_from_group(at->frame) ||
	    at->frame_end - at->frame > STEER_FRAME_MAX)
		return STEER_COUNT_DROP_MALFORMED;
	hash = bpf_map_lookup_elem(&steer_scratch, &zero);
	if (!hash)
		return STEER_COUNT_PASS_FAULT;
	if (result != CLASSIFY_INITIATION)
		return judge_answer(message, result == CLASSIFY_RESPONSE, hash, packet, at);
	count = judge_initiation((const struct initiation *)message, hash, packet, at);
	return count == STEER_COUNT_STEER_COOKIE ? ask_for_cookie(ctx, hash, packet, at) : count;
}

SEC("xdp")
int steer(struct xdp_md *ctx)
{
	struct arrival at = {.frame = (const __u8 *)(long)ctx->data,
			     .frame_end = (const __u8 *)(long)ctx->data_end};
	struct classify_packet packet; /* filled unless CLASSIFY_OTHER */
	enum classify_result result = classify(at.frame, at.frame_end, &packet);
	enum steer_count count;

	if (result == CLASSIFY_OTHER)
		return leave(STEER_COUNT_PASS_OTHER, 0);
	count = judge_arrival(ctx, &packet, &at);
	if (count != UNDECIDED)
		return leave(count, 0);
	count = judge_message(ctx, result, &packet, &at);
	/* Dropped, or asked for a cookie. */
	if (action_of(count) == XDP_DROP || count == STEER_COUNT_TX_COOKIE ||
	    count == STEER_COUNT_STEER_COOKIE)
		sketch_source(&packet);
	return leave(count, at.slot);
}

char _license[] SEC("license") = "Dual BSD/GPL";
