/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* mac1 and mac2 of handshake messages, and cookies, in BPF.
 *
 * One compression of BLAKE2s is some 2 200 instructions. It is a global function, which the
 * verifier reads once instead of at every call, and works in a scratch area of the CPU.
 *
 * Source: [WG 5.4.4, 5.4.7], [RFC 7693]
 */
#ifndef WICKET_MACS_BPF_H
#define WICKET_MACS_BPF_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "blake2s.h"
#include "classify.h"
#include "steer_abi.h"

enum { MAC_BYTES = 16, MAC1_COVERS = 116, MAC2_COVERS = 132, RESPONSE_MAC1_COVERS = 60 };

struct initiation {
	__u32 covered_by_mac1[MAC1_COVERS / 4];
	__u32 mac1[MAC_BYTES / 4];
	__u32 mac2[MAC_BYTES / 4];
} __attribute__((packed));

struct response {
	__u32 covered_by_mac1[RESPONSE_MAC1_COVERS / 4];
	__u32 mac1[MAC_BYTES / 4];
	__u32 mac2[MAC_BYTES / 4];
} __attribute__((packed));

struct steer_hash {
	__u32 h[8];
	__u32 m[16];
	__u32 v[16]; /* of a compression */
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct steer_hash);
} steer_scratch SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, struct steer_secret);
} steer_secrets SEC(".maps");

/* BLAKE2S_G for a machine of ten registers without a rotation. A word times 2^32 + 1 is the word
 * twice, side by side, so that one shift rotates it. Registers: 1 the hash; 2 to 4 the words a, c
 * and d, which are in memory between two Gs; 5 the factor; 6 to 9 the words 4 to 7, which are
 * always b, and which the next G waits for. It takes a third fewer instructions than BLAKE2S_G as
 * clang compiles it. */
#define G_BPF(a, b, c, d, x, y)                                         \
	"w2 = *(u32 *)" V(a) "\n"                                       \
	"w3 = *(u32 *)" V(c) "\n"                                       \
	"w4 = *(u32 *)" V(d) "\n"                                       \
	ADD_AND_ROTATE(b, x, "16", "12")                                \
	ADD_AND_ROTATE(b, y, "8", "7")                                  \
	"*(u32 *)" V(a) " = w2\n"                                       \
	"*(u32 *)" V(c) " = w3\n"                                       \
	"*(u32 *)" V(d) " = w4\n"
#define ADD_AND_ROTATE(b, i, first, second)                             \
	"w0 = *(u32 *)" M(i) "\nw2 += w0\nw2 += w" B(b) "\n"            \
	"w4 ^= w2\nr4 *= r5\nr4 >>= " first "\n"                        \
	"w3 += w4\n"                                                    \
	"w" B(b) " ^= w3\nr" B(b) " *= r5\nr" B(b) " >>= " second "\n"
#define V(i) "(r1 + 96 + 4 * 0x" #i ")"
#define M(i) "(r1 + 32 + 4 * " #i ")"
#define B(i) B_##i
#define B_4 "6"
#define B_5 "7"
#define B_6 "8"
#define B_7 "9"
_Static_assert(__builtin_offsetof(struct steer_hash, m) == 32, "");
_Static_assert(__builtin_offsetof(struct steer_hash, v) == 96, "");

/* Absorbs hash->m; see blake2s_compress. */
__attribute__((noinline)) int steer_compress(struct steer_hash *hash, __u32 total_bytes,
                                            int is_last)
{
	register struct steer_hash *in_r1 asm("r1") = hash;
	int i;

	if (!hash)
		return 0;
	__builtin_memcpy(hash->v, hash->h, sizeof(hash->h));
	hash->v[8] = BLAKE2S_IV0;
	hash->v[9] = BLAKE2S_IV1;
	hash->v[10] = BLAKE2S_IV2;
	hash->v[11] = BLAKE2S_IV3;
	hash->v[12] = BLAKE2S_IV4 ^ total_bytes;
	hash->v[13] = BLAKE2S_IV5;
	hash->v[14] = is_last ? ~BLAKE2S_IV6 : BLAKE2S_IV6;
	hash->v[15] = BLAKE2S_IV7;
	asm volatile("r5 = 0x100000001 ll\n"
		     "w6 = *(u32 *)" V(4) "\nw7 = *(u32 *)" V(5) "\n"
		     "w8 = *(u32 *)" V(6) "\nw9 = *(u32 *)" V(7) "\n"
		     BLAKE2S_ROUNDS(G_BPF)
		     "*(u32 *)" V(4) " = w6\n*(u32 *)" V(5) " = w7\n"
		     "*(u32 *)" V(6) " = w8\n*(u32 *)" V(7) " = w9\n"
		     :
		     : "r"(in_r1)
		     : "r0", "r2", "r3", "r4", "r5", "r6", "r7", "r8", "r9", "memory");
#pragma unroll
	for (i = 0; i < 8; i++)
		hash->h[i] ^= hash->v[i] ^ hash->v[i + 8];
	return 0;
}

