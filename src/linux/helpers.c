// SPDX-License-Identifier: GPL-2.0

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <crypto/chacha.h>
#include <crypto/poly1305.h>
#include <linux/cpumask.h>
#include <linux/dynamic_debug.h>
#include <linux/icmpv6.h>
#include <linux/inetdevice.h>
#include <linux/net.h>
#include <linux/netdevice.h>
#include <linux/once.h>
#include <linux/printk.h>
#include <linux/random.h>
#include <linux/rhashtable.h>
#include <linux/sched.h>
#include <linux/siphash.h>
#include <linux/skbuff.h>
#include <linux/skbuff_ref.h>
#include <net/addrconf.h>
#include <net/dst_cache.h>
#include <net/dst_metadata.h>
#include <net/gro.h>
#include <net/icmp.h>
#include <net/ip_tunnels.h>
#include <net/ipv6.h>
#include <net/netdev_lock.h>
#include <net/route.h>
#include <net/udp.h>
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

/*
 * Least bytes of a message that is decrypted straight from its fragment. A shorter one is copied,
 * which costs less than keeping a page.
 */
#define HELPER_MIN_SOURCE 256

/*
 * Returns the address of a packet's data from `offset` on, for decrypting from there, or NULL. Not
 * NULL means that these data lie in one fragment that has no other writer, and that the
 * CHACHA_BLOCK_SIZE bytes in front of them can be read. Those bytes may change meanwhile: they may
 * belong to another packet.
 */
const void *helper_skb_source(struct sk_buff *skb, u32 offset)
{
	const struct skb_shared_info *shinfo = skb_shinfo(skb);
	const skb_frag_t *frag = &shinfo->frags[0];
	const u32 headlen = skb_headlen(skb);

	/*
	 * The data are read twice: to decrypt and to authenticate them. The owner of a clone, or of
	 * pages lent to the kernel, might write to them in between.
	 */
	if (IS_ENABLED(CONFIG_HIGHMEM) || offset < headlen || shinfo->nr_frags != 1 ||
	    skb_has_frag_list(skb) || skb_cloned(skb) || skb_has_shared_frag(skb) ||
	    skb_zcopy(skb) || !skb_frags_readable(skb))
		return NULL;
	offset -= headlen;
	if (offset > skb_frag_size(frag) || skb_frag_size(frag) - offset < HELPER_MIN_SOURCE ||
	    skb_frag_off(frag) + offset < CHACHA_BLOCK_SIZE)
		return NULL;
	return skb_frag_address(frag) + offset;
}

/*
 * Returns an empty packet whose linear memory is a page fragment, which GRO can take over. NULL if
 * there is no memory, or it would not fit a page.
 *
 * The headroom has at least CHACHA_BLOCK_SIZE bytes, followed by a copy of the headers of `skb`,
 * from its network header to its data; cb, protocol and skb_iif are copied, too. The tailroom has
 * `len` bytes and a tag.
 */
struct sk_buff *helper_skb_alloc_text(const struct sk_buff *skb, u32 len)
{
	const u32 outer = -skb_network_offset(skb);
	const u32 front = max_t(u32, NET_SKB_PAD, CHACHA_BLOCK_SIZE);
	const size_t size = SKB_HEAD_ALIGN((size_t)front + outer + len + POLY1305_DIGEST_SIZE);
	struct sk_buff *text = NULL;
	void *data;

	if (unlikely(size > SKB_MAX_ORDER(0, 0)))
		return NULL;
	local_bh_disable();
	data = napi_alloc_frag(size);
	if (likely(data)) {
		text = napi_build_skb(data, size);
		if (unlikely(!text))
			skb_free_frag(data);
	}
	local_bh_enable();
	if (unlikely(!text))
		return NULL;
	skb_reserve(text, front);
	skb_reset_mac_header(text);
	skb_reset_network_header(text);
	skb_set_transport_header(text, skb_network_header_len(skb));
	__skb_put_data(text, skb_network_header(skb), outer);
	__skb_pull(text, outer);
	memcpy(text->cb, skb->cb, sizeof(text->cb));
	text->protocol = skb->protocol;
	text->skb_iif = skb->skb_iif;
	return text;
}

