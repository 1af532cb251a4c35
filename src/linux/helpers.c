// SPDX-License-Identifier: GPL-2.0

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <crypto/chacha.h>
#include <linux/cpumask.h>
#include <linux/dynamic_debug.h>
#include <linux/icmpv6.h>
#include <linux/inetdevice.h>
#include <linux/net.h>
#include <linux/netdevice.h>
#include <linux/printk.h>
#include <linux/rhashtable.h>
#include <linux/sched.h>
#include <linux/sizes.h>
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

/* Shorter messages are copied: that costs less than to share a page. */
#define HELPER_MIN_SHARED 256

/*
 * The fragment that has all of `len` bytes of a packet, `offset` behind its data, and in front of them at least what
 * the cipher reads there, too; NULL if there is none, or somebody may write to it. `*at` becomes the place in it.
 */
static skb_frag_t *helper_skb_frag_of(struct sk_buff *skb, u32 offset, u32 len, u32 *at)
{
	struct skb_shared_info *shinfo = skb_shinfo(skb);
	unsigned int i;

	if (IS_ENABLED(CONFIG_HIGHMEM) || offset < skb_headlen(skb) || skb_has_shared_frag(skb) ||
	    skb_zcopy(skb) || !skb_frags_readable(skb))
		return NULL;
	offset -= skb_headlen(skb);
	for (i = 0; i < shinfo->nr_frags; i++) {
		const u32 size = skb_frag_size(&shinfo->frags[i]);

		if (offset < size) {
			if (size - offset < len || offset < CHACHA_BLOCK_SIZE)
				return NULL;
			*at = offset;
			return &shinfo->frags[i];
		}
		offset -= size;
	}
	return NULL;
}

/*
 * A datagram of a packet, with the packet's outer headers from the network header on: the `len` bytes at `offset`
 * behind the UDP header. It is a copy, in one piece of memory that GRO can take over; or if it can be, the first
 * `head` bytes are copied alone, and what is encrypted behind them stays where it is, as the only fragment: there is
 * room in the linear part to decrypt it to. Softirqs are off.
 */
struct sk_buff *helper_skb_datagram(struct sk_buff *skb, u32 offset, u32 len, u32 head)
{
	const unsigned int outer = skb_transport_header(skb) + sizeof(struct udphdr) -
				   skb_network_header(skb);
	/* With some room behind for the cipher to work with. */
	const size_t size = SKB_HEAD_ALIGN(NET_SKB_PAD + outer + (size_t)len + 16);
	skb_frag_t *frag = NULL;
	struct sk_buff *copy;
	struct udphdr *udp;
	u32 at, copied = len;
	void *data;

	if (likely(size <= SKB_MAX_ORDER(0, 0))) {
		data = napi_alloc_frag(size);
		if (unlikely(!data))
			return NULL;
		copy = napi_build_skb(data, size);
		if (unlikely(!copy)) {
			skb_free_frag(data);
			return NULL;
		}
	} else {
		copy = alloc_skb(NET_SKB_PAD + outer + len, GFP_ATOMIC);
		if (unlikely(!copy))
			return NULL;
	}
	skb_reserve(copy, NET_SKB_PAD);
	skb_reset_network_header(copy);
	__skb_put_data(copy, skb_network_header(skb), outer);
	skb_set_transport_header(copy, outer - sizeof(struct udphdr));
	__skb_pull(copy, outer - sizeof(struct udphdr));
	udp = udp_hdr(copy);
	udp->len = htons(min_t(u32, sizeof(struct udphdr) + len, U16_MAX));

	offset += skb_transport_offset(skb) + sizeof(struct udphdr);
	if (len >= HELPER_MIN_SHARED && head < len)
		frag = helper_skb_frag_of(skb, offset + head, len - head, &at);
	if (frag)
		copied = head;
	if (unlikely(skb_copy_bits(skb, offset, __skb_put(copy, copied), copied))) {
		kfree_skb(copy);
		return NULL;
	}
	if (frag) {
		__skb_frag_ref(frag);
		skb_add_rx_frag_netmem(copy, 0, skb_frag_netmem(frag), skb_frag_off(frag) + at,
				       len - copied, len - copied);
	}
	copy->protocol = skb->protocol;
	copy->skb_iif = skb->skb_iif;
	return copy;
}

/*
 * Where the data are that helper_skb_datagram() left where they were, now that they are all there is; NULL if it did not.
 * Before them are the bytes of a block that can be read.
 */
const void *helper_skb_source(const struct sk_buff *skb)
{
	const struct skb_shared_info *shinfo = skb_shinfo(skb);
	const skb_frag_t *frag = &shinfo->frags[0];

	if (skb_headlen(skb) || shinfo->nr_frags != 1 || skb_has_frag_list(skb) ||
	    !skb_frags_readable(skb) || IS_ENABLED(CONFIG_HIGHMEM) ||
	    skb_frag_off(frag) < CHACHA_BLOCK_SIZE || skb_cloned(skb) ||
	    skb_end_pointer(skb) - skb_tail_pointer(skb) < skb->len)
		return NULL;
	return skb_frag_address(frag);
}

