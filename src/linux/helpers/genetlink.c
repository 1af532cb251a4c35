// SPDX-License-Identifier: GPL-2.0

#include <linux/module.h>
#include <linux/netdevice.h>
#include <net/genetlink.h>
#include <net/net_namespace.h>

#include "../helpers.h"

/* Whether the init function of a module has succeeded. One that is built in has no `module`. */
bool helper_module_is_ready(const struct module *module)
{
#ifdef CONFIG_MODULES
	return !module || READ_ONCE(module->state) == MODULE_STATE_LIVE;
#else
	return true;
#endif
}

/* The core keeps one set of listeners for all namespaces. The first namespace never goes. */
bool helper_genl_has_listeners(const struct genl_family *family, u32 group)
{
	return group < family->n_mcgrps && genl_has_listeners(family, &init_net, group) > 0;
}

void helper_genl_multicast(const struct genl_family *family, const struct net_device *dev,
			   struct sk_buff *skb, u32 group)
{
	struct net *net = maybe_get_net(dev_net_rcu(dev));

	if (!net)
		consume_skb(skb);
	else if (skb)
		genlmsg_multicast_netns(family, net, skb, 0, group, GFP_ATOMIC);
	else
		genl_set_err(family, net, 0, group, -ENOBUFS);
	if (net)
		put_net(net);
}