/*
 * Allocates contiguous pages for a fragment of a packet: for `wanted` bytes or, if there are no
 * such pages, for `needed` bytes. Returns NULL if both fail. Stores the size in bytes in `*size`.
 */
struct page *helper_alloc_frag(u32 wanted, u32 needed, u32 *size)
{
	const gfp_t gfp = GFP_ATOMIC | __GFP_COMP | __GFP_NOWARN;
	unsigned int order = get_order(wanted);
	struct page *page = NULL;

	if (order)
		page = alloc_pages(gfp | __GFP_NORETRY, order);
	if (!page) {
		order = get_order(needed);
		page = alloc_pages(gfp, order);
	}
	*size = PAGE_SIZE << order;
	return page;
}

/* Adds `len` bytes to the last fragment of a packet. They must lie right behind it. */
void helper_skb_grow_frag(struct sk_buff *skb, u32 len)
{
	struct skb_shared_info *shinfo = skb_shinfo(skb);

	skb_frag_size_add(&shinfo->frags[shinfo->nr_frags - 1], len);
	skb->len += len;
	skb->data_len += len;
}

/*
 * Whether a packet must not share an skb with others: it requests a timestamp or a notification
 * that its pages are free, or its socket does not count its bytes in sk_wmem_alloc, so
 * helper_skb_charge_like() could not charge another skb to that socket.
 */
bool helper_skb_goes_alone(const struct sk_buff *skb)
{
	return skb_shinfo(skb)->tx_flags || (skb_shinfo(skb)->flags & SKBFL_ZEROCOPY_ENABLE) ||
	       (skb->sk && !is_skb_wmem(skb));
}

/* Charges `skb` to the socket that sent `like`, so that the socket waits for both. */
void helper_skb_charge_like(struct sk_buff *skb, const struct sk_buff *like)
{
	if (!like->sk || !is_skb_wmem(like))
		return;
	skb_orphan(skb);
	skb->sk = like->sk;
	skb->destructor = like->destructor;
	refcount_add(skb->truesize, &skb->sk->sk_wmem_alloc);
}

/* Makes `skb` a UDP GSO packet. Its UDP header will be right in front of the data. */
void helper_skb_set_udp_gso(struct sk_buff *skb, u16 size, u16 segs)
{
	struct skb_shared_info *shinfo = skb_shinfo(skb);

	shinfo->gso_size = size;
	shinfo->gso_segs = segs;
	shinfo->gso_type = SKB_GSO_UDP_L4;
	skb->ip_summed = CHECKSUM_PARTIAL;
	skb->csum_start = skb_headroom(skb) - sizeof(struct udphdr);
	skb->csum_offset = offsetof(struct udphdr, check);
}

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

/* warn_on!() of the kernel crate includes files of the kernel's build that header packages lack. */
void helper_warn(void)
{
	WARN_ON(1);
}

/* The key of all tables. Each bucket table mixes a seed of its own into it. */
static siphash_key_t helper_rhashtable_key __read_mostly;

u32 helper_siphash(const void *data, u32 len, const siphash_key_t *key)
{
	/* siphash() has quick code for a constant number of whole words. */
	switch (len) {
	case 3 * sizeof(u64):
		return siphash(data, 3 * sizeof(u64), key);
	case 4 * sizeof(u64):
		return siphash(data, 4 * sizeof(u64), key);
	default:
		return siphash(data, len, key);
	}
}

static u32 helper_rhashtable_hash(const void *data, u32 len, u32 seed)
{
	siphash_key_t key = helper_rhashtable_key;

	key.key[1] ^= seed;
	return helper_siphash(data, len, &key);
}

/*
 * The inline functions of rhashtable.h are meant for constant parameters. The length of the key is
 * not constant here: as it is zero, they read it from the table.
 */
static const struct rhashtable_params helper_rhashtable_params = {
	.head_offset = offsetof(struct helper_rhashtable_node, head),
	.key_offset = sizeof(struct helper_rhashtable_node),
	.hashfn = helper_rhashtable_hash,
	.automatic_shrinking = true,
};

