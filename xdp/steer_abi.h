/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The contract between the XDP program and user space.
 *
 * Included by BPF C and by C++; nothing of it is written twice. All numbers are
 * in host byte order unless a name ends in _be.
 *
 *   map             key                value              written by     when full
 *   steer_served    steer_service      steer_device       gateway        logged; port not served
 *   steer_nics      u32 ifindex        steer_nic          gateway        start refuses
 *   steer_sockets   u32 slot           AF_XDP socket      gateway        fixed size
 *   steer_shards    u32 slot           steer_shard        shard (mmap),  fixed size
 *                                                         XDP
 *   steer_flows     steer_flow         steer_flow_state   installer, XDP oldest leaves: the flow is
 *                                                                        proven once more
 *   steer_repeats   u32 of the mac1    steer_repeats_set  XDP            oldest leaves: a repeat is
 *                                                                        proven once more
 *   steer_secrets   u32 0..1           steer_secret       gateway        fixed size
 *   steer_buckets   steer_source       u64 ns             XDP            oldest leaves: its source
 *                                                                        begins with a full bucket
 *   steer_sketch    u32 word           u64 bits           shard (mmap),  fixed size
 *                                                         XDP
 *   steer_locals    u32 of the address steer_local        XDP            fixed size, per CPU; a new
 *                                                                        address takes its place
 *   steer_scratch   u32 0              steer_hash         XDP            fixed size, per CPU
 *   steer_replies   u32 0              cookie_reply       XDP            fixed size, per CPU; has
 *                                                                        the count of nonces
 *   steer_counters  u32 STEER_COUNT_*  u64                XDP            fixed size, per CPU
 *   steer_owner     u32 0              steer_owner        gateway        fixed size
 *
 * A slot is one RX queue of one NIC: steer_nic.first_slot + queue. steer_hash is in macs.bpf.h,
 * cookie_reply in cookie.bpf.h: only the program reads them.
 */
#ifndef WICKET_STEER_ABI_H
#define WICKET_STEER_ABI_H

#include <linux/types.h>

#define STEER_ABI_VERSION 8 /* names the folder of the pins: each layout has its own */

enum {
	STEER_SLOTS_MAX = 256,     /* RX queues over all NICs */
	STEER_NICS_MAX = 64,
	STEER_SERVICES_MAX = 256,  /* ports served */
	STEER_FLOWS_MAX = 1 << 17, /* 131 072 flows, 9 MiB at most */
	STEER_FRAME_MAX = 512,     /* longest frame that is steered: headers and 148 bytes */
	STEER_REPEATS_SETS = 1 << 13,
	STEER_REPEATS_WAYS = 8,      /* initiations remembered in a set: 65 536 in all, 512 KiB */
	STEER_BUCKETS_MAX = 1 << 16, /* sources, 5 MiB */
	STEER_SKETCH_WORDS = 1024,   /* 65 536 bits */
	STEER_LOCALS = 16,           /* destinations of this host that a CPU has cached */
	STEER_PIN_DIR_MAX = 252,     /* bytes of the owner's pin_dir, the closing zero included */
};

/* A shard whose heartbeat is older than this is taken for hung, and its packets pass. */
#define STEER_STALE_NS (500ULL * 1000 * 1000)

/* How long a destination stays cached that the kernel keeps. To look it up for each packet was a
 * tenth of what a dropped packet costs. */
#define STEER_LOCAL_NS (100ULL * 1000 * 1000)

/* A known flow that initiates again within this time was not answered: the
 * client's own retry comes after 5 to 5.33 s, its next rekey after 120 s. */
#define STEER_RETRY_NS (15ULL * 1000 * 1000 * 1000)

/* A flow's history is reset at most once in this time. A peer with a session can make the gateway
 * note any flow, by sending from its address; the limit keeps it from erasing another client's
 * retry by doing so repeatedly. */
#define STEER_HISTORY_NS (120ULL * 1000 * 1000 * 1000)

/* Under load a source that returned a cookie has a token bucket of 5 initiations, filled at 20 a
 * second: what WireGuard's own rate limiter allows. */
#define STEER_SOURCE_INTERVAL_NS (1000ULL * 1000 * 1000 / 20)
#define STEER_SOURCE_BURST 5
#define STEER_SOURCE_WINDOW_NS ((STEER_SOURCE_BURST - 1) * STEER_SOURCE_INTERVAL_NS)

/* All /64s of a /56, which one customer may have, share the rate of this number of sources; those
 * of a /48, which a site may have or several customers of one provider, the rate of this one. */
#define STEER_CUSTOMER_SOURCES 5
#define STEER_SITE_SOURCES 50

/* Under load, the highest rate of one slot at which initiations without a cookie are answered with
 * one; the rest are dropped. The configuration limits all slots together, and
 * steer_shard.cookie_interval_ns is a slot's share of that. */