/* Words `from` to 16 of the block are `words` words of the message at `at`, then zeros. */
#define LOAD_BLOCK(hash, at, words)                                             \
	do {                                                                    \
		__builtin_memcpy((hash)->m, (at), 4 * (words));                 \
		__builtin_memset((hash)->m + (words), 0, 64 - 4 * (words));     \
	} while (0)

static __always_inline int mac_differs(const struct steer_hash *hash, const __u32 *mac)
{
	/* Without a branch, so that the time does not tell where they differ. */
	return (hash->h[0] ^ mac[0]) | (hash->h[1] ^ mac[1]) | (hash->h[2] ^ mac[2]) |
	       (hash->h[3] ^ mac[3]);
}

static __always_inline int mac1_verifies(struct steer_hash *hash, const struct steer_device *device,
					 const struct initiation *message)
{
	const __u32 *words = (const __u32 *)message;

	__builtin_memcpy(hash->h, device->mac1_state, sizeof(hash->h));
	LOAD_BLOCK(hash, words, 16);
	steer_compress(hash, 64 + 64, 0);
	LOAD_BLOCK(hash, words + 16, MAC1_COVERS / 4 - 16);
	steer_compress(hash, 64 + MAC1_COVERS, 1);
	return !mac_differs(hash, (const __u32 *)message->mac1);
}

static __always_inline int response_mac1_verifies(struct steer_hash *hash,
						  const struct steer_device *device,
						  const struct response *message)
{
	__builtin_memcpy(hash->h, device->mac1_state, sizeof(hash->h));
	LOAD_BLOCK(hash, (const __u32 *)message, RESPONSE_MAC1_COVERS / 4);
	steer_compress(hash, 64 + RESPONSE_MAC1_COVERS, 1);
	return !mac_differs(hash, (const __u32 *)message->mac1);
}

static __always_inline int has_mac2(const struct initiation *message)
{
	return message->mac2[0] | message->mac2[1] | message->mac2[2] | message->mac2[3];
}

/* The newer secret, or the older one. A secret that does not exist yet is the older one. */
static __always_inline const struct steer_secret *secret_by_age(int older)
{
	__u32 first = 0, second = 1;
	const struct steer_secret *a = bpf_map_lookup_elem(&steer_secrets, &first);
	const struct steer_secret *b = bpf_map_lookup_elem(&steer_secrets, &second);

	if (!a || !b)
		return 0;
	return (a->born_ns >= b->born_ns) != older ? a : b;
}

/* The cookie of the packet's source: the first words of hash->h. */
static __always_inline void make_cookie(struct steer_hash *hash, const struct steer_secret *secret,
					const struct classify_packet *packet)
{
	__builtin_memcpy(hash->h, secret->state, sizeof(hash->h));
	LOAD_BLOCK(hash, packet->source_be, 4);
	hash->m[4] = packet->source_port;
	steer_compress(hash, 64 + 16 + 2, 1);
}

static __always_inline int mac2_verifies(struct steer_hash *hash, const struct steer_secret *secret,
					 const struct classify_packet *packet,
					 const struct initiation *message)
{
	const __u32 *words = (const __u32 *)message;

	if (secret->born_ns == 0)
		return 0;
	/* The cookie of the packet's source is the key, which makes the first block. */
	make_cookie(hash, secret, packet);
	__builtin_memcpy(hash->m, hash->h, MAC_BYTES);
	__builtin_memset(hash->m + 4, 0, 64 - MAC_BYTES);
	blake2s_begin(hash->h, MAC_BYTES, MAC_BYTES);
	steer_compress(hash, 64, 0);
	LOAD_BLOCK(hash, words, 16);
	steer_compress(hash, 64 + 64, 0);
	LOAD_BLOCK(hash, words + 16, 16);
	steer_compress(hash, 64 + 128, 0);
	LOAD_BLOCK(hash, words + 32, MAC2_COVERS / 4 - 32);
	steer_compress(hash, 64 + MAC2_COVERS, 1);
	return !mac_differs(hash, (const __u32 *)message->mac2);
}

#endif
