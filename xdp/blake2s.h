/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* BLAKE2s for BPF and for the host: parameters, compression, final words.
 *
 * Pure and without pointers into anything but its arguments. Words are host
 * byte order and both worlds are little-endian, so a block is 16 words as they
 * lie in memory. Buffering, HMAC and HKDF are user space's (crypto/blake2s.h).
 *
 * Source: [RFC 7693]
 */
#ifndef WICKET_BLAKE2S_H
#define WICKET_BLAKE2S_H

#include <linux/types.h>

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "blake2s.h reads message words as they lie in memory: little-endian only"
#endif

#if defined(__cplusplus)
#define BLAKE2S_INLINE static inline __attribute__((always_inline))
#else
#define BLAKE2S_INLINE static __attribute__((always_inline)) inline
#endif

enum {
	BLAKE2S_BLOCK_BYTES = 64,
	BLAKE2S_HASH_BYTES = 32,
	BLAKE2S_KEY_BYTES_MAX = 32,
};

#define BLAKE2S_IV0 0x6A09E667u
#define BLAKE2S_IV1 0xBB67AE85u
#define BLAKE2S_IV2 0x3C6EF372u
#define BLAKE2S_IV3 0xA54FF53Au
#define BLAKE2S_IV4 0x510E527Fu
#define BLAKE2S_IV5 0x9B05688Cu
#define BLAKE2S_IV6 0x1F83D9ABu
#define BLAKE2S_IV7 0x5BE0CD19u

/* Sets the chaining value for a hash of `out_bytes` with a key of `key_bytes`.
 * [RFC 7693 2.5, 3.3] */
BLAKE2S_INLINE void blake2s_begin(__u32 h[8], __u32 out_bytes, __u32 key_bytes)
{
	h[0] = BLAKE2S_IV0 ^ 0x01010000u ^ (key_bytes << 8) ^ out_bytes;
	h[1] = BLAKE2S_IV1;
	h[2] = BLAKE2S_IV2;
	h[3] = BLAKE2S_IV3;
	h[4] = BLAKE2S_IV4;
	h[5] = BLAKE2S_IV5;
	h[6] = BLAKE2S_IV6;
	h[7] = BLAKE2S_IV7;
}

#define BLAKE2S_ROR(x, n) (((x) >> (n)) | ((x) << (32 - (n))))
/* On words of a state, which are named v0 to vf, and of a block m. */
#define BLAKE2S_G(a, b, c, d, x, y)                     \
	v##a += v##b + m[x];                            \
	v##d = BLAKE2S_ROR(v##d ^ v##a, 16);            \
	v##c += v##d;                                   \
	v##b = BLAKE2S_ROR(v##b ^ v##c, 12);            \
	v##a += v##b + m[y];                            \
	v##d = BLAKE2S_ROR(v##d ^ v##a, 8);             \
	v##c += v##d;                                   \
	v##b = BLAKE2S_ROR(v##b ^ v##c, 7);

/* One round of a G that is told which words, in hex; the numbers are a row of SIGMA.
 * [RFC 7693 2.7, 3.2] */
#define BLAKE2S_ROUND(G, s0, s1, s2, s3, s4, s5, s6, s7, s8, s9, sa, sb, sc, sd, se, sf)  \
	G(0, 4, 8, c, s0, s1)                                                             \
	G(1, 5, 9, d, s2, s3)                                                             \
	G(2, 6, a, e, s4, s5)                                                             \
	G(3, 7, b, f, s6, s7)                                                             \
	G(0, 5, a, f, s8, s9)                                                             \
	G(1, 6, b, c, sa, sb)                                                             \
	G(2, 7, 8, d, sc, sd)                                                             \
	G(3, 4, 9, e, se, sf)

#define BLAKE2S_ROUNDS(G)                                                       \
	BLAKE2S_ROUND(G, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)  \
	BLAKE2S_ROUND(G, 14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3)  \
	BLAKE2S_ROUND(G, 11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4)  \
	BLAKE2S_ROUND(G, 7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8)  \
	BLAKE2S_ROUND(G, 9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13)  \
	BLAKE2S_ROUND(G, 2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9)  \
	BLAKE2S_ROUND(G, 12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11)  \
	BLAKE2S_ROUND(G, 13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10)  \
	BLAKE2S_ROUND(G, 6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5)  \
	BLAKE2S_ROUND(G, 10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0)

/* Absorbs one block. `total_bytes` counts all input up to and including it,
 * key block included; `is_last` marks the final block. [RFC 7693 3.2] */
BLAKE2S_INLINE void blake2s_compress(__u32 h[8], const __u32 m[16], __u64 total_bytes, int is_last)
{
	__u32 v0 = h[0], v1 = h[1], v2 = h[2], v3 = h[3];
	__u32 v4 = h[4], v5 = h[5], v6 = h[6], v7 = h[7];
	__u32 v8 = BLAKE2S_IV0, v9 = BLAKE2S_IV1, va = BLAKE2S_IV2, vb = BLAKE2S_IV3;
	__u32 vc = BLAKE2S_IV4 ^ (__u32)total_bytes, vd = BLAKE2S_IV5 ^ (__u32)(total_bytes >> 32);
	__u32 ve = is_last ? ~BLAKE2S_IV6 : BLAKE2S_IV6, vf = BLAKE2S_IV7;

	BLAKE2S_ROUNDS(BLAKE2S_G)

	h[0] ^= v0 ^ v8;
	h[1] ^= v1 ^ v9;
	h[2] ^= v2 ^ va;
	h[3] ^= v3 ^ vb;
	h[4] ^= v4 ^ vc;
	h[5] ^= v5 ^ vd;
	h[6] ^= v6 ^ ve;
	h[7] ^= v7 ^ vf;
}

#endif
