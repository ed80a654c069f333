/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Cookie replies made and sent by the program: no ring, no system call, no thread.
 *
 *   initiation | MACs, VLAN tags | IP   | UDP | 148 bytes
 *                swapped, kept     new    new   type 3, index, nonce, sealed cookie, tag
 *   reply      | MACs, VLAN tags | IP   | UDP | 64 bytes, then padding to the frame's old length
 *
 * Only for bare headers: IPv4 without options, IPv6 without extension headers. Other initiations
 * are answered by a shard, and so are all where the driver does no XDP_TX.
 *
 * The nonce must be unique under its key and need not be unpredictable. The helper for random
 * numbers has 113 bits of state, in one generator per CPU that all BPF programs share: by the
 * birthday bound, n replies collide with a probability of n^2/2^114. Counting is better and
 * cheaper. The last 8 bytes are the CPU and a count that the pinned map keeps, so no nonce
 * repeats while that map exists. The first 16 are drawn by user space at each change of the
 * devices. If the map were lost, a collision would take two equal prefixes: s^2/2^129 for s
 * changes, 2^-69 at one a second for 30 years. HChaCha20 of the prefix is made with it, which
 * saves one of three ChaCha20 permutations for each reply.
 *
 * Source: [WG 5.4.7], [RFC 768], [RFC 791], [RFC 1071], [RFC 8200 8.1]
 */
#ifndef WICKET_COOKIE_BPF_H
#define WICKET_COOKIE_BPF_H

#include "macs.bpf.h"
#include "xchacha20poly1305.h"

enum {
	COOKIE_UDP_BYTES = 8 + 64,
	COOKIE_HOP_LIMIT = 64,
	COOKIE_CPU_SHIFT = 48, /* a CPU makes 2^48 replies: 8 years of a million a second */
};

/* The reply's UDP header and message as they are sent, and what is needed to make them. */
struct cookie_reply {
	__u32 udp_be[2]; /* ports; length and checksum */
	__u32 type, receiver_index;
	__u32 nonce[6];
	__u32 cookie[4];
	__u32 tag[4];
	/* not sent: */
	__u32 subkey[8], tag_key[8], stream[8];
	__u32 mac1[MAC_BYTES / 4];
	__u64 made; /* replies by this CPU, ever */
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct cookie_reply);
} steer_replies SEC(".maps");

/* Global functions for the reasons that steer_compress is one. */
__attribute__((noinline)) int steer_chacha20(struct cookie_reply *reply, int counter)
{
	if (!reply)
		return 0;
	chacha20_half_block(counter ? reply->stream : reply->tag_key, reply->subkey,
			    reply->nonce + 4, !!counter);
	return 0;
}

__attribute__((noinline)) int steer_poly1305(struct cookie_reply *reply)
{
	if (!reply)
		return 0;
	poly1305_tag(reply->tag, reply->tag_key, reply->mac1, reply->cookie);
	return 0;
}

static __always_inline void seal_cookie(struct cookie_reply *reply)
{
	int i;

	steer_chacha20(reply, 0);
	steer_chacha20(reply, 1);
#pragma unroll
	for (i = 0; i < 4; i++)
		reply->cookie[i] ^= reply->stream[i];
	steer_poly1305(reply);
}

static __always_inline int has_bare_headers(const struct classify_packet *packet)
{
	return packet->udp_offset - packet->ip_offset == (packet->version == 4 ? 20 : 40);
}

/* The ones' complement sum of native 16-bit words, which needs no swapping. [RFC 1071 2] */
static __always_inline __u64 sum_words(const __u32 *words, int count)
{
	__u64 sum = 0;
	int i;

#pragma unroll
	for (i = 0; i < count; i++)
		sum += words[i];
	return sum;
}

static __always_inline __u16 fold(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16 & 0xffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (__u16)~sum;
}

