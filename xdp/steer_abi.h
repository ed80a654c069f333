/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The contract between the XDP program and user space.
 *
 * Included by BPF C and by C++; nothing of it is written twice. All numbers are
 * in host byte order unless a name ends in _be.
 *
 *   map             key                value              written by     when full
 *   steer_served    steer_service      steer_device       gateway        logged; port not served
 *   steer_nics      u32 ifindex        steer_nic          gateway        start refuses
 *   steer_sockets   u32 slot           AF_XDP socket      shard          fixed size
 *   steer_beats     u32 slot           u64 ktime ns       shard (mmap)   fixed size
 *   steer_flows     steer_flow         steer_flow_state   both           oldest leaves: the flow is
 *                                                                        proven once more
 *   steer_counters  u32 STEER_COUNT_*  u64, per CPU       XDP            fixed size
 *
 * A slot is one RX queue of one NIC: steer_nic.first_slot + queue.
 */
#ifndef WICKET_STEER_ABI_H
#define WICKET_STEER_ABI_H

#include <linux/types.h>

#define STEER_ABI_VERSION 1 /* names the pin folder: another layout, another folder */

enum {
	STEER_SLOTS_MAX = 256,     /* RX queues over all NICs */
	STEER_NICS_MAX = 64,
	STEER_SERVICES_MAX = 256,  /* ports served */
	STEER_FLOWS_MAX = 1 << 17, /* 131 072 flows, 6 MiB at most */
	STEER_FRAME_MAX = 512,     /* longest frame that is steered: headers and 148 bytes */
};

/* A shard whose heartbeat is older than this is taken for hung. */
#define STEER_STALE_NS (500ULL * 1000 * 1000)

/* A known flow that initiates again within this time was not answered: the
 * client's own retry comes after 5 to 5.33 s, its next rekey after 120 s. */
#define STEER_RETRY_NS (15ULL * 1000 * 1000 * 1000)

/* Every way a packet can leave the program, in one place: enum, names and
 * counters all come from this list. X(NAME, text, what it means) */
#define STEER_COUNTS(X)                                                                  \
	X(PASS_OTHER, "pass_other", "not an initiation to a served port")                    \
	X(PASS_FOREIGN, "pass_foreign", "an initiation for another host, or a guest of this one") \
	X(PASS_FLOW, "pass_flow", "an initiation of a known flow: the kernel answers it")    \
	X(PASS_STALE, "pass_stale", "no shard has beaten its heartbeat for 500 ms")          \
	X(PASS_UNBOUND, "pass_unbound", "no socket is bound to this queue")                  \
	X(DROP_LENGTH, "drop_length", "type 1 with a length other than 148")                 \
	X(STEER_NEW, "steer_new", "handed to a shard")                                       \
	X(STEER_RETRY, "steer_retry", "a known flow that retries: handed to a shard")

enum steer_count {
#define STEER_COUNT_ENUM(name, text, help) STEER_COUNT_##name,
	STEER_COUNTS(STEER_COUNT_ENUM)
#undef STEER_COUNT_ENUM
	STEER_COUNT_MAX
};

/* A port on which a WireGuard device of ours listens. */
struct steer_service {
	__u16 port;
};

struct steer_device {
	__u32 device; /* its index in the configuration, for who looks with bpftool */
};

struct steer_nic {
	__u32 first_slot;
	__u32 queues;
	__u8 mac[6]; /* frames for another one are another host's, or a guest's */
	__u8 padding[2];
};

/* One client as the network shows it: source address, source port, and the
 * port of ours that it speaks to. IPv4 addresses are mapped (::ffff:a.b.c.d). */
struct steer_flow {
	__u8 address_be[16];
	__u16 source_port;
	__u16 port;
};

struct steer_flow_state {
	__u64 last_initiation_ns; /* ktime; 0: none seen since the flow was noted */
};

#if defined(__cplusplus)
#define STEER_ASSERT static_assert
#else
#define STEER_ASSERT _Static_assert
#endif
STEER_ASSERT(sizeof(struct steer_service) == 2, "steer_service has no padding");
STEER_ASSERT(sizeof(struct steer_device) == 4, "steer_device has no padding");
STEER_ASSERT(sizeof(struct steer_nic) == 16, "steer_nic has no padding");
STEER_ASSERT(sizeof(struct steer_flow) == 20, "steer_flow has no padding");
STEER_ASSERT(sizeof(struct steer_flow_state) == 8, "steer_flow_state has no padding");

#endif
