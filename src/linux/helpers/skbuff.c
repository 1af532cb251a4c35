// SPDX-License-Identifier: GPL-2.0

#include <linux/skbuff.h>
#include <linux/string.h>
#include <net/dst.h>
#include <net/dst_metadata.h>

#include "../helpers.h"

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
	/* These fields are not in the headers group. */
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

/*
 * Drops the references of a received packet before it waits in a queue: its route and its device.
 * Also clears its list pointers.
 */
void helper_skb_detach(struct sk_buff *skb)
{
	skb_dst_drop(skb);
	skb->dev = NULL;
	skb_mark_not_on_list(skb);
	skb->prev = NULL;
}
