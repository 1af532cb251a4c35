// SPDX-License-Identifier: GPL-2.0

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/dynamic_debug.h>
#include <linux/net.h>
#include <linux/printk.h>

#include "../helpers.h"

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
#ifdef DEBUG
	if (args && (!ratelimited || net_ratelimit()))
		pr_debug("%pA", args);
	return true;
#else
	return false;
#endif
}
#endif
