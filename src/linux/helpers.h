/* SPDX-License-Identifier: GPL-2.0 */
/*
 * C functions for what bindgen cannot bind: macros, and inline functions that need constants or many
 * bit fields. Read by bindgen with bindings.h, and by helpers.c.
 */
#ifndef _LINUX_HELPERS_H
#define _LINUX_HELPERS_H

#include <linux/cache.h>
#include <linux/rhashtable.h>
#include <linux/types.h>

struct sk_buff;

/* skbuff.rs */

/* NET_SKB_PAD without the statement expression in max(); helpers.c checks that it is the same. */
#define HELPER_NET_SKB_PAD (L1_CACHE_BYTES > 32 ? L1_CACHE_BYTES : 32)

void helper_kfree_skb(struct sk_buff *skb);
u32 helper_skb_dst_mtu(const struct sk_buff *skb);
void helper_skb_reset(struct sk_buff *skb, bool keep_hash);

/* sched.rs */
void helper_cond_resched(void);

/* rhashtable.rs */

/* What an entry begins with; the key follows. */
struct helper_rhashtable_node {
	struct rhash_head head;
	struct rcu_head rcu;
};

int helper_rhashtable_init(struct rhashtable *ht, u16 key_len);
void *helper_rhashtable_lookup(struct rhashtable *ht, const void *key);
int helper_rhashtable_insert(struct rhashtable *ht, struct helper_rhashtable_node *node);
int helper_rhashtable_remove(struct rhashtable *ht, struct helper_rhashtable_node *node);
int helper_rhashtable_replace(struct rhashtable *ht, struct helper_rhashtable_node *old,
			      struct helper_rhashtable_node *new);

#endif