#define STEER_COOKIE_INTERVAL_MIN_NS (1000ULL * 1000 * 1000 / 100000)
#define STEER_COOKIE_BURST 1024
#define STEER_COOKIE_WINDOW_NS (100ULL * 1000 * 1000)

/* How far ahead of its rate a slot may be: STEER_COOKIE_BURST at once, or what is due within
 * STEER_COOKIE_WINDOW_NS if that is less. One may pass in any case. */
static inline __attribute__((always_inline)) __u64 steer_cookie_window_ns(__u64 interval_ns)
{
	__u64 burst_ns = (STEER_COOKIE_BURST - 1) * interval_ns;

	return burst_ns < STEER_COOKIE_WINDOW_NS ? burst_ns : STEER_COOKIE_WINDOW_NS;
}

/* Responses and cookie replies are rare, because the device asks for them with initiations of its
 * own, and cost it little. Each NIC passes 5 000 a second of each kind from any source. Above that
 * it passes another 5 000 a second from known flows only, and each is charged to its source's
 * bucket. The queues of a NIC share the rate evenly. */
#define STEER_ANSWER_INTERVAL_NS (1000ULL * 1000 * 1000 / 5000)
#define STEER_ANSWER_BURST 28
#define STEER_ANSWER_QUEUE_BURST 4

/* How far ahead of its rate a queue may be: it passes its share of STEER_ANSWER_BURST at once, and
 * STEER_ANSWER_QUEUE_BURST more, since the answers to a burst of initiations do not spread evenly.
 * So one queue passes 32 and each of 256 passes 4, 1 024 in all. WireGuard's queue holds 4 096, and
 * an answer that the device did not ask for leaves it within microseconds. */
static inline __attribute__((always_inline)) __u64 steer_answer_window_ns(__u32 queues)
{
	return (STEER_ANSWER_BURST + (STEER_ANSWER_QUEUE_BURST - 1) * (__u64)queues) *
	       STEER_ANSWER_INTERVAL_NS;
}

/* Under load, the highest rate of one slot at which retries of known flows pass with a mac2 that
 * may be the device's own. */
#define STEER_RETRY_INTERVAL_NS (1000ULL * 1000 * 1000 / 500)
#define STEER_RETRY_BURST 32

/* Every way a packet can leave the program, in one place: enum, actions, names and counters all
 * come from this list, and its order decides nothing. X(NAME, action, text, what it means). The
 * action is XDP_<action>; REDIRECT hands the packet to the shard of its queue. */
/* clang-format off */
#define STEER_COUNTS(X) \
	X(PASS_OTHER, PASS, "pass_other", "no handshake message to a served port") \
	X(PASS_FOREIGN, PASS, "pass_foreign", \
	  "a handshake message for another host, or a guest of this one") \
	X(PASS_FLOW, PASS, "pass_flow", "an initiation of a known flow: the kernel answers it") \
	X(PASS_STALE, PASS, "pass_stale", "no shard has beaten its heartbeat for 500 ms") \
	X(PASS_UNBOUND, PASS, "pass_unbound", "no socket is bound to this queue") \
	X(PASS_ANSWER, PASS, "pass_answer", "a response or a cookie reply: the kernel reads it") \
	X(PASS_FAULT, PASS, "pass_fault", "the program failed where it cannot fail: a bug") \
	X(DROP_MALFORMED, DROP, "drop_malformed", \
	  "a handshake message of a wrong length, behind long headers, or from a group's MAC") \
	X(DROP_MAC1, DROP, "drop_mac1", "made for another public key, or forged") \
	X(DROP_REPEAT, DROP, "drop_repeat", "the same packet again") \
	X(DROP_ANSWER, DROP, "drop_answer", \
	  "responses or cookie replies, more than anybody asked for") \
	X(DROP_NO_COOKIE, DROP, "drop_no_cookie", \
	  "under load: no cookie, and beyond the rate of cookie replies") \
	X(DROP_RATE, DROP, "drop_rate", \
	  "under load: a cookie of ours, but too many from that source") \
	X(TX_COOKIE, TX, "tx_cookie", \
	  "under load: answered with a cookie reply by the program") \
	X(STEER_COOKIE, REDIRECT, "steer_cookie", \
	  "under load: handed to a shard for a cookie reply") \
	X(STEER_NEW, REDIRECT, "steer_new", "handed to a shard") \
	X(STEER_RETRY, REDIRECT, "steer_retry", "a known flow that retries: handed to a shard")
/* clang-format on */

enum steer_count {
#define STEER_COUNT_ENUM(name, action, text, help) STEER_COUNT_##name,
	STEER_COUNTS(STEER_COUNT_ENUM)
#undef STEER_COUNT_ENUM
	STEER_COUNT_MAX
};

/* A port on which a WireGuard device of ours listens. */
struct steer_service {
	__u16 port;
};

