/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* XChaCha20-Poly1305 for BPF and for the host, of 16 bytes of text with 16 bytes of
 * associated data: a cookie, sealed for the sender of that mac1.
 *
 *   key, nonce 0..15  -> HChaCha20 -> subkey   once for many nonces: by user space
 *   subkey, nonce 16..23, block 0 -> the key of Poly1305
 *   subkey, nonce 16..23, block 1 -> text ^ its first 16 bytes
 *   Poly1305 of three blocks: associated data, sealed text, both lengths
 *
 * The caller puts these together: all of them in one function would not fit on a BPF stack.
 *
 * Pure, no branch and no index depends on data. Words are host byte order and both worlds
 * are little-endian, so bytes are words as they lie in memory. Limbs of 26 bits, since BPF
 * multiplies to 64 bits.
 *
 * Source: [RFC 8439 2.1-2.5, 2.8], [draft-irtf-cfrg-xchacha-03 2.2, 2.3]
 */
#ifndef WICKET_XCHACHA20POLY1305_H
#define WICKET_XCHACHA20POLY1305_H

#include <linux/types.h>

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "xchacha20poly1305.h reads words as they lie in memory: little-endian only"
#endif

#if defined(__cplusplus)
#define XCHACHA_INLINE static inline __attribute__((always_inline))
#else
#define XCHACHA_INLINE static __attribute__((always_inline)) inline
#endif

#define CHACHA20_ROL(x, n) (((x) << (n)) | ((x) >> (32 - (n))))

/* [RFC 8439 2.1] */
#define CHACHA20_QUARTER(a, b, c, d)             \
	do {                                     \
		a += b;                          \
		d = CHACHA20_ROL(d ^ a, 16);     \
		c += d;                          \
		b = CHACHA20_ROL(b ^ c, 12);     \
		a += b;                          \
		d = CHACHA20_ROL(d ^ a, 8);      \
		c += d;                          \
		b = CHACHA20_ROL(b ^ c, 7);      \
	} while (0)

#define CHACHA20_0 0x61707865u /* "expand 32-byte k" */
#define CHACHA20_1 0x3320646eu
#define CHACHA20_2 0x79622d32u
#define CHACHA20_3 0x6b206574u

/* The state of constants, `key` and four words more, after its 20 rounds, not added to
 * what it was before. */
XCHACHA_INLINE void chacha20_rounds(__u32 x[16], const __u32 key[8], __u32 c, __u32 d, __u32 e,
				    __u32 f)
{
	__u32 x0 = CHACHA20_0, x1 = CHACHA20_1, x2 = CHACHA20_2, x3 = CHACHA20_3;
	__u32 x4 = key[0], x5 = key[1], x6 = key[2], x7 = key[3];
	__u32 x8 = key[4], x9 = key[5], xa = key[6], xb = key[7];
	__u32 xc = c, xd = d, xe = e, xf = f;
	int i;

#if defined(__clang__)
#pragma clang loop unroll(disable)
#endif
	for (i = 0; i < 10; i++) {
		CHACHA20_QUARTER(x0, x4, x8, xc);
		CHACHA20_QUARTER(x1, x5, x9, xd);
		CHACHA20_QUARTER(x2, x6, xa, xe);
		CHACHA20_QUARTER(x3, x7, xb, xf);
		CHACHA20_QUARTER(x0, x5, xa, xf);
		CHACHA20_QUARTER(x1, x6, xb, xc);
		CHACHA20_QUARTER(x2, x7, x8, xd);
		CHACHA20_QUARTER(x3, x4, x9, xe);
	}
	x[0] = x0;
	x[1] = x1;
	x[2] = x2;
	x[3] = x3;
	x[4] = x4;
	x[5] = x5;
	x[6] = x6;
	x[7] = x7;
	x[8] = x8;
	x[9] = x9;
	x[10] = xa;
	x[11] = xb;
	x[12] = xc;
	x[13] = xd;
	x[14] = xe;
	x[15] = xf;
}

/* The subkey of `key` for all nonces that begin with `nonce`. [draft 2.2] */
XCHACHA_INLINE void hchacha20(__u32 subkey[8], const __u32 key[8], const __u32 nonce[4])
{
	__u32 x[16];
	int i;

	chacha20_rounds(x, key, nonce[0], nonce[1], nonce[2], nonce[3]);
	for (i = 0; i < 4; i++) {
		subkey[i] = x[i];
		subkey[4 + i] = x[12 + i];
	}
}

/* The first 32 bytes of the key stream's block `counter`. [RFC 8439 2.3, draft 2.3] */
XCHACHA_INLINE void chacha20_half_block(__u32 stream[8], const __u32 subkey[8],
					const __u32 nonce[2], __u32 counter)
{
	__u32 x[16];

	chacha20_rounds(x, subkey, counter, 0, nonce[0], nonce[1]);
	stream[0] = x[0] + CHACHA20_0;
	stream[1] = x[1] + CHACHA20_1;
	stream[2] = x[2] + CHACHA20_2;
	stream[3] = x[3] + CHACHA20_3;
	stream[4] = x[4] + subkey[0];
	stream[5] = x[5] + subkey[1];
	stream[6] = x[6] + subkey[2];
	stream[7] = x[7] + subkey[3];
}

#define POLY1305_LIMB 0x3ffffffu

