// SPDX-License-Identifier: GPL-2.0

#include <linux/netdevice.h>
#include <linux/skbuff.h>
#include <linux/udp.h>
#include <net/gro.h>
#include <net/ip_tunnels.h>
#include <net/ipv6.h>
#include <net/route.h>
#include <net/udp.h>
#include <net/udp_tunnel.h>

#include "../helpers.h"

/* Whether `skb` is as SkBuff::set_udp_gso() has left it. */
static bool udp_gso_prepared(const struct sk_buff *skb)
{
	return skb_is_gso(skb) && skb_shinfo(skb)->gso_type == SKB_GSO_UDP_L4 &&
	       skb_checksum_start_offset(skb) == -(int)sizeof(struct udphdr) &&
	       skb->csum_offset == offsetof(struct udphdr, check);
}

/*
 * Prepares a packet for udp_tunnel_xmit_skb(), which checks neither the headroom nor whether the
 * device has statistics. A device has them from its registration until a grace period after it has
 * begun to be unregistered.
 */
static int udp_tunnel_xmit_prepare(struct sk_buff *skb, struct net_device *dev, u32 mark,
				   unsigned int headroom)
{
	if (unlikely(READ_ONCE(dev->reg_state) != NETREG_REGISTERED))
		return -ENODEV;
	/*
	 * A checksum that is yet to be computed must be an inner one, inside the data: the outer
	 * checksum is derived from it. The exception is an aggregate, where it is the outer one.
	 */
	if (unlikely(skb->ip_summed == CHECKSUM_PARTIAL && skb_checksum_start_offset(skb) < 0) &&
	    !udp_gso_prepared(skb))
		return -EINVAL;
	if (unlikely(skb_cow_head(skb, headroom)))
		return -ENOMEM;
	skb_dst_drop(skb);
	skb->dev = dev;
	skb->mark = mark;
	skb->ignore_df = 1;
	return 0;
}

static void udp_tunnel_xmit_drop(struct sk_buff *skb, int err)
{
	switch (err) {
	case -ENODEV:
		kfree_skb_reason(skb, SKB_DROP_REASON_DEV_READY);
		break;
	case -ENOMEM:
		kfree_skb_reason(skb, SKB_DROP_REASON_NOMEM);
		break;
	default:
		kfree_skb_reason(skb, SKB_DROP_REASON_SKB_CSUM);
	}
}

/* For the count of an aggregate's datagrams: iptunnel_xmit() counts every skb as one packet. */
struct udp_tunnel_sent {
	u64 packets;
	u16 segs;
};

static struct udp_tunnel_sent udp_tunnel_sent(const struct sk_buff *skb, struct net_device *dev)
{
	return (struct udp_tunnel_sent) {
		.packets = u64_stats_read(&this_cpu_ptr(dev->tstats)->tx_packets),
		.segs = skb_is_gso(skb) ? skb_shinfo(skb)->gso_segs : 1,
	};
}

/*
 * Adds the datagrams of an aggregate that iptunnel_xmit() did not count. As there, a loss is
 * counted as dropped with IPv4 and as an error with IPv6.
 */
static void udp_tunnel_count(const struct udp_tunnel_sent *sent, struct net_device *dev, bool ipv6)
{
	if (sent->segs <= 1)
		return;
	if (u64_stats_read(&this_cpu_ptr(dev->tstats)->tx_packets) != sent->packets) {
		dev_sw_netstats_tx_add(dev, sent->segs - 1, 0);
	} else if (ipv6) {
		DEV_STATS_ADD(dev, tx_errors, sent->segs - 1);
		DEV_STATS_ADD(dev, tx_aborted_errors, sent->segs - 1);
	} else {
		DEV_STATS_ADD(dev, tx_dropped, sent->segs - 1);
	}
}

int helper_udp_tunnel_xmit4(struct sock *sk, struct rtable *rt, struct sk_buff *skb,
			    struct net_device *dev, u32 mark, u8 ds, __be32 saddr, __be32 daddr,
			    __be16 dport)
{
	struct udp_tunnel_sent sent;
	int err = udp_tunnel_xmit_prepare(skb, dev, mark,
					  sizeof(struct iphdr) + sizeof(struct udphdr));

	if (unlikely(err)) {
		udp_tunnel_xmit_drop(skb, err);
		return err;
	}
	dst_hold(&rt->dst);
	sent = udp_tunnel_sent(skb, dev);
	udp_tunnel_xmit_skb(rt, sk, skb, saddr, daddr, ds, ip4_dst_hoplimit(&rt->dst), 0,
			    inet_sk(sk)->inet_sport, dport, false, false, 0);
	udp_tunnel_count(&sent, dev, false);
	return 0;
}

