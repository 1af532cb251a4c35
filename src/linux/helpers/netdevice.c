// SPDX-License-Identifier: GPL-2.0

#include <linux/icmpv6.h>
#include <linux/netdevice.h>
#include <net/gro.h>
#include <net/dst_metadata.h>
#include <net/icmp.h>
#include <net/netdev_lock.h>
#include <net/net_namespace.h>

#include "../helpers.h"

#if IS_BUILTIN(CONFIG_KUNIT)
/* A device that exists for as long as the kernel runs. */
struct net_device *helper_loopback(void)
{
	return init_net.loopback_dev;
}
#endif

void helper_dev_sw_netstats_rx_add(struct net_device *dev, size_t packets, size_t bytes)
{
	struct pcpu_sw_netstats *tstats;

	local_bh_disable();
	/* The counters are freed no sooner than a grace period after the device was closed. */
	if (likely(netif_running(dev) && dev->pcpu_stat_type == NETDEV_PCPU_STAT_TSTATS)) {
		tstats = this_cpu_ptr(dev->tstats);
		u64_stats_update_begin(&tstats->syncp);
		u64_stats_add(&tstats->rx_packets, packets);
		u64_stats_add(&tstats->rx_bytes, bytes);
		u64_stats_update_end(&tstats->syncp);
	}
	local_bh_enable();
}

void helper_icmp_ndo_unreachable(struct sk_buff *skb, struct net_device *dev)
{
	const struct dst_entry *dst = skb_dst(skb);
	const bool v4 = skb->protocol == htons(ETH_P_IP);

	/* The ICMP code takes the dst for a route of the packet's family: it must be one. */
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

void helper_netdev_lockdep_set_classes(struct net_device *dev)
{
	netdev_lockdep_set_classes(dev);
}

/* As gro_flush_normal(). Its second half, gro_normal_list(), is not exported. */
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
