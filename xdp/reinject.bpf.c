// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Run by BPF_PROG_TEST_RUN with live frames: the frame given to it enters the
 * stack of its ingress interface as if it had just arrived there. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("xdp")
int reinject(struct xdp_md *ctx __attribute__((unused)))
{
	return XDP_PASS;
}

char _license[] SEC("license") = "Dual BSD/GPL";