int helper_udp_tunnel_xmit6(struct sock *sk, struct dst_entry *dst, struct sk_buff *skb,
			    struct net_device *dev, u32 mark, u8 ds, __be32 label,
			    const struct in6_addr *saddr, const struct in6_addr *daddr,
			    __be16 dport)
{
	struct udp_tunnel_sent sent;
	int err = udp_tunnel_xmit_prepare(skb, dev, mark,
					  sizeof(struct ipv6hdr) + sizeof(struct udphdr));

	if (unlikely(err)) {
		udp_tunnel_xmit_drop(skb, err);
		return err;
	}
	dst_hold(dst);
	sent = udp_tunnel_sent(skb, dev);
	udp_tunnel6_xmit_skb(dst, sk, skb, dev, saddr, daddr, ds, ip6_dst_hoplimit(dst), label,
			     inet_sk(sk)->inet_sport, dport, false, 0);
	udp_tunnel_count(&sent, dev, true);
	return 0;
}

/* As UDP_GRO_CNT_MAX, the limit of UDP's own GRO. */
#define HELPER_GRO_CNT_MAX 64

/*
 * Appends `skb` to the list of `p`, as skb_gro_receive_list() does, which the kernel does not
 * export. Returns whether it was appended.
 */
static bool helper_gro_append(struct sk_buff *p, struct sk_buff *skb)
{
	const unsigned int len = skb_gro_len(skb);

	if (NAPI_GRO_CB(skb)->flush || p->len + len > GRO_LEGACY_MAX_SIZE - 1 ||
	    skb->ip_summed != p->ip_summed || skb->csum_level != p->csum_level ||
	    !pskb_may_pull(skb, skb_gro_offset(skb)))
		return false;
	skb_set_network_header(skb, NAPI_GRO_CB(skb)->network_offset);
	__skb_pull(skb, skb_gro_offset(skb));
	if (NAPI_GRO_CB(p)->last == p)
		skb_shinfo(p)->frag_list = skb;
	else
		NAPI_GRO_CB(p)->last->next = skb;
	NAPI_GRO_CB(p)->last = skb;
	NAPI_GRO_CB(p)->count++;
	/* `p` takes over the charge of `skb` to their common socket, with its truesize. */
	skb->destructor = NULL;
	skb->sk = NULL;
	p->truesize += skb->truesize;
	p->data_len += len;
	p->len += len;
	skb_shinfo(p)->flags |= skb_shinfo(skb)->flags & SKBFL_SHARED_FRAG;
	NAPI_GRO_CB(skb)->same_flow = 1;
	return true;
}

/* Whether datagrams of a UDP socket go to `encap_rcv`. */
bool helper_udp_has_encap_rcv(const struct sock *sk,
			      int (*encap_rcv)(struct sock *sk, struct sk_buff *skb))
{
	return READ_ONCE(udp_sk(sk)->encap_rcv) == encap_rcv;
}

/*
 * Chains a datagram to the earlier ones of its flow. In the list each datagram has its own buffer
 * and its own headers, and all have one length but the last. The list takes one walk of the stack,
 * which splits it before a tunnel's socket, or where it leaves the machine. The core does the same
 * for a device with NETIF_F_GRO_FRAGLIST, and the core's functions handle the list from here on.
 *
 * Returns an skb for the core to flush, or NULL.
 */
struct sk_buff *helper_udp_gro_receive(struct list_head *head, struct sk_buff *skb, bool keep)
{
	const unsigned int off = skb_gro_offset(skb), len = skb_gro_len(skb);
	const struct udphdr *uh = skb_gro_header(skb, off, off - sizeof(*uh));
	struct sk_buff *p = NULL, *pos;

	if (unlikely(!uh)) {
		NAPI_GRO_CB(skb)->flush = 1;
		return NULL;
	}
	/* Makes udp4_gro_complete() see a list of plain datagrams, with no tunnel inside. */
	NAPI_GRO_CB(skb)->is_flist = 1;
	NAPI_GRO_CB(skb)->encap_mark = 0;
	list_for_each_entry(pos, head, list) {
		if (NAPI_GRO_CB(pos)->same_flow) {
			p = pos;
			break;
		}
	}
	if (!keep)
		NAPI_GRO_CB(skb)->flush = 1;
	/* A datagram that is not chained must not overtake those before it, so `p` is flushed. */
	if (!p || !keep || !NAPI_GRO_CB(p)->is_flist || len > skb_shinfo(p)->gso_size ||
	    gro_receive_network_flush(uh, udp_hdr(p), p) || !helper_gro_append(p, skb))
		return p;
	if (len < skb_shinfo(p)->gso_size || NAPI_GRO_CB(p)->count >= HELPER_GRO_CNT_MAX)
		return p;
	return NULL;
}
