/* SPDX-License-Identifier: GPL-2.0 */
/*
 * C functions for what bindgen cannot bind: macros, and inline functions that need constants or many
 * bit fields. Read by bindgen with bindings.h, and by helpers.c.
 */
#ifndef _LINUX_HELPERS_H
#define _LINUX_HELPERS_H

#include <linux/cache.h>
#include <linux/types.h>

struct sk_buff;

/* skbuff.rs */

/* NET_SKB_PAD without the statement expression in max(); helpers.c checks that it is the same. */
#define HELPER_NET_SKB_PAD (L1_CACHE_BYTES > 32 ? L1_CACHE_BYTES : 32)

void helper_kfree_skb(struct sk_buff *skb);
u32 helper_skb_dst_mtu(const struct sk_buff *skb);
void helper_skb_reset(struct sk_buff *skb, bool keep_hash);

#endif
