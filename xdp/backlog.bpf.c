// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Reads how many handshakes wait in a WireGuard device of the kernel.
 *
 * The kernel has no interface for it. It counts them in its struct wg_device, which the user data
 * of the device's UDP socket points to. Types and members are found by name in the kernel's BTF. A
 * kernel that lacks one refuses the programs, so no memory is misread. */
#include <linux/bpf.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#define KERNEL_TYPE __attribute__((preserve_access_index))

typedef struct {
	struct net *net;
} KERNEL_TYPE possible_net_t;

struct sock_common {
	possible_net_t skc_net;
} KERNEL_TYPE;

struct sock {
	struct sock_common __sk_common;
	void *sk_user_data;
} KERNEL_TYPE;

struct inet_sock {
	struct sock sk;
} KERNEL_TYPE;

struct udp_sock {
	struct inet_sock inet;
} KERNEL_TYPE;

struct net_device {
	possible_net_t nd_net;
	int ifindex;
} KERNEL_TYPE;

typedef struct {
	int counter;
} KERNEL_TYPE atomic_t;

struct wg_device {
	struct net_device *dev;
	struct sock *sock4, *sock6;
	atomic_t handshake_queue_len;
} KERNEL_TYPE;

struct bpf_iter__udp {
	struct udp_sock *udp_sk;
} KERNEL_TYPE;

#define SK_USER_DATA_FLAGS 7ull /* the kernel keeps flags in the pointer's low bits */

int ifindex; /* of the wanted device, in the reader's network namespace */
__u64 netns; /* that namespace's struct net */
__u64 device; /* the device's struct wg_device, 0 when unknown */

/* A device that is down or gone has no socket. A device that was moved to another namespace still
 * has its socket in this one. */
static __always_inline int is_wanted(const struct wg_device *wg)
{
	return (BPF_CORE_READ(wg, sock4) || BPF_CORE_READ(wg, sock6)) &&
	       BPF_CORE_READ(wg, dev, ifindex) == ifindex &&
	       (__u64)BPF_CORE_READ(wg, dev, nd_net.net) == netns;
}

/* Run for each UDP socket of the namespace. The user data of other protocols does not point back
 * to the socket. */
SEC("iter/udp")
int find(struct bpf_iter__udp *ctx)
{
	struct udp_sock *udp = ctx->udp_sk;
	const struct wg_device *wg;
	__u64 sock;

	if (!udp)
		return 0;
	sock = (__u64)&udp->inet.sk;
	wg = (const void *)((__u64)udp->inet.sk.sk_user_data & ~SK_USER_DATA_FLAGS);
	if (!wg || (sock != (__u64)BPF_CORE_READ(wg, sock4) && sock != (__u64)BPF_CORE_READ(wg, sock6)))
		return 0;
	netns = (__u64)udp->inet.sk.__sk_common.skc_net.net;
	if (is_wanted(wg))
		device = (__u64)wg;
	return 0;
}

/* Returns: the handshakes that wait or are being answered; less than 0 when the device was not
 * found, or is gone. */
SEC("syscall")
int waiting(void *ctx __attribute__((unused)))
{
	const struct wg_device *wg = (const void *)device;
	int length;

	if (!wg || !is_wanted(wg))
		return -1;
	length = BPF_CORE_READ(wg, handshake_queue_len.counter);
	/* A device that goes down sets it to zero, and subtracts what was being answered after that. */
	return length < 0 ? 0 : length;
}

char _license[] SEC("license") = "Dual BSD/GPL";
