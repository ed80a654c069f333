/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Finds a WireGuard handshake message in an Ethernet frame.
 *
 * Pure: reads bytes between `data` and `data_end`, touches nothing else, and is
 * compiled for BPF and for the host. Whatever it does not understand completely
 * is CLASSIFY_OTHER, and the kernel decides about it:
 *
 *   Ethernet | 0-2 VLAN tags | IPv4, options, no fragment   | UDP | 01 00 00 00 ... (148)
 *                            | IPv6, hop-by-hop, routing,   |     | 02 00 00 00 ... (92)
 *                            |   destination options, any   |     | 03 00 00 00 ... (64)
 *                            |   order, at most 4
 *
 * Trailing Ethernet padding is allowed. Lengths must agree: the UDP length fits
 * into the IP length, and the IP length into the frame. Checksums are not read;
 * the kernel verifies them when the packet is given back to it.
 */
#ifndef WICKET_CLASSIFY_H
#define WICKET_CLASSIFY_H

#include <linux/types.h>

#if defined(__cplusplus)
#include <cstring>
#define CLASSIFY_INLINE static inline
#define classify_memcpy(to, from, n) std::memcpy(to, from, n)
#else
#define CLASSIFY_INLINE static __attribute__((always_inline)) inline
#define classify_memcpy(to, from, n) __builtin_memcpy(to, from, n)
#endif

enum {
	CLASSIFY_INITIATION_BYTES = 148,
	CLASSIFY_RESPONSE_BYTES = 92,
	CLASSIFY_COOKIE_REPLY_BYTES = 64,
	CLASSIFY_VLAN_TAGS_MAX = 2,
	CLASSIFY_EXTENSIONS_MAX = 4,
};

enum classify_result {
	CLASSIFY_OTHER = 0,        /* not of types 1 to 3 over UDP, or not understood */
	CLASSIFY_INITIATION = 1,   /* the message's type, with its length */
	CLASSIFY_RESPONSE = 2,
	CLASSIFY_COOKIE_REPLY = 3,
	CLASSIFY_BAD_LENGTH, /* type 1 to 3, another length: WireGuard drops it */
};

/* Offsets are in bytes from the start of the frame, ports in host byte order,
 * IPv4 addresses mapped into IPv6. Filled for all results but CLASSIFY_OTHER. */
struct classify_packet {
	__u8 source_be[16] __attribute__((aligned(8))); /* BPF reads its stack aligned only */
	__u8 destination_be[16];
	__u16 ip_offset;
	__u16 udp_offset;
	__u16 source_port;
	__u16 port;
	__u8 version; /* 4 or 6 */
};

CLASSIFY_INLINE __u16 classify_be16(const __u8 *p)
{
	return (__u16)((__u16)p[0] << 8 | p[1]);
}

CLASSIFY_INLINE void classify_map_ipv4(__u8 *to, const __u8 *from)
{
	__builtin_memset(to, 0, 10);
	to[10] = 0xff;
	to[11] = 0xff;
	classify_memcpy(to + 12, from, 4);
}

/* The length of a message of type 1 to 3. Without branches, since the verifier would follow each
 * through the rest of the program. */
CLASSIFY_INLINE __u32 classify_length(__u8 type)
{
	const __u32 lengths = (__u32)CLASSIFY_COOKIE_REPLY_BYTES << 24 |
			      CLASSIFY_RESPONSE_BYTES << 16 | CLASSIFY_INITIATION_BYTES << 8;

	return lengths >> 8 * type & 0xff;
}

/* Reads the UDP header at `udp`, which has `ip_left` bytes of IP payload. */
CLASSIFY_INLINE enum classify_result classify_udp(const __u8 *udp, __u32 ip_left,
						  const __u8 *data_end,
						  struct classify_packet *out)
{
	__u32 udp_bytes, bytes;

	if (udp + 12 > data_end) /* header and the type word */
		return CLASSIFY_OTHER;
	udp_bytes = classify_be16(udp + 4);
	if (udp_bytes < 12 || udp_bytes > ip_left)
		return CLASSIFY_OTHER;
	if (udp[8] == 0 || udp[8] > CLASSIFY_COOKIE_REPLY) /* nearly all packets: data */
		return CLASSIFY_OTHER;
	if (udp[9] != 0 || udp[10] != 0 || udp[11] != 0)
		return CLASSIFY_OTHER;
	bytes = classify_length(udp[8]);
	out->source_port = classify_be16(udp);
	out->port = classify_be16(udp + 2);
	if (udp_bytes != 8 + bytes)
		return CLASSIFY_BAD_LENGTH;
	if (bytes > (__u32)(data_end - udp - 8))
		return CLASSIFY_OTHER;
	return (enum classify_result)udp[8];
}

