// SPDX-License-Identifier: GPL-2.0

#include <net/dst.h>
#include <net/dst_cache.h>
#include <net/l3mdev.h>
#include <net/route.h>

#include "../helpers.h"

int helper_dst_ifindex(const struct dst_entry *dst)
{
	return READ_ONCE(dst->dev)->ifindex;
}

bool helper_dst_leaves_by(const struct dst_entry *dst, int ifindex)
{
	const struct net_device *dev = READ_ONCE(dst->dev);

	return dev->ifindex == ifindex || l3mdev_master_ifindex_rcu(dev) == ifindex;
}

bool helper_dst_takes_lists(const struct dst_entry *dst)
{
	const netdev_features_t features = READ_ONCE(dst->dev)->features;

	return (features & NETIF_F_FRAGLIST) || !(features & NETIF_F_GSO_UDP_L4);
}

bool helper_has_ifindex(struct net *net, int ifindex)
{
	bool found;

	rcu_read_lock();
	found = dev_get_by_index_rcu(net, ifindex);
	rcu_read_unlock();
	return found;
}

/* A cache does not know its routes' family. If both were stored, only dst->ops tells them apart. */
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
