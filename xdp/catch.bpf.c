// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Receives for the load generator: a packet from the target's UDP port to one of the generator's
 * goes to its socket on that queue, and every other one to the kernel. */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/udp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

/* Set before loading. IPv4 addresses are the first four bytes. */
const volatile __u8 target_be[16];
const volatile __u16 target_port;
const volatile __u16 first_port; /* of the generator */
const volatile __u16 last_port;
const volatile __u8 target_version;

struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, 256); /* queues */
	__type(key, __u32);
	__type(value, __u32);
} catch_sockets SEC(".maps");

static __always_inline int from_target(const __u8 *address, const struct udphdr *udp,
				       const void *end, int bytes)
{
	int i;

	if ((const void *)(udp + 1) > end || udp->source != bpf_htons(target_port) ||
	    bpf_ntohs(udp->dest) < first_port || bpf_ntohs(udp->dest) > last_port)
		return 0;
	for (i = 0; i < bytes; i++) {
		if (address[i] != target_be[i])
			return 0;
	}
	return 1;
}

SEC("xdp")
int catch_answers(struct xdp_md *ctx)
{
	const __u8 *end = (const __u8 *)(long)ctx->data_end;
	const __u8 *data = (const __u8 *)(long)ctx->data;
	const __u8 *ip = data + 14;
	__u16 type;
	int found = 0;

	if (ip + 4 > end)
		return XDP_PASS;
	type = *(const __u16 *)(data + 12);
	if (type == bpf_htons(ETH_P_8021Q)) {
		type = *(const __u16 *)(data + 16);
		ip += 4;
	}
	if (type == bpf_htons(ETH_P_IP) && target_version == 4) {
		const struct iphdr *header = (const struct iphdr *)ip;

		if ((const __u8 *)(header + 1) > end || header->ihl != 5 || header->protocol != IPPROTO_UDP)
			return XDP_PASS;
		found = from_target((const __u8 *)&header->saddr, (const struct udphdr *)(header + 1), end, 4);
	} else if (type == bpf_htons(ETH_P_IPV6) && target_version == 6) {
		const struct ipv6hdr *header = (const struct ipv6hdr *)ip;

		if ((const __u8 *)(header + 1) > end || header->nexthdr != IPPROTO_UDP)
			return XDP_PASS;
		found = from_target((const __u8 *)&header->saddr, (const struct udphdr *)(header + 1), end, 16);
	}
	if (!found)
		return XDP_PASS;
	return (int)bpf_redirect_map(&catch_sockets, ctx->rx_queue_index, XDP_PASS);
}

char _license[] SEC("license") = "Dual BSD/GPL";
