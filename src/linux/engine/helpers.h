/* SPDX-License-Identifier: GPL-2.0 */
/* C functions for the faces in this folder, as ../helpers.h has them for the general faces. */
#ifndef _LINUX_ENGINE_HELPERS_H
#define _LINUX_ENGINE_HELPERS_H

#include <linux/types.h>

struct net_device;
struct page;
struct page_pool_bh;

/* The pages that a CPU has given to packets last. */
struct helper_page_ring;
struct sk_buff;

/* seal.rs */
const void *helper_skb_source(struct sk_buff *skb, u32 offset);
struct sk_buff *helper_skb_alloc_text(const struct sk_buff *skb, u32 len,
				      struct page_pool_bh __percpu *pools);

/* segments.rs, chain.rs, flow.rs */
struct page *helper_alloc_frag(struct helper_page_ring __percpu *rings, u32 wanted, u32 needed,
			       u32 *offset, u32 *size);
void helper_skb_drop_empty_frag(struct sk_buff *skb, u32 truesize);
void helper_skb_account_linear(struct sk_buff *skb);
bool helper_skb_goes_alone(const struct sk_buff *skb);
void helper_skb_charge_like(struct sk_buff *skb, const struct sk_buff *like);
void helper_skb_chain(struct sk_buff *skb, struct sk_buff *last, struct sk_buff *datagram);

/* page_rings.rs */
struct helper_page_ring __percpu *helper_page_rings_create(void);
void helper_page_rings_destroy(struct helper_page_ring __percpu *rings);

/* link.rs */
void helper_netdev_no_neighbours(struct net_device *dev);

#endif
