// SPDX-License-Identifier: GPL-2.0

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/cpumask.h>
#include <linux/dynamic_debug.h>
#include <linux/icmpv6.h>
#include <linux/inetdevice.h>
#include <linux/net.h>
#include <linux/netdevice.h>
#include <linux/printk.h>
#include <linux/rhashtable.h>
#include <linux/sched.h>
#include <linux/skbuff.h>
#include <net/addrconf.h>
#include <net/dst_cache.h>
#include <net/dst_metadata.h>
#include <net/gro.h>
#include <net/icmp.h>
#include <net/ip_tunnels.h>
#include <net/ipv6.h>
#include <net/route.h>
#include <net/udp_tunnel.h>

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

void helper_dev_sw_netstats_rx_add(struct net_device *dev, u32 len)
{
	local_bh_disable();
	/* The counters are freed a grace period after the device was closed. */
	if (likely(netif_running(dev) && dev->pcpu_stat_type == NETDEV_PCPU_STAT_TSTATS))
		dev_sw_netstats_rx_add(dev, len);
	local_bh_enable();
}

void helper_icmp_ndo_unreachable(struct sk_buff *skb, struct net_device *dev)
{
	const struct dst_entry *dst = skb_dst(skb);
	const bool v4 = skb->protocol == htons(ETH_P_IP);

	/* What the ICMP code takes for a route has to be one, and of the right kind. */
	if (dst && (!skb_valid_dst(skb) || dst->ops->family != (v4 ? AF_INET : AF_INET6)))
		return;
	rcu_read_lock();
	if (netif_running(dev)) {
		skb->dev = dev;
		if (v4)
			icmp_ndo_send(skb, ICMP_DEST_UNREACH, ICMP_HOST_UNREACH, 0);
		else
			icmpv6_ndo_send(skb, ICMPV6_DEST_UNREACH, ICMPV6_ADDR_UNREACH, 0);
		skb->dev = NULL;
	}
	rcu_read_unlock();
}