/* The limbs of r, of the key's first half. [RFC 8439 2.5] */
XCHACHA_INLINE void poly1305_clamp(__u32 r[5], const __u32 key[4])
{
	r[0] = key[0] & 0x3ffffff;
	r[1] = (key[0] >> 26 | key[1] << 6) & 0x3ffff03;
	r[2] = (key[1] >> 20 | key[2] << 12) & 0x3ffc0ff;
	r[3] = (key[2] >> 14 | key[3] << 18) & 0x3f03fff;
	r[4] = key[3] >> 8 & 0x00fffff;
}

/* One whole block: h = (h + m + 2^128) r, limbs carried once but for the first two.
 * [RFC 8439 2.5.1] */
XCHACHA_INLINE void poly1305_block(__u32 h[5], const __u32 r[5], __u32 m0, __u32 m1, __u32 m2,
				   __u32 m3)
{
	const __u64 h0 = h[0] + (m0 & POLY1305_LIMB);
	const __u64 h1 = h[1] + ((m0 >> 26 | m1 << 6) & POLY1305_LIMB);
	const __u64 h2 = h[2] + ((m1 >> 20 | m2 << 12) & POLY1305_LIMB);
	const __u64 h3 = h[3] + ((m2 >> 14 | m3 << 18) & POLY1305_LIMB);
	const __u64 h4 = h[4] + (m3 >> 8 | 1u << 24);
	const __u64 r0 = r[0], r1 = r[1], r2 = r[2], r3 = r[3], r4 = r[4];
	const __u64 s1 = r1 * 5, s2 = r2 * 5, s3 = r3 * 5, s4 = r4 * 5; /* 2^130 is 5 */
	__u64 d;

	d = h0 * r0 + h1 * s4 + h2 * s3 + h3 * s2 + h4 * s1;
	h[0] = (__u32)d & POLY1305_LIMB;
	d = (d >> 26) + h0 * r1 + h1 * r0 + h2 * s4 + h3 * s3 + h4 * s2;
	h[1] = (__u32)d & POLY1305_LIMB;
	d = (d >> 26) + h0 * r2 + h1 * r1 + h2 * r0 + h3 * s4 + h4 * s3;
	h[2] = (__u32)d & POLY1305_LIMB;
	d = (d >> 26) + h0 * r3 + h1 * r2 + h2 * r1 + h3 * r0 + h4 * s4;
	h[3] = (__u32)d & POLY1305_LIMB;
	d = (d >> 26) + h0 * r4 + h1 * r3 + h2 * r2 + h3 * r1 + h4 * r0;
	h[4] = (__u32)d & POLY1305_LIMB;
	d = (d >> 26) * 5 + h[0];
	h[0] = (__u32)d & POLY1305_LIMB;
	h[1] += (__u32)(d >> 26);
}

/* The tag of h: h mod 2^130 - 5, plus the key's second half, mod 2^128. */
XCHACHA_INLINE void poly1305_finish(__u32 tag[4], const __u32 h[5], const __u32 pad[4])
{
	__u32 h0 = h[0], h1 = h[1], h2 = h[2], h3 = h[3], h4 = h[4];
	__u32 g0, g1, g2, g3, g4, keep;
	__u64 sum;

	h2 += h1 >> 26;
	h1 &= POLY1305_LIMB;
	h3 += h2 >> 26;
	h2 &= POLY1305_LIMB;
	h4 += h3 >> 26;
	h3 &= POLY1305_LIMB;
	h0 += (h4 >> 26) * 5;
	h4 &= POLY1305_LIMB;
	h1 += h0 >> 26;
	h0 &= POLY1305_LIMB;

	/* g = h - (2^130 - 5), which is taken unless it is negative */
	g0 = h0 + 5;
	g1 = h1 + (g0 >> 26);
	g2 = h2 + (g1 >> 26);
	g3 = h3 + (g2 >> 26);
	g4 = h4 + (g3 >> 26) - (1u << 26);
	keep = 0u - (g4 >> 31);
	h0 = (h0 & keep) | (g0 & POLY1305_LIMB & ~keep);
	h1 = (h1 & keep) | (g1 & POLY1305_LIMB & ~keep);
	h2 = (h2 & keep) | (g2 & POLY1305_LIMB & ~keep);
	h3 = (h3 & keep) | (g3 & POLY1305_LIMB & ~keep);
	h4 = (h4 & keep) | (g4 & ~keep);

	sum = (__u64)(h0 | h1 << 26) + pad[0];
	tag[0] = (__u32)sum;
	sum = (sum >> 32) + (h1 >> 6 | h2 << 20) + pad[1];
	tag[1] = (__u32)sum;
	sum = (sum >> 32) + (h2 >> 12 | h3 << 14) + pad[2];
	tag[2] = (__u32)sum;
	sum = (sum >> 32) + (h3 >> 18 | h4 << 8) + pad[3];
	tag[3] = (__u32)sum;
}

/* The tag of two blocks and their lengths, 16 bytes each. [RFC 8439 2.5, 2.8] */
XCHACHA_INLINE void poly1305_tag(__u32 tag[4], const __u32 key[8], const __u32 associated[4],
				 const __u32 sealed[4])
{
	__u32 h[5] = { 0, 0, 0, 0, 0 }, r[5];

	poly1305_clamp(r, key);
	poly1305_block(h, r, associated[0], associated[1], associated[2], associated[3]);
	poly1305_block(h, r, sealed[0], sealed[1], sealed[2], sealed[3]);
	poly1305_block(h, r, 16, 0, 16, 0);
	poly1305_finish(tag, h, key + 4);
}

#endif