struct steer_device {
	__u32 device; /* its index in the configuration, to be read with bpftool */
	__u32 mac1_state[8]; /* BLAKE2s-128 keyed for its mac1, the key's block absorbed */
	/* The nonces of its cookies begin with these random bytes and end with the count of
	 * cookie.bpf.h, make_reply(). So user space makes one HChaCha20 for all these nonces. */
	__u32 cookie_prefix[4];
	__u32 cookie_subkey[8]; /* HChaCha20 of HASH("cookie--" || public key) and the prefix */
};

/* A cache line that the shard writes, and one that the program writes, of one slot. */
struct steer_shard {
	__u64 beat_ns;        /* ktime of its heartbeat */
	__u64 load_until_ns;  /* ktime until which it is under load */
	__u64 cookie_interval_ns; /* from one cookie to the next; 0: no limit */
	__u64 padding[5];
	__u64 cookies_sent; /* replies by XDP_TX, ever */
	/* When the token bucket of each is full again, in ktime; see take_turn(). */
	__u64 cookie_turn_ns;
	__u64 response_turn_ns;
	__u64 cookie_reply_turn_ns;
	__u64 known_answer_turn_ns;
	__u64 retry_turn_ns;
	__u64 more_padding[2];
};

/* Initiations seen, by half of their mac1, the latest first. Another part of the mac1 chooses the
 * set. A sender can make a set forget by filling it with its own packets, and gains nothing: the
 * repeat of a forgotten packet costs a shard one proof, as a fresh packet would. The set is one
 * cache line because the look-up in an LRU hash map took as long as a block of BLAKE2s. */
struct steer_repeats_set {
	__u64 macs[STEER_REPEATS_WAYS]; /* 0: none */
};

/* A cookie secret: BLAKE2s-128 keyed with it, the key's block absorbed. Cookies are made with the
 * newer of the two; those of the other one are accepted too. A cookie is the MAC of the source's
 * address, mapped as in steer_flow, and of its port, low byte first. */
struct steer_secret {
	__u64 born_ns; /* ktime; 0: none */
	__u32 state[8];
};

/* The sources that share a token bucket: an IPv4 address, mapped, or an IPv6 /64, /56 or /48 with
 * zeros behind it. In bytes that are zero otherwise the program writes the prefix's length, and a
 * mark of the second bucket that each source has, for packets without a cookie of ours. */
struct steer_source {
	__u8 prefix_be[16];
};

/* A cached answer of the routing table: the kernel keeps packets to this destination that come in
 * by this interface. Everything that the question names is here. If the answer depended on anything
 * else in a packet, such as its source, one sender could choose it for everybody. */
struct steer_local {
	__u64 until_ns;          /* ktime */
	__u64 destination_be[2]; /* mapped as in steer_flow */
	__u32 ifindex;
	__u16 port;
	__u16 version;
};

struct steer_nic {
	__u32 first_slot;
	__u32 queues;
	__u8 mac[6];        /* a frame to another MAC is for another host, or a guest */
	__u8 cookies_by_tx; /* 1: the driver sends what XDP_TX hands it */
	__u8 padding;
};

/* One client as the network shows it: its address and port, and the port of
 * ours that it speaks to. IPv4 addresses are mapped (::ffff:a.b.c.d). */
struct steer_flow {
	__u8 address_be[16];
	__u16 source_port;
	__u16 port;
};

struct steer_flow_state {
	__u64 last_initiation_ns; /* ktime; 0: none seen since history_ns */
	__u64 history_ns;         /* ktime at which the flow's history began */
	__u32 forgotten;          /* 1: its peer has left */
	__u32 padding;
};

/* The gateway that these maps belong to. The program does not read it. It is bound to the program,
 * so that another gateway that finds the program on a NIC can name its owner. */
struct steer_owner {
	char pin_dir[STEER_PIN_DIR_MAX]; /* as its process sees it; a longer one is cut */
	__u32 process;                   /* in its own PID namespace */
};

#if defined(__cplusplus)
#define STEER_ASSERT static_assert
#else
#define STEER_ASSERT _Static_assert
#endif
STEER_ASSERT(sizeof(struct steer_service) == 2, "steer_service has no padding");
STEER_ASSERT(sizeof(struct steer_device) == 84, "steer_device has no padding");
STEER_ASSERT(sizeof(struct steer_shard) == 128, "steer_shard is two cache lines");
STEER_ASSERT(sizeof(struct steer_repeats_set) == 64, "steer_repeats_set is a cache line");
STEER_ASSERT(sizeof(struct steer_secret) == 40, "steer_secret has no padding");
STEER_ASSERT(sizeof(struct steer_source) == 16, "steer_source has no padding");
STEER_ASSERT(sizeof(struct steer_local) == 32, "steer_local has no padding");
STEER_ASSERT(sizeof(struct steer_nic) == 16, "steer_nic has no padding");
STEER_ASSERT(sizeof(struct steer_flow) == 20, "steer_flow has no padding");
STEER_ASSERT(sizeof(struct steer_flow_state) == 24, "steer_flow_state has no padding");
STEER_ASSERT(sizeof(struct steer_owner) == 256, "steer_owner has no padding");

#endif