void helper_netdev_no_neighbours(struct net_device *dev)
{
	struct in_device *in_dev = __in_dev_get_rtnl(dev);
	struct inet6_dev *in6_dev = __in6_dev_get(dev);

	if (in_dev) {
		IN_DEV_CONF_SET(in_dev, SEND_REDIRECTS, false);
		IPV4_DEVCONF_ALL(dev_net(dev), SEND_REDIRECTS) = false;
	}
	if (in6_dev)
		in6_dev->cnf.addr_gen_mode = IN6_ADDR_GEN_MODE_NONE;
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

void helper_init_deferrable_work(struct delayed_work *work, work_func_t func)
{
	INIT_DEFERRABLE_WORK(work, func);
}

void helper_queue_periodic_work(struct delayed_work *work, unsigned long delay)
{
	queue_delayed_work(system_power_efficient_wq, work, delay);
}

u32 helper_cpumask_next_online(u32 cpu)
{
	/* With a number beyond the mask the search would go beyond it too. */
	const int after = cpu < nr_cpu_ids ? (int)cpu : -1;

	cpu = cpumask_next_wrap(after, cpu_online_mask);
	return cpu < nr_cpu_ids ? cpu : 0;
}

#if defined(CONFIG_DYNAMIC_DEBUG) || \
	(defined(CONFIG_DYNAMIC_DEBUG_CORE) && defined(DYNAMIC_DEBUG_MODULE))
bool helper_debug(const void *args, bool ratelimited)
{
	DEFINE_DYNAMIC_DEBUG_METADATA(descriptor, "all debug messages");

	if (!DYNAMIC_DEBUG_BRANCH(descriptor))
		return false;
	if (args && (!ratelimited || net_ratelimit()))
		__dynamic_pr_debug(&descriptor, pr_fmt("%pA"), args);
	return true;
}
#else
bool helper_debug(const void *args, bool ratelimited)
{
	if (!IS_ENABLED(DEBUG))
		return false;
	if (args && (!ratelimited || net_ratelimit()))
		printk(KERN_DEBUG pr_fmt("%pA"), args);
	return true;
}
#endif

int helper_dst_ifindex(const struct dst_entry *dst)
{
	return READ_ONCE(dst->dev)->ifindex;
}

/* What a route in a cache is only shows by its operations, if both families were put in. */
struct rtable *helper_dst_cache_get_ip4(struct dst_cache *cache, __be32 *saddr)
{
	struct rtable *rt = dst_cache_get_ip4(cache, saddr);

	if (rt && unlikely(rt->dst.ops->family != AF_INET)) {
		dst_release(&rt->dst);
		rt = NULL;
	}
	return rt;
}

struct dst_entry *helper_dst_cache_get_ip6(struct dst_cache *cache, struct in6_addr *saddr)
{
	struct dst_entry *dst = dst_cache_get_ip6(cache, saddr);

	if (dst && unlikely(dst->ops->family != AF_INET6)) {
		dst_release(dst);
		dst = NULL;
	}
	return dst;
}

/*
 * Prepares a packet for udp_tunnel_xmit_skb(), which neither looks for the headroom nor whether the
 * device has statistics. Those are there from registration to one grace period after the beginning of
 * its end.
 */
static int udp_tunnel_xmit_prepare(struct sk_buff *skb, struct net_device *dev, u32 mark,
				   unsigned int headroom)
{
	if (unlikely(READ_ONCE(dev->reg_state) != NETREG_REGISTERED))
		return -ENODEV;
	/* The outer checksum is made from the inner one, if that is yet to be made: it has to be inside. */
	if (unlikely(skb->ip_summed == CHECKSUM_PARTIAL && skb_checksum_start_offset(skb) < 0))
		return -EINVAL;
	if (unlikely(skb_cow_head(skb, headroom)))
		return -ENOMEM;
	skb_dst_drop(skb);
	skb->dev = dev;
	skb->mark = mark;
	skb->ignore_df = 1;
	return 0;
}

int helper_udp_tunnel_xmit4(struct sock *sk, struct rtable *rt, struct sk_buff *skb,
			    struct net_device *dev, u32 mark, u8 ds, __be32 saddr, __be32 daddr,
			    __be16 dport)
{
	int err = udp_tunnel_xmit_prepare(skb, dev, mark,
					  sizeof(struct iphdr) + sizeof(struct udphdr));

	if (unlikely(err)) {
		kfree_skb(skb);
		return err;
	}
	dst_hold(&rt->dst);
	udp_tunnel_xmit_skb(rt, sk, skb, saddr, daddr, ds, ip4_dst_hoplimit(&rt->dst), 0,
			    inet_sk(sk)->inet_sport, dport, false, false, 0);
	return 0;
}

int helper_udp_tunnel_xmit6(struct sock *sk, struct dst_entry *dst, struct sk_buff *skb,
			    struct net_device *dev, u32 mark, u8 ds, const struct in6_addr *saddr,
			    const struct in6_addr *daddr, __be16 dport)
{
	int err = udp_tunnel_xmit_prepare(skb, dev, mark,
					  sizeof(struct ipv6hdr) + sizeof(struct udphdr));

	if (unlikely(err)) {
		kfree_skb(skb);
		return err;
	}
	dst_hold(dst);
	udp_tunnel6_xmit_skb(dst, sk, skb, dev, saddr, daddr, ds, ip6_dst_hoplimit(dst), 0,
			     inet_sk(sk)->inet_sport, dport, false, 0);
	return 0;
}

/* The kernel does not export gro_normal_list(), the second half of this. */
void helper_napi_gro_flush(struct napi_struct *napi)
{
	struct gro_node *gro = &napi->gro;

	napi_gro_flush(napi, false);
	if (gro->rx_count) {
		netif_receive_skb_list(&gro->rx_list);
		INIT_LIST_HEAD(&gro->rx_list);
		gro->rx_count = 0;
	}
}

void helper_smp_mb(void)
{
	smp_mb();
}