static __always_inline int helper_rhashtable_cmp_u32(struct rhashtable_compare_arg *arg,
						     const void *obj)
{
	return *(const u32 *)(obj + sizeof(struct helper_rhashtable_node)) !=
	       *(const u32 *)arg->key;
}

/* For keys that are random numbers: jhash with the table's seed is enough, and quicker. */
static const struct rhashtable_params helper_rhashtable_params_u32 = {
	.head_offset = offsetof(struct helper_rhashtable_node, head),
	.key_offset = sizeof(struct helper_rhashtable_node),
	.key_len = sizeof(u32),
	.obj_cmpfn = helper_rhashtable_cmp_u32,
	.automatic_shrinking = true,
};

int helper_rhashtable_init(struct rhashtable *ht, u16 key_len)
{
	struct rhashtable_params params = helper_rhashtable_params;

	get_random_once(&helper_rhashtable_key, sizeof(helper_rhashtable_key));
	if (key_len == sizeof(u32))
		return rhashtable_init(ht, &helper_rhashtable_params_u32);
	params.key_len = key_len;
	return rhashtable_init(ht, &params);
}

void *helper_rhashtable_lookup(struct rhashtable *ht, const void *key)
{
	if (likely(ht->p.key_len == sizeof(u32)))
		return rhashtable_lookup(ht, key, helper_rhashtable_params_u32);
	return rhashtable_lookup(ht, key, helper_rhashtable_params);
}

int helper_rhashtable_insert(struct rhashtable *ht, struct helper_rhashtable_node *node)
{
	if (ht->p.key_len == sizeof(u32))
		return rhashtable_lookup_insert_fast(ht, &node->head, helper_rhashtable_params_u32);
	return rhashtable_lookup_insert_fast(ht, &node->head, helper_rhashtable_params);
}

int helper_rhashtable_remove(struct rhashtable *ht, struct helper_rhashtable_node *node)
{
	if (ht->p.key_len == sizeof(u32))
		return rhashtable_remove_fast(ht, &node->head, helper_rhashtable_params_u32);
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

bool helper_queue_work_on(u32 cpu, struct workqueue_struct *wq, struct work_struct *work)
{
	/*
	 * Without preemption an online CPU stays online. On an offline CPU the work might never
	 * run.
	 */
	guard(preempt)();
	return queue_work_on(cpu < nr_cpu_ids && cpu_online(cpu) ? cpu : WORK_CPU_UNBOUND, wq, work);
}

u32 helper_cpumask_next_online(u32 cpu)
{
	/* From a number beyond the mask, the search would read beyond it. */
	const int after = cpu < nr_cpu_ids ? (int)cpu : -1;

	cpu = cpumask_next_wrap(after, cpu_online_mask);
	return cpu < nr_cpu_ids ? cpu : 0;
}

u32 helper_cpumask_nth_online(u32 n)
{
	const u32 cpu = cpumask_nth(n % num_online_cpus(), cpu_online_mask);

	/* A CPU may have gone offline since num_online_cpus() counted. */
	return cpu < nr_cpu_ids ? cpu : cpumask_first(cpu_online_mask);
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

/* Whether `skb` is as helper_skb_set_udp_gso() has left it. */
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
		kfree_skb(skb);
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
			    struct net_device *dev, u32 mark, u8 ds, const struct in6_addr *saddr,
			    const struct in6_addr *daddr, __be16 dport)
{
	struct udp_tunnel_sent sent;
	int err = udp_tunnel_xmit_prepare(skb, dev, mark,
					  sizeof(struct ipv6hdr) + sizeof(struct udphdr));

	if (unlikely(err)) {
		kfree_skb(skb);
		return err;
	}
	dst_hold(dst);
	sent = udp_tunnel_sent(skb, dev);
	udp_tunnel6_xmit_skb(dst, sk, skb, dev, saddr, daddr, ds, ip6_dst_hoplimit(dst), 0,
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
	return len < skb_shinfo(p)->gso_size || NAPI_GRO_CB(p)->count >= HELPER_GRO_CNT_MAX ? p :
												 NULL;
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

void helper_smp_mb(void)
{
	smp_mb();
}
