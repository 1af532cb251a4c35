/* SPDX-License-Identifier: GPL-2.0 */
/*
 * C functions for macros, and for inline functions that need constants or many bit fields: bindgen
 * cannot bind these. Included by bindings.h, which bindgen reads, and by helpers/.
 */
#ifndef _LINUX_HELPERS_H
#define _LINUX_HELPERS_H

#include <linux/cache.h>
#include <linux/rhashtable.h>
#include <linux/siphash.h>
#include <linux/spinlock_types.h>
#include <linux/types.h>
#include <linux/workqueue.h>

struct dst_cache;
struct dst_entry;
struct genl_family;
struct in6_addr;
struct list_head;
struct napi_struct;
struct net_device;
struct page;
struct page_pool_bh;
struct rtable;
struct sk_buff;
struct sock;
struct timer_list;

/* skbuff.rs */

/* NET_SKB_PAD without the statement expression in max(). helpers/skbuff.c checks it. */
#define HELPER_NET_SKB_PAD (L1_CACHE_BYTES > 32 ? L1_CACHE_BYTES : 32)

u32 helper_skb_dst_mtu(const struct sk_buff *skb);
void helper_skb_reset(struct sk_buff *skb, bool keep_hash);
void helper_skb_detach(struct sk_buff *skb);

/* netdevice.rs */
#if IS_BUILTIN(CONFIG_KUNIT)
struct net_device *helper_loopback(void);
#endif
void helper_dev_sw_netstats_rx_add(struct net_device *dev, size_t packets, size_t bytes);
void helper_icmp_ndo_unreachable(struct sk_buff *skb, struct net_device *dev);
void helper_netdev_lockdep_set_classes(struct net_device *dev);

/* genetlink.rs */

bool helper_module_is_ready(const struct module *module);
/* Whether there is a listener in any namespace. */
bool helper_genl_has_listeners(const struct genl_family *family, u32 group);
/*
 * To be called under RCU. Takes the skb. If it is null, the listeners are told that they have lost
 * a message.
 */
void helper_genl_multicast(const struct genl_family *family, const struct net_device *dev,
			   struct sk_buff *skb, u32 group);

/* napi.rs */
void helper_napi_gro_flush(struct napi_struct *napi);

/* page_pool.rs */
struct page_pool_bh __percpu *helper_page_pools_create(u32 size, u32 count);
void helper_page_pools_destroy(struct page_pool_bh __percpu *pools);
/*
 * Bottom halves must be off. `*size` is how many bytes are needed, and then how many there are.
 * Returns NULL if there is no memory, or a page has fewer.
 */
void *helper_page_pools_alloc(struct page_pool_bh __percpu *pools, size_t *size);

/* sched.rs */
void helper_cond_resched(void);

/* spinlock.rs */
int helper_spin_trylock_bh(spinlock_t *lock);

/* timer.rs */
bool helper_timer_pending(const struct timer_list *timer);
void helper_warn(void);

/* rhashtable.rs */

/* The beginning of an entry; the key follows. */
struct helper_rhashtable_node {
	struct rhash_head head;
	struct rcu_head rcu;
};

/* The lower half of SipHash-2-4. */
u32 helper_siphash(const void *data, u32 len, const siphash_key_t *key);
/* Keys of four bytes must be random: they are hashed with jhash, all others with SipHash. */
int helper_rhashtable_init(struct rhashtable *ht, u16 key_len);
void *helper_rhashtable_lookup(struct rhashtable *ht, const void *key);
int helper_rhashtable_insert(struct rhashtable *ht, struct helper_rhashtable_node *node);
int helper_rhashtable_remove(struct rhashtable *ht, struct helper_rhashtable_node *node);

/* workqueue.rs */
bool helper_queue_work_on(u32 cpu, struct workqueue_struct *wq, struct work_struct *work);
bool helper_work_is_queued(struct work_struct *work);

/* delayed_work.rs */
void helper_init_deferrable_work(struct delayed_work *work, work_func_t func);
void helper_queue_periodic_work(struct delayed_work *work, unsigned long delay);

/* cpumask.rs */
u32 helper_cpumask_next_online(u32 cpu);
u32 helper_cpumask_nth_online(u32 n);
bool helper_cpumask_is_alone(void);

/* debug.rs */

/* Returns whether debug messages are on. If so, prints args, a fmt::Arguments, if not null. */
bool helper_debug(const void *args, bool ratelimited);

/* route.rs, ip.rs, udp_tunnel.rs */
int helper_dst_ifindex(const struct dst_entry *dst);
/* Returns whether dst goes out by this interface, or by one of this VRF. RCU is read-locked. */
bool helper_dst_leaves_by(const struct dst_entry *dst, int ifindex);
/* Returns false if the device of dst segments UDP, but no skb with a fragment list. As above. */
bool helper_dst_takes_lists(const struct dst_entry *dst);
/* Returns whether net has this interface. */
bool helper_has_ifindex(struct net *net, int ifindex);
struct rtable *helper_dst_cache_get_ip4(struct dst_cache *cache, __be32 *saddr);
struct dst_entry *helper_dst_cache_get_ip6(struct dst_cache *cache, struct in6_addr *saddr);
bool helper_udp_has_encap_rcv(const struct sock *sk,
			      int (*encap_rcv)(struct sock *sk, struct sk_buff *skb));
struct sk_buff *helper_udp_gro_receive(struct list_head *head, struct sk_buff *skb, bool keep);
int helper_udp_tunnel_xmit4(struct sock *sk, struct rtable *rt, struct sk_buff *skb,
			    struct net_device *dev, u32 mark, u8 ds, __be32 saddr, __be32 daddr,
			    __be16 dport);
int helper_udp_tunnel_xmit6(struct sock *sk, struct dst_entry *dst, struct sk_buff *skb,
			    struct net_device *dev, u32 mark, u8 ds, __be32 label,
			    const struct in6_addr *saddr, const struct in6_addr *daddr,
			    __be16 dport);

#endif
