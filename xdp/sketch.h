/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Estimates from how many sources packets were refused: each source sets one of 65 536 bits, and
 * the number of bits that are clear says how many sources there were.
 *
 * Pure: compiled for BPF and for the host.
 *
 * Source: linear counting: Whang, Vander-Zanden, Taylor, "A linear-time probabilistic counting
 *         algorithm for database applications" (1990). The mix is the last step of MurmurHash3.
 */
#ifndef WICKET_SKETCH_H
#define WICKET_SKETCH_H

#include "steer_abi.h"

struct sketch_place {
	__u32 word; /* of steer_sketch */
	__u64 bit;
};

/* `address`: 16 bytes, IPv4 mapped, as they lie in memory. */
static __attribute__((always_inline)) inline struct sketch_place
sketch_place_of(const __u64 address[2])
{
	__u64 hash = address[0] ^ (address[1] * 0x9e3779b97f4a7c15ULL);
	struct sketch_place place;

	/* Without a mix a product spreads neighbouring addresses too evenly, as if there were more. */
	hash = (hash ^ hash >> 33) * 0xff51afd7ed558ccdULL;
	hash = (hash ^ hash >> 33) * 0xc4ceb9fe1a85ec53ULL;
	place.word = (__u32)(hash >> 54) % STEER_SKETCH_WORDS;
	place.bit = 1ULL << (hash >> 48 & 63);
	return place;
}

#endif
