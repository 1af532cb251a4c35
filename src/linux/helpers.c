// SPDX-License-Identifier: GPL-2.0

#include <linux/rhashtable.h>
#include <linux/sched.h>
#include <linux/skbuff.h>
#include <net/dst_metadata.h>
#include <net/ip_tunnels.h>

#include "helpers.h"

void helper_kfree_skb(struct sk_buff *skb)
{
	kfree_skb(skb);
}

u32 helper_skb_dst_mtu(const struct sk_buff *skb)
{
	return skb_valid_dst(skb) ? dst_mtu(skb_dst(skb)) : 0;
}

void helper_skb_reset(struct sk_buff *skb, bool keep_hash)
{
	const u8 l4_hash = skb->l4_hash, sw_hash = skb->sw_hash;
	const u8 tstamp_type = skb->tstamp_type;
	const u32 hash = skb->hash;

	BUILD_BUG_ON(HELPER_NET_SKB_PAD != NET_SKB_PAD);

	skb_scrub_packet(skb, true);
	memset(&skb->headers, 0, sizeof(skb->headers));
	if (keep_hash) {
		skb->l4_hash = l4_hash;
		skb->sw_hash = sw_hash;
		skb->hash = hash;
		skb->tstamp_type = tstamp_type;
	}
	/* What is not part of the headers group. */
	skb->dev = NULL;
	skb->mac_len = 0;
	skb->queue_mapping = 0;
	skb->nohdr = 0;
	skb->peeked = 0;
	skb_reset_redirect(skb);
	skb->hdr_len = skb_headroom(skb);
	/* All headers begin where the data does. */
	skb_reset_mac_header(skb);
	skb_reset_network_header(skb);
	skb_reset_transport_header(skb);
	skb_probe_transport_header(skb);
	skb_reset_inner_headers(skb);
}

void helper_cond_resched(void)
{
	cond_resched();
}

/*
 * The inline functions of rhashtable.h are made for constant parameters. Zero stands for what the table
 * itself knows, the length of the key above all.
 */
static const struct rhashtable_params helper_rhashtable_params = {
	.head_offset = offsetof(struct helper_rhashtable_node, head),
	.key_offset = sizeof(struct helper_rhashtable_node),
	.automatic_shrinking = true,
};

int helper_rhashtable_init(struct rhashtable *ht, u16 key_len)
{
	struct rhashtable_params params = helper_rhashtable_params;

	params.key_len = key_len;
	return rhashtable_init(ht, &params);
}

static __always_inline int helper_rhashtable_cmp_u32(struct rhashtable_compare_arg *arg,
						     const void *obj)
{
	return *(const u32 *)(obj + sizeof(struct helper_rhashtable_node)) !=
	       *(const u32 *)arg->key;
}

static const struct rhashtable_params helper_rhashtable_params_u32 = {
	.head_offset = offsetof(struct helper_rhashtable_node, head),
	.key_offset = sizeof(struct helper_rhashtable_node),
	.key_len = sizeof(u32),
	.obj_cmpfn = helper_rhashtable_cmp_u32,
};

void *helper_rhashtable_lookup(struct rhashtable *ht, const void *key)
{
	if (likely(ht->p.key_len == sizeof(u32)))
		return rhashtable_lookup(ht, key, helper_rhashtable_params_u32);
	return rhashtable_lookup(ht, key, helper_rhashtable_params);
}

int helper_rhashtable_insert(struct rhashtable *ht, struct helper_rhashtable_node *node)
{
	return rhashtable_lookup_insert_fast(ht, &node->head, helper_rhashtable_params);
}

int helper_rhashtable_remove(struct rhashtable *ht, struct helper_rhashtable_node *node)
{
	return rhashtable_remove_fast(ht, &node->head, helper_rhashtable_params);
}

int helper_rhashtable_replace(struct rhashtable *ht, struct helper_rhashtable_node *old,
			      struct helper_rhashtable_node *new)
{
	return rhashtable_replace_fast(ht, &old->head, &new->head, helper_rhashtable_params);
}
