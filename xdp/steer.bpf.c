// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Steers handshake initiations of unknown flows to the shards; passes the rest.
 *
 *   frame -> classify -> served port? -> NIC served, for this host? -> shard alive? -> known flow? -> XSK
 *              | other      | no             | no                        | no            | yes
 *              PASS         PASS             PASS                        PASS            PASS
 *
 * Fails open: whatever is not certain passes to the kernel, which answers for
 * the peers it has. The one thing dropped is what WireGuard drops anyway.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>
#include <xdp/xdp_helpers.h>

#include "classify.h"
#include "steer_abi.h"

#define AF_INET 2
#define AF_INET6 10

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
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
	__type(value, __u64);
} steer_beats SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, STEER_FLOWS_MAX);
	__type(key, struct steer_flow);
	__type(value, struct steer_flow_state);
} steer_flows SEC(".maps");

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

/* Asks the routing table whether the kernel would keep the packet: a gateway
 * that also forwards must not take initiations meant for a host behind it. */
static __always_inline int is_for_this_host(struct xdp_md *ctx, const struct classify_packet *packet)
{
	struct bpf_fib_lookup fib = {};
	long result;

	fib.ifindex = ctx->ingress_ifindex;
	fib.l4_protocol = 17;
	fib.sport = bpf_htons(packet->source_port);
	fib.dport = bpf_htons(packet->port);
	if (packet->version == 4) {
		fib.family = AF_INET;
		__builtin_memcpy(&fib.ipv4_src, packet->source_be + 12, 4);
		__builtin_memcpy(&fib.ipv4_dst, packet->destination_be + 12, 4);
	} else {
		fib.family = AF_INET6;
		__builtin_memcpy(fib.ipv6_src, packet->source_be, 16);
		__builtin_memcpy(fib.ipv6_dst, packet->destination_be, 16);
	}
	result = bpf_fib_lookup(ctx, &fib, sizeof(fib), 0);
	return result == BPF_FIB_LKUP_RET_NOT_FWDED || result == BPF_FIB_LKUP_RET_FWD_DISABLED;
}

static __always_inline int is_for_mac(const void *frame, const __u8 *mac)
{
	const __u16 *a = frame, *b = (const __u16 *)mac;

	return a[0] == b[0] && a[1] == b[1] && a[2] == b[2];
}

/* Says whether the kernel is expected to answer this flow by itself, and notes
 * the time so that an unanswered flow shows when it retries. */
static __always_inline enum steer_count look_up_flow(const struct classify_packet *packet, __u64 now)
{
	struct steer_flow key = {};
	struct steer_flow_state *state;
	__u64 last;

	__builtin_memcpy(key.address_be, packet->source_be, 16);
	key.source_port = packet->source_port;
	key.port = packet->port;
	state = bpf_map_lookup_elem(&steer_flows, &key);
	if (!state)
		return STEER_COUNT_STEER_NEW;
	last = state->last_initiation_ns;
	state->last_initiation_ns = now;
	if (last != 0 && now - last < STEER_RETRY_NS)
		return STEER_COUNT_STEER_RETRY;
	return STEER_COUNT_PASS_FLOW;
}

SEC("xdp")
int steer(struct xdp_md *ctx)
{
	const void *data = (const void *)(long)ctx->data;
	const void *data_end = (const void *)(long)ctx->data_end;
	struct classify_packet packet; /* filled unless CLASSIFY_OTHER */
	enum classify_result result;
	struct steer_service service = {};
	__u32 ifindex = ctx->ingress_ifindex;
	struct steer_nic *nic;
	enum steer_count count;
	__u64 *beat, now;
	__u32 slot;

	result = classify(data, data_end, &packet);
	if (result == CLASSIFY_OTHER)
		return verdict(STEER_COUNT_PASS_OTHER, XDP_PASS);
	service.port = packet.port;
	if (!bpf_map_lookup_elem(&steer_served, &service))
		return verdict(STEER_COUNT_PASS_OTHER, XDP_PASS);
	nic = bpf_map_lookup_elem(&steer_nics, &ifindex);
	if (!nic || ctx->rx_queue_index >= nic->queues)
		return verdict(STEER_COUNT_PASS_UNBOUND, XDP_PASS);
	if (!is_for_mac(data, nic->mac) || !is_for_this_host(ctx, &packet))
		return verdict(STEER_COUNT_PASS_FOREIGN, XDP_PASS);
	slot = nic->first_slot + ctx->rx_queue_index;
	beat = bpf_map_lookup_elem(&steer_beats, &slot);
	if (!beat)
		return verdict(STEER_COUNT_PASS_UNBOUND, XDP_PASS);
	now = bpf_ktime_get_ns();
	if (now - *beat > STEER_STALE_NS && now > *beat)
		return verdict(STEER_COUNT_PASS_STALE, XDP_PASS);
	if (!bpf_map_lookup_elem(&steer_sockets, &slot))
		return verdict(STEER_COUNT_PASS_UNBOUND, XDP_PASS);
	if (result == CLASSIFY_BAD_LENGTH)
		return verdict(STEER_COUNT_DROP_LENGTH, XDP_DROP);
	if ((const __u8 *)data_end - (const __u8 *)data > STEER_FRAME_MAX)
		return verdict(STEER_COUNT_PASS_OTHER, XDP_PASS);

	count = look_up_flow(&packet, now);
	if (count == STEER_COUNT_PASS_FLOW)
		return verdict(count, XDP_PASS);
	return verdict(count, (int)bpf_redirect_map(&steer_sockets, slot, XDP_PASS));
}

char _license[] SEC("license") = "Dual BSD/GPL";
