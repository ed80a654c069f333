// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The least an XDP program can do: what the others are compared with. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

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

char _license[] SEC("license") = "Dual BSD/GPL";