CLASSIFY_INLINE enum classify_result classify_ipv4(const __u8 *data, const __u8 *ip,
						   const __u8 *data_end,
						   struct classify_packet *out)
{
	enum classify_result result;
	__u32 header, total;

	if (ip + 20 > data_end)
		return CLASSIFY_OTHER;
	header = (__u32)(ip[0] & 0x0f) * 4;
	total = classify_be16(ip + 2);
	if (ip[0] >> 4 != 4 || header < 20 || total < header)
		return CLASSIFY_OTHER;
	if (ip[9] != 17) /* UDP */
		return CLASSIFY_OTHER;
	if ((classify_be16(ip + 6) & 0x3fff) != 0) /* more fragments, or an offset */
		return CLASSIFY_OTHER;
	if (total > (__u32)(data_end - ip))
		return CLASSIFY_OTHER;
	result = classify_udp(ip + header, total - header, data_end, out);
	if (result == CLASSIFY_OTHER) /* nearly all packets: skip the rest */
		return result;
	out->version = 4;
	out->udp_offset = (__u16)(ip - data + header);
	classify_map_ipv4(out->source_be, ip + 12);
	classify_map_ipv4(out->destination_be, ip + 16);
	return result;
}

CLASSIFY_INLINE enum classify_result classify_ipv6(const __u8 *data, const __u8 *ip,
						   const __u8 *data_end,
						   struct classify_packet *out)
{
	const __u8 *next = ip + 40;
	enum classify_result result;
	__u32 left;
	__u8 protocol;
	int i;

	if (next > data_end)
		return CLASSIFY_OTHER;
	if (ip[0] >> 4 != 6)
		return CLASSIFY_OTHER;
	left = classify_be16(ip + 4);
	if (left > (__u32)(data_end - next)) /* a jumbogram has 0 and fails below */
		return CLASSIFY_OTHER;
	protocol = ip[6];
#if defined(__clang__)
#pragma unroll
#endif
	for (i = 0; i < CLASSIFY_EXTENSIONS_MAX; i++) {
		__u32 bytes;

		/* hop-by-hop, routing, destination options; never a guess */
		if (protocol != 0 && protocol != 43 && protocol != 60)
			break;
		if (next + 8 > data_end)
			return CLASSIFY_OTHER;
		if (protocol == 43 && next[3] != 0) /* a router on its way, not its destination */
			return CLASSIFY_OTHER;
		bytes = ((__u32)next[1] + 1) * 8;
		if (bytes > left)
			return CLASSIFY_OTHER;
		protocol = next[0];
		next += bytes;
		left -= bytes;
	}
	if (protocol != 17)
		return CLASSIFY_OTHER;
	result = classify_udp(next, left, data_end, out);
	if (result == CLASSIFY_OTHER)
		return result;
	out->version = 6;
	out->udp_offset = (__u16)(next - data);
	classify_memcpy(out->source_be, ip + 8, 16);
	classify_memcpy(out->destination_be, ip + 24, 16);
	return result;
}

/* Says whether an answer could reach the packet's sender. It cannot at port 0, nor at 0.0.0.0/8,
 * ::, the broadcast address or a multicast group. */
CLASSIFY_INLINE int classify_can_be_answered(const struct classify_packet *packet)
{
	const __u64 *words = (const __u64 *)packet->source_be;
	__u8 first = packet->source_be[packet->version == 4 ? 12 : 0];

	if (packet->source_port == 0)
		return 0;
	if (packet->version == 4)
		return first != 0 && (first < 224 || first >= 240) &&
		       *(const __u32 *)(packet->source_be + 12) != 0xffffffff;
	return first != 0xff && (words[0] | words[1]) != 0;
}

/* Says what the frame from `data` to `data_end` is. */
CLASSIFY_INLINE enum classify_result classify(const void *frame, const void *frame_end,
					      struct classify_packet *out)
{
	const __u8 *data = (const __u8 *)frame;
	const __u8 *data_end = (const __u8 *)frame_end;
	const __u8 *ip = data + 14;
	__u16 ethertype;
	int i;

	if (ip > data_end)
		return CLASSIFY_OTHER;
	ethertype = classify_be16(data + 12);
#if defined(__clang__)
#pragma unroll
#endif
	for (i = 0; i < CLASSIFY_VLAN_TAGS_MAX; i++) {
		if (ethertype != 0x8100 && ethertype != 0x88a8) /* 802.1Q, 802.1ad */
			break;
		if (ip + 4 > data_end)
			return CLASSIFY_OTHER;
		ethertype = classify_be16(ip + 2);
		ip += 4;
	}
	out->ip_offset = (__u16)(ip - data);
	if (ethertype == 0x0800)
		return classify_ipv4(data, ip, data_end, out);
	if (ethertype == 0x86dd)
		return classify_ipv6(data, ip, data_end, out);
	return CLASSIFY_OTHER;
}

#endif
