// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The least that an XDP program can do, as a baseline for the others. */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/udp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define INITIATION_BYTES 148

struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} sockets SEC(".maps");

SEC("xdp_pass")
int bare_pass(struct xdp_md *ctx __attribute__((unused)))
{
	return XDP_PASS;
}

SEC("xdp_drop")
int bare_drop(struct xdp_md *ctx __attribute__((unused)))
{
	return XDP_DROP;
}

/* Sends every initiation over plain IPv4 to a socket, unchecked. */
SEC("xdp_steer")
int bare_steer(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = data;
	struct iphdr *ip = (void *)(eth + 1);
	struct udphdr *udp = (void *)(ip + 1);
	__u8 *type = (void *)(udp + 1);

	if ((void *)(type + INITIATION_BYTES) > end || eth->h_proto != bpf_htons(ETH_P_IP) ||
	    ip->protocol != IPPROTO_UDP || ip->ihl != 5 ||
	    udp->len != bpf_htons(sizeof(*udp) + INITIATION_BYTES) || *type != 1)
		return XDP_PASS;
	return bpf_redirect_map(&sockets, ctx->rx_queue_index, XDP_PASS);
}

char _license[] SEC("license") = "Dual BSD/GPL";