/* Makes `len` bytes behind the headers the data, instead of those in the fragment that helper_skb_source() found. */
void helper_skb_drop_source(struct sk_buff *skb, u32 len)
{
	skb_frag_unref(skb, 0);
	skb_shinfo(skb)->nr_frags = 0;
	skb->len -= skb->data_len;
	skb->data_len = 0;
	skb->truesize = SKB_TRUESIZE(skb_end_offset(skb));
	__skb_put(skb, len);
}

/*
 * Pages in one piece for a fragment of a packet: enough for the bytes that are wanted, or if there are
 * no such pages, for those that are needed. Says how many bytes they have.
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

/* Adds bytes to the last fragment of a packet, which are there, right behind it. */
void helper_skb_grow_frag(struct sk_buff *skb, u32 len)
{
	struct skb_shared_info *shinfo = skb_shinfo(skb);

	skb_frag_size_add(&shinfo->frags[shinfo->nr_frags - 1], len);
	skb->len += len;
	skb->data_len += len;
}

/* Has the socket that sent one packet wait for another one, too. */
void helper_skb_charge_like(struct sk_buff *skb, const struct sk_buff *like)
{
	if (!like->sk || !is_skb_wmem(like))
		return;
	skb_orphan(skb);
	skb->sk = like->sk;
	skb->destructor = like->destructor;
	refcount_add(skb->truesize, &skb->sk->sk_wmem_alloc);
}

/* The checksum is where that of the UDP header in front of the data will be. */
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

void helper_dev_sw_netstats_rx_add(struct net_device *dev, size_t packets, size_t bytes)
{
	struct pcpu_sw_netstats *tstats;

	local_bh_disable();
	/* The counters are freed a grace period after the device was closed. */
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

/* Whether helper_skb_set_udp_gso() was called for it, and nothing changed since. */
static bool udp_gso_prepared(const struct sk_buff *skb)
{
	return skb_is_gso(skb) && skb_shinfo(skb)->gso_type == SKB_GSO_UDP_L4 &&
	       skb_checksum_start_offset(skb) == -(int)sizeof(struct udphdr) &&
	       skb->csum_offset == offsetof(struct udphdr, check);
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
	/*
	 * The outer checksum is made from the inner one, if that is yet to be made: it has to be inside. Or the packet stands for
	 * several, and it is the place of the outer one.
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

/* iptunnel_xmit() counts one packet, whatever it stands for. */
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

static void udp_tunnel_count(const struct udp_tunnel_sent *sent, struct net_device *dev)
{
	if (sent->segs <= 1)
		return;
	if (u64_stats_read(&this_cpu_ptr(dev->tstats)->tx_packets) != sent->packets)
		dev_sw_netstats_tx_add(dev, sent->segs - 1, 0);
	else
		DEV_STATS_ADD(dev, tx_dropped, sent->segs - 1);
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
	udp_tunnel_count(&sent, dev);
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
	udp_tunnel_count(&sent, dev);
	return 0;
}

/*
 * Has the datagrams of a socket wait in its queue, those of a flow in one packet if they came so; ready()
 * is called when there are some. (A socket with encap_rcv gets each alone, whatever they came in.)
 */
void helper_udp_sock_setup(struct sock *sk, void *user_data, void (*ready)(struct sock *sk))
{
	inet_clear_bit(MC_LOOP, sk);
#ifdef CONFIG_NET_RX_BUSY_POLL
	/* Who takes datagrams out is in a softirq, and does not wait for them. */
	WRITE_ONCE(sk->sk_ll_usec, 0);
#endif
	/* They stay there for no longer than it takes to take them out. */
	WRITE_ONCE(sk->sk_rcvbuf, SZ_16M);
	rcu_assign_sk_user_data(sk, user_data);
	WRITE_ONCE(sk->sk_data_ready, ready);
	udp_set_bit(GRO_ENABLED, sk);
	udp_set_bit(ACCEPT_L4, sk);
	udp_tunnel_encap_enable(sk);
}

/* Takes the next packet out of the queue: its data begin with the UDP header, whose checksum is right. */
struct sk_buff *helper_udp_recv(struct sock *sk)
{
	const bool v4 = sk->sk_family == AF_INET;
	struct sk_buff *skb;
	int off = 0, err;

	while ((skb = __skb_recv_udp(sk, MSG_DONTWAIT, &off, &err))) {
		/* The queue kept its notes there. */
		skb->dev = NULL;
		if (likely(!udp_lib_checksum_complete(skb)))
			break;
		SNMP_INC_STATS(__UDPX_MIB(sk, v4), UDP_MIB_CSUMERRORS);
		SNMP_INC_STATS(__UDPX_MIB(sk, v4), UDP_MIB_INERRORS);
		udp_drops_inc(sk);
		kfree_skb_reason(skb, SKB_DROP_REASON_UDP_CSUM);
	}
	if (skb) {
		SNMP_ADD_STATS(__UDPX_MIB(sk, v4), UDP_MIB_INDATAGRAMS,
			       max_t(u16, skb_shinfo(skb)->gso_segs, 1));
		__skb_push(skb, sizeof(struct udphdr));
	}
	return skb;
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