static __always_inline void make_reply(struct cookie_reply *reply, struct steer_hash *hash,
				       const struct steer_secret *secret,
				       const struct steer_device *device,
				       const struct classify_packet *packet)
{
	__u64 nonce = (__u64)bpf_get_smp_processor_id() << COOKIE_CPU_SHIFT;
	__u32 checksum;
	__u64 sum;

	/* Atomic: another run of the program on this CPU may come between. */
	nonce |= __sync_fetch_and_add(&reply->made, 1) & ((1ULL << COOKIE_CPU_SHIFT) - 1);
	make_cookie(hash, secret, packet);
	__builtin_memcpy(reply->cookie, hash->h, sizeof(reply->cookie));
	__builtin_memcpy(reply->subkey, device->cookie_subkey, sizeof(reply->subkey));
	__builtin_memcpy(reply->nonce, device->cookie_prefix, 16);
	reply->nonce[4] = (__u32)nonce;
	reply->nonce[5] = (__u32)(nonce >> 32);
	seal_cookie(reply);

	reply->type = 3;
	reply->udp_be[0] = bpf_htons(packet->port) | (__u32)bpf_htons(packet->source_port) << 16;
	reply->udp_be[1] = bpf_htons(COOKIE_UDP_BYTES);
	/* A mapped address adds 0xffff, which is zero in ones' complement. */
	sum = sum_words((const __u32 *)packet->source_be, 4) +
	      sum_words((const __u32 *)packet->destination_be, 4) +
	      sum_words(reply->udp_be, COOKIE_UDP_BYTES / 4) + bpf_htons(17) +
	      bpf_htons(COOKIE_UDP_BYTES);
	checksum = fold(sum);
	reply->udp_be[1] |= (checksum == 0 ? 0xffff : checksum) << 16;
}

static __attribute__((noinline)) void write_ipv4(__u32 *ip, const struct classify_packet *packet)
{
	__u32 header[5];

	header[0] = bpf_htonl(0x45 << 24 | (20 + COOKIE_UDP_BYTES));
	header[1] = bpf_htonl(0x4000); /* do not fragment */
	header[2] = bpf_htonl(COOKIE_HOP_LIMIT << 24 | 17 << 16);
	__builtin_memcpy(header + 3, packet->destination_be + 12, 4);
	__builtin_memcpy(header + 4, packet->source_be + 12, 4);
	header[2] |= (__u32)fold(sum_words(header, 5)) << 16;
	__builtin_memcpy(ip, header, sizeof(header));
}

static __always_inline void write_ipv6(__u32 *ip, const struct classify_packet *packet)
{
	ip[0] = bpf_htonl(0x60 << 24);
	ip[1] = bpf_htonl(COOKIE_UDP_BYTES << 16 | 17 << 8 | COOKIE_HOP_LIMIT);
	__builtin_memcpy(ip + 2, packet->destination_be, 16);
	__builtin_memcpy(ip + 6, packet->source_be, 16);
}

/* Makes the initiation's frame the frame of a cookie reply to it.
 *
 * Requires: has_bare_headers(packet).
 * Returns:  0 when it cannot, and the frame is as it was. */
static __always_inline int answer_with_cookie(struct xdp_md *ctx, struct steer_hash *hash,
							const struct steer_device *device,
							const struct classify_packet *packet)
{
	__u8 *data = (__u8 *)(long)ctx->data;
	const __u8 *data_end = (const __u8 *)(long)ctx->data_end;
	__u8 *ip = data + (packet->ip_offset & 31);
	__u8 *udp = data + (packet->udp_offset & (STEER_FRAME_MAX - 1));
	const struct initiation *message = (const struct initiation *)(udp + 8);
	const struct steer_secret *secret = secret_by_age(0);
	__u16 *macs = (__u16 *)data;
	struct cookie_reply *reply;
	__u32 zero = 0;
	int i;

	reply = bpf_map_lookup_elem(&steer_replies, &zero);
	if (!reply || !secret || secret->born_ns == 0)
		return 0;
	if ((const __u8 *)(message + 1) > data_end || ip + 40 > data_end || data + 12 > data_end)
		return 0;
	reply->receiver_index = message->covered_by_mac1[1];
	__builtin_memcpy(reply->mac1, message->mac1, sizeof(reply->mac1));
	make_reply(reply, hash, secret, device, packet);

#pragma unroll
	for (i = 0; i < 3; i++) {
		__u16 ours = macs[i];

		macs[i] = macs[3 + i];
		macs[3 + i] = ours;
	}
	if (packet->version == 4)
		write_ipv4((__u32 *)ip, packet);
	else
		write_ipv6((__u32 *)ip, packet);
	__builtin_memcpy(udp, reply, COOKIE_UDP_BYTES);
	/* The frame keeps its length, and padding follows the datagram: libxdp's dispatcher may not
	 * shorten frames, and takes no program that may. */
	return 1;
}

#endif
